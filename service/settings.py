"""Environment -> one frozen Settings. The only reader of os.environ.

BMTAS_CACHE names the folder for measured costs and rendered datasets (default ~/.cache/bmtas); CI, as build services
set it, asks for plain progress lines.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

_OFF = ("", "0", "false", "no")


@dataclass(frozen=True)
class Settings:
    """What the environment says of this machine.

    Attributes:
        cache_dir: Absolute path of the folder for what can be computed again; it need not exist yet.
        plain_progress: Whether progress comes as plain lines even on a terminal.
    """

    cache_dir: Path
    plain_progress: bool = False


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of an environment, this process's own when none is given."""
    variables = os.environ if environ is None else environ
    cache = variables.get("BMTAS_CACHE", "").strip() or "~/.cache/bmtas"
    return Settings(
        cache_dir=Path(cache).expanduser().absolute(),
        plain_progress=variables.get("CI", "").strip().lower() not in _OFF,
    )


def prepare_process(environ: MutableMapping[str, str] | None = None) -> None:
    """Set what torch reads once when it is imported; call it before that.

    Waiting OpenMP threads sleep instead of spinning: beside another busy process, spinning threads made a forward pass
    twenty times slower. A policy that the person set stays.
    """
    variables = os.environ if environ is None else environ
    variables.setdefault("OMP_WAIT_POLICY", "PASSIVE")
