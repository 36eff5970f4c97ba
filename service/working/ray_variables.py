"""Environment variables for processes that use Ray: nothing secret, the token of a cluster is named by its file."""

from __future__ import annotations

from pathlib import Path

from service.settings import child_environment

RECONNECT_SECONDS = 20
"""How long a driver cut off from its cluster goes on before it ends; Ray's own minute would be a long zombie."""
BASE = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": str(RECONNECT_SECONDS),
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is told to anybody
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # trials without a GPU see none
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_COLOR_PREFIX": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_RESULT_BUFFER_LENGTH": "1",
}


def own_cluster(token_path: Path) -> dict[str, str]:
    """Return the variables for a local Ray that only those may join who can read a file."""
    # The switch is for systems where Ray spans one machine only; it has all of Ray listen on 127.0.0.1 alone.
    local = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    return {**BASE, **local, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_path)}


def foreign_cluster() -> dict[str, str]:
    """Return the variables for a cluster of somebody's own, whose token this process's environment may name."""
    inherited = child_environment({})
    has_token = "RAY_AUTH_TOKEN_PATH" in inherited or "RAY_AUTH_TOKEN" in inherited
    # Ray would not use the token by itself, and go on asking without it for ever.
    return {**BASE, "RAY_AUTH_MODE": "token"} if has_token and "RAY_AUTH_MODE" not in inherited else dict(BASE)
