"""Databases to measure on: SQLite in a temporary folder, a PostgreSQL started for the measurement, or one by its URL.

The PostgreSQL syncs its commits as a real one does. Used by `service_load.py`.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

PATIENCE_SECONDS = 60.0


@contextmanager
def open_databases(wanted: str) -> Iterator[tuple[str | None, str | None]]:
    """Yield the URL of the server's database, None for SQLite in its own folder, and of another one for the queue.

    Args:
        wanted: "sqlite", "postgresql" or a URL, beside which there is none for the queue.
    """
    if wanted == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield None, f"sqlite:///{Path(folder) / 'queue.db'}"
    elif wanted == "postgresql":
        with run_postgres() as url:
            with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
                for name in ("service", "queue"):
                    connection.execute(f"CREATE DATABASE {name}".encode())
            yield f"{url}/service", f"{url}/queue"
    else:
        yield wanted, None


@contextmanager
def run_postgres() -> Iterator[str]:
    """Yield the URL, without a name, of a PostgreSQL on a free port; it is removed afterwards."""
    binaries = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parts[-2]), default=None)
    if binaries is None:
        raise SystemExit("PostgreSQL is not installed. Install it (on Debian: apt install postgresql), or give a URL.")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    # Short, since the path of a socket has 107 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="bm", dir="/tmp"))
    as_postgres: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root.
        shutil.chown(folder, "postgres", "postgres")
        as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig=QUIT"]
    data = str(folder / "data")
    made = [*as_postgres, str(binaries / "initdb"), "-D", data, "-U", "bmtas", "-A", "trust", "-E", "UTF8"]
    subprocess.run([*made, "--locale=C"], check=True, capture_output=True, cwd=folder)
    run = [*as_postgres, str(binaries / "postgres"), "-D", data, "-p", str(port), "-k", str(folder), "-h", "127.0.0.1"]
    process = subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    try:
        url = f"postgresql://bmtas@127.0.0.1:{port}"
        _wait_for(url)
        yield url
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(PATIENCE_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(url: str) -> None:
    """Return when a PostgreSQL answers."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            psycopg.connect(f"{url}/postgres").close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
