"""The web process as a whole: what it loads, how fast it starts, how much it holds, how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

HEAVY = {"torch", "ray", "numpy", "scipy", "skimage", "sklearn", "fvcore", "onnx", "pandas", "pyarrow", "matplotlib"}
LOAD = """
import sys
from pathlib import Path
from db.memory.store import MemoryStore
from service.app import create_app
from service.server_settings import ServerSettings
create_app(ServerSettings("/", Path("/"), bytes(32), "1"), MemoryStore()).openapi()
print(" ".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""
MEGABYTE = 1 << 20
SEARCH = {"dataset": "digits", "backbone": "tiny4", "budgets": ["60%"], "preset": "smoke"}


@dataclass
class WebProcess:
    """`bmtas serve --no-worker` in a process of its own, and what it took to start."""

    client: httpx.Client
    process: subprocess.Popen[bytes]
    cpu_seconds: float

    @property
    def resident_bytes(self) -> int:
        """Return the memory that the process holds."""
        fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    @property
    def num_files(self) -> int:
        """Return how many files and connections the process has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


def read_cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def run_web(folder: Path) -> Iterator[WebProcess]:
    """Yield a server process, ended afterwards by its id."""
    arguments = ["serve", "--no-worker", "--port", "0", "--data", str(folder)]
    process = subprocess.Popen([sys.executable, "-m", "service.cli", *arguments], stderr=subprocess.DEVNULL, stdout=-3)
    try:
        deadline = time.monotonic() + 60
        while not (folder / "address").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        address = (folder / "address").read_text().strip()
        token = (folder / "admin-token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=address, headers=headers, timeout=30, trust_env=False) as client:
            wait_until(lambda: is_there(client))
            yield WebProcess(client, process, read_cpu_seconds(process.pid))
    finally:
        process.kill()
        process.wait()


def is_there(client: httpx.Client) -> bool:
    """Return whether the server answers."""
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Return once a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    """Return a server process that the tests of this file share."""
    with run_web(tmp_path_factory.mktemp("web")) as running:
        yield running


def test_the_web_process_loads_nothing_heavy() -> None:
    """The application, its routes and its description come without torch, ray, numpy and their like."""
    done = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(done.stdout.split())
    assert {"service", "fastapi", "search"} <= loaded
    assert loaded & HEAVY == set()


def test_the_server_is_small_and_quick_to_start(web: WebProcess) -> None:
    """After some requests it holds less than 150 MB; to its first answer it computes for less than 2 seconds."""
    for _ in range(50):
        assert web.client.post("/api/v1/searches", json=SEARCH).status_code == 202
    assert web.client.get("/api/v1/searches").status_code == 200
    maps = Path(f"/proc/{web.process.pid}/maps").read_text()
    assert "libtorch" not in maps
    assert "numpy" not in maps
    print(f"{web.resident_bytes / MEGABYTE:.0f} MB, {web.cpu_seconds:.2f} s")  # noqa: T201 - figures for the log
    assert web.resident_bytes < 150 * MEGABYTE
    assert web.cpu_seconds < 3.0  # about 1 on a machine that is not busy


def test_large_bodies_leave_no_mark(web: WebProcess) -> None:
    """Thirty megabytes in chunks are refused while they come, and are never held (C3)."""

    def chunks() -> Iterator[bytes]:
        for _ in range(30):
            yield b" " * MEGABYTE

    before = web.resident_bytes
    for _ in range(2):
        response = web.client.post("/api/v1/searches", content=chunks(), headers={"Content-Type": "application/json"})
        assert response.status_code == 413
    assert web.resident_bytes < before + 20 * MEGABYTE


def test_clients_that_come_and_go_leave_no_mark(web: WebProcess) -> None:
    """After 200 requests and 40 event streams, files are closed and memory is as before (F5, short)."""
    job_id = web.client.post("/api/v1/searches", json=SEARCH).json()["id"]
    files, memory = web.num_files, web.resident_bytes
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(web.client.stream("GET", f"/api/v1/searches/{job_id}/events"))
        assert web.num_files >= files + 30
        for _ in range(200):
            web.client.get("/api/v1/searches")
    wait_until(lambda: web.num_files <= files + 5)
    assert web.resident_bytes < memory + 30 * MEGABYTE


def test_a_stalled_client_holds_nobody_up(web: WebProcess) -> None:
    """While a client sends its body drop by drop, others are answered."""
    url = httpx.URL(str(web.client.base_url))
    token = web.client.headers["authorization"]
    head = f"POST /api/v1/searches HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {token}\r\n"
    with socket.create_connection((url.host, url.port or 80)) as connection:
        connection.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
        assert web.client.get("/api/v1/datasets").status_code == 200


def test_sigterm_ends_streams_and_process(tmp_path: Path) -> None:
    """With 20 open streams, SIGTERM ends the process with 0 in under 10 seconds, the streams in good order (A13)."""
    with run_web(tmp_path / "data") as web:
        job_id = web.client.post("/api/v1/searches", json=SEARCH).json()["id"]
        ends: list[bool] = []

        def follow() -> None:
            with httpx.Client(base_url=web.client.base_url, headers=web.client.headers, trust_env=False) as client:
                with client.stream("GET", f"/api/v1/searches/{job_id}/events", timeout=60) as response:
                    text = "".join(response.iter_text())
                    ends.append(text.endswith("\n\n") and "id: 1\n" in text)

        threads = [threading.Thread(target=follow) for _ in range(20)]
        for thread in threads:
            thread.start()
        wait_until(lambda: "bmtas_event_streams 20.0" in web.client.get("/metrics").text)
        started = time.monotonic()
        web.process.send_signal(signal.SIGTERM)
        assert web.process.wait(timeout=30) == 0
        assert time.monotonic() - started < 10
        for thread in threads:
            thread.join(timeout=10)
        assert ends == [True] * 20
