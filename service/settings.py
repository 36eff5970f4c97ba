"""Environment -> one frozen Settings. The only reader of os.environ.

BMTAS_CACHE names the folder for what can be computed again, BMTAS_DATASETS that of datasets made of files,
BMTAS_WEIGHTS that of weight files; CI, as build services set it, asks for plain progress lines; BMTAS_SERVER,
BMTAS_TOKEN and BMTAS_TOKEN_FILE say whom a client speaks to; BMTAS_DATA, BMTAS_DATABASE, BMTAS_STORAGE,
BMTAS_LEASE_SECONDS, BMTAS_HEARTBEAT_SECONDS and BMTAS_BACKOFF_SECONDS are what `bmtas serve` takes where no option
says more.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

from search.data.cache_size import DEFAULT_CACHE_BYTES
from service.errors import ServiceError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8642
_OFF = ("", "0", "false", "no")


@dataclass(frozen=True)
class Settings:
    """What the environment says of this machine.

    Attributes:
        cache_dir: Absolute path of the folder for what can be computed again; it need not exist yet.
        cache_bytes: What the finished samples of people's own datasets may take there.
        plain_progress: Whether progress comes as plain lines even on a terminal.
        server: Address of the server that clients speak to; None for the one that this machine's data folder names.
        token: Access token; None where the environment holds none.
        token_file: File that holds the access token.
        data_dir: Absolute path of the folder that a server keeps its data in.
        database_url: Database of a server; None for SQLite in its data folder.
        storage_root: Where artifacts lie, an absolute path or an fsspec URL; None for the data folder.
        lease_seconds: How long a trial belongs to a worker that is not heard of.
        heartbeat_seconds: How often a worker is heard of.
        backoff_seconds: How long a trial waits after its first counted failure; doubled by each further one.
        datasets_dir: Absolute path of the folder of datasets made of files; it need not exist.
        weights_dir: Absolute path of the folder of weight files that networks can start from; it need not exist.
    """

    cache_dir: Path
    cache_bytes: int = DEFAULT_CACHE_BYTES
    plain_progress: bool = False
    server: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    data_dir: Path = Path("bmtas-data")
    database_url: str | None = field(default=None, repr=False)
    storage_root: str | None = None
    lease_seconds: float = 90.0
    heartbeat_seconds: float = 10.0
    backoff_seconds: float = 10.0
    datasets_dir: Path | None = None
    weights_dir: Path | None = None


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of an environment, this process's own when none is given.

    Raises:
        ServiceError: A variable holds what it cannot.
    """
    variables = os.environ if environ is None else environ
    lease_seconds = _seconds(variables, "BMTAS_LEASE_SECONDS", 90.0)
    heartbeat_seconds = _seconds(variables, "BMTAS_HEARTBEAT_SECONDS", min(10.0, lease_seconds / 4))
    if heartbeat_seconds > lease_seconds / 2:
        raise ServiceError(
            f"BMTAS_HEARTBEAT_SECONDS must be at most half of BMTAS_LEASE_SECONDS, so that one lost heartbeat costs "
            f"nothing, got {heartbeat_seconds:g} and {lease_seconds:g}."
        )
    return Settings(
        cache_dir=_path(variables, "BMTAS_CACHE") or _absolute("~/.cache/bmtas"),
        cache_bytes=_bytes(variables, "BMTAS_CACHE_SIZE", DEFAULT_CACHE_BYTES),
        plain_progress=variables.get("CI", "").strip().lower() not in _OFF,
        server=_text(variables, "BMTAS_SERVER"),
        token=_text(variables, "BMTAS_TOKEN"),
        token_file=_path(variables, "BMTAS_TOKEN_FILE"),
        data_dir=_path(variables, "BMTAS_DATA") or _absolute("~/.local/share/bmtas"),
        database_url=_text(variables, "BMTAS_DATABASE"),
        storage_root=_text(variables, "BMTAS_STORAGE"),
        lease_seconds=lease_seconds,
        heartbeat_seconds=heartbeat_seconds,
        backoff_seconds=_seconds(variables, "BMTAS_BACKOFF_SECONDS", 10.0),
        datasets_dir=_path(variables, "BMTAS_DATASETS") or _absolute("~/.local/share/bmtas/datasets"),
        weights_dir=_path(variables, "BMTAS_WEIGHTS") or _absolute("~/.local/share/bmtas/weights"),
    )


def prepare_process(environ: MutableMapping[str, str] | None = None) -> None:
    """Set what torch reads once when it is imported; call it before that.

    Waiting OpenMP threads sleep instead of spinning: beside another busy process, spinning threads made a forward pass
    twenty times slower. A policy that the person set stays.
    """
    variables = os.environ if environ is None else environ
    variables.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def child_environment(changes: Mapping[str, str], *, without: tuple[str, ...] = ()) -> dict[str, str]:
    """Return this process's environment for a child, with some variables set and others left out."""
    kept = {name: value for name, value in os.environ.items() if name not in without}
    return {**kept, **changes}


def _text(variables: Mapping[str, str], name: str) -> str | None:
    """Return a variable without white space around it, None where it is not set or empty."""
    return variables.get(name, "").strip() or None


def _bytes(variables: Mapping[str, str], name: str, default: int) -> int:
    """Return a number of bytes such as 500M, 20G or 0; a bare number is in bytes."""
    text = _text(variables, name)
    if text is None:
        return default
    match = re.fullmatch(r"([0-9]{1,15})([KMGT]?)", text.upper())
    if match is None:
        raise ServiceError(f"{name} must be a size such as 500M, 20G or 0 for no cache, got {text[:40]!r}.")
    return int(match[1]) << 10 * " KMGT".index(match[2] or " ")


def _path(variables: Mapping[str, str], name: str) -> Path | None:
    """Return the absolute path that a variable holds, None where it is not set or empty."""
    text = _text(variables, name)
    return None if text is None else _absolute(text)


def _absolute(text: str) -> Path:
    """Return a path from the root on, a home sign in it resolved."""
    return Path(text).expanduser().absolute()


def _seconds(variables: Mapping[str, str], name: str, default: float) -> float:
    """Return a variable as seconds; refuse what is no number between 0.1 and a day."""
    text = _text(variables, name)
    try:
        seconds = default if text is None else float(text)
    except ValueError:
        seconds = math.nan
    if not 0.1 <= seconds <= 86_400:
        raise ServiceError(f"{name} must be a number of seconds between 0.1 and 86400, got {str(text)[:40]!r}.")
    return seconds
