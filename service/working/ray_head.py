"""The local Ray of a worker: a process of its own that holds it, started with the first claim and kept for later ones.

Starting Ray takes seconds, joining it a tenth of one; and a driver that is killed leaves it untouched. `python -m
service.working.ray_head` is that process: it prints the address and ends with its stdin.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from service.logs import configure_logging
from service.settings import child_environment, prepare_process
from service.working.process_sessions import is_alive, kill_session, list_session
from service.working.ray_variables import own_cluster
from service.working.temporary_folders import TemporaryFolder, keep_current_folder

START_SECONDS = 120.0
ORPHAN_SECONDS = 30.0
"""How long the local Ray goes on for drivers that save what they run, after its worker is gone."""
HEAD_PARENT = Path("/tmp")
"""Where its folder lies: a short path, since those of Ray's sockets may have 107 bytes in all."""
_LOG = logging.getLogger(__name__)
_VITAL = ("gcs_server", "raylet/raylet")


class RayHead:
    """A local Ray that starts in the background.

    Args:
        with_gpus: Whether it may use the GPUs of this machine.
    """

    def __init__(self, *, with_gpus: bool) -> None:
        self._folder = TemporaryFolder(HEAD_PARENT)
        self.folder = self._folder.path
        self.variables = own_cluster(self.folder / "token")
        (self.folder / "token").touch(0o600)
        (self.folder / "token").write_text(secrets.token_hex(32))
        arguments = [
            sys.executable,
            "-m",
            "service.working.ray_head",
            str(self.folder),
            "gpus" if with_gpus else "no-gpus",
        ]
        self._process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=child_environment({**self.variables, **self._folder.variables}),
            start_new_session=True,
        )
        self._started_at = time.monotonic()
        self._address: str | None = None
        self._vital_pids: tuple[int, ...] = ()
        threading.Thread(target=self._read_address, daemon=True).start()

    @property
    def pid(self) -> int:
        """Return the id of the process that holds the cluster, which is that of its session as well."""
        return self._process.pid

    @property
    def address(self) -> str | None:
        """Return where drivers join it, None while it is starting."""
        return self._address

    @property
    def is_sound(self) -> bool:
        """Return whether it is starting in time, or runs with all its vital processes."""
        if self._process.poll() is not None:
            return False
        if self._address is None:
            return time.monotonic() - self._started_at < START_SECONDS
        return all(is_alive(pid) for pid in self._vital_pids)

    def end(self) -> None:
        """End every process of the cluster, those that it leaked too, and remove its files."""
        killed = kill_session(self.pid)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._folder.remove()
        _LOG.info("Local Ray %d has ended with %d processes.", self.pid, len(killed))

    def _read_address(self) -> None:
        """Wait for the address, and note the processes that the cluster cannot do without."""
        assert self._process.stdout is not None
        try:
            line = self._process.stdout.readline().decode().strip()
        except (OSError, ValueError):
            return
        if line:
            self._vital_pids = tuple(
                entry.pid for entry in list_session(self.pid) if any(name in entry.command for name in _VITAL)
            )
            self._address = line
            _LOG.info("Local Ray %d at %s, vital processes %s.", self.pid, line, self._vital_pids)


def main() -> int:
    """Hold a local Ray until stdin ends and those who use it have left, or their time is over."""
    folder, gpus = sys.argv[1:]
    prepare_process()
    keep_current_folder()
    configure_logging("ray")

    from search.tune import leave, start_head, wait_until_alone  # noqa: PLC0415 - imports Ray

    address = start_head(folder, with_gpus=gpus == "gpus")
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()
    sys.stdin.buffer.read()
    wait_until_alone(ORPHAN_SECONDS)
    leave()
    shutil.rmtree(folder, ignore_errors=True)  # a worker that was killed cannot do it
    return 0


if __name__ == "__main__":
    sys.exit(main())
