"""A server that a command starts for itself: `bmtas serve` as a child on a free port, ended with the command.

The child reads a pipe whose other end the command holds, so that it goes however the command dies.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from service.errors import ServerStartError
from service.settings import child_environment

_START_TRIES_SECONDS = 15.0  # an earlier command's server may be on its way out
_STOP_SECONDS = 15.0
_REFUSED = 2


@dataclass(frozen=True)
class OwnServer:
    """A server that runs: its address, and its admin token."""

    address: str
    token: str


@contextmanager
def own_server(data_dir: Path, options: tuple[str, ...], environment: Mapping[str, str]) -> Iterator[OwnServer]:
    """Yield a server that runs until the end of the block.

    Args:
        data_dir: Its folder; the log goes to "server.log" there.
        options: Further options of `bmtas serve`.
        environment: Variables that it gets beside this process's own.

    Raises:
        ServerStartError: It does not start.
    """
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    log_path = data_dir / "server.log"
    arguments = ("serve", "--port", "0", "--data", str(data_dir), "--json", "--end-with-stdin", *options)
    command = [sys.executable, "-m", "service.cli", *arguments]
    without = ("BMTAS_DATABASE", "BMTAS_STORAGE", "BMTAS_TOKEN", "BMTAS_TOKEN_FILE", "BMTAS_SERVER")
    variables = child_environment(environment, without=without)
    with log_path.open("ab") as log:
        child, address = _start(command, variables, log, log_path)
    try:
        yield OwnServer(address, (data_dir / "admin-token").read_text("utf-8").strip())
    finally:
        _stop(child)


def _start(
    command: list[str], environment: dict[str, str], log: IO[bytes], log_path: Path
) -> tuple[subprocess.Popen[bytes], str]:
    """Return the child that serves, and its address; one that is refused at first is tried again for some seconds."""
    give_up_at = time.monotonic() + _START_TRIES_SECONDS
    while True:
        child = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches this process, which then ends the server in order
        )
        assert child.stdout is not None
        line = child.stdout.readline()
        if line:
            return child, str(json.loads(line)["address"])
        code = child.wait()
        _close(child)
        if code != _REFUSED or time.monotonic() > give_up_at:
            raise ServerStartError(f"The server did not start: {_last_line(log_path)} Its log is {log_path}.")
        time.sleep(1.0)


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End the child in order, and by force if it does not come to it."""
    child.terminate()
    try:
        child.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    _close(child)


def _close(child: subprocess.Popen[bytes]) -> None:
    """Close this process's ends of the child's pipes."""
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            stream.close()


def _last_line(log_path: Path) -> str:
    """Return what a server said last."""
    lines = log_path.read_text("utf-8", "replace").strip().splitlines()
    return lines[-1].removeprefix("bmtas: ") if lines else "it said nothing."
