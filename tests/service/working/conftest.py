"""A server of the worker API in memory, small trials, and the processes that work on them, all taken down by pid."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from search.presets import build_spec
from search.spec import JobSpec
from search.trial_plan import PlannedTrial, plan_search
from service.working.work_orders import AttemptOrder, ClaimDocument, DriverOrder, RunSettings, split_order
from service.working.worker_client import AttemptClient, open_attempt

TOKEN = "nas_planted-secret-of-a-worker"
STEP = 0.02


@dataclass
class FakeAttempt:
    """An attempt as the fake server sees it."""

    id: str
    number: int
    lease_until: float
    state: str = "RUNNING"
    reason: str = ""
    message: str = ""
    steps: list[int] = field(default_factory=list)


@dataclass
class FakeTrial:
    """A trial as the fake server sees it; `files` are the rows of its manifest."""

    id: str
    name: str
    kind: str
    spec: dict[str, Any]
    state: str = "QUEUED"
    attempts: list[FakeAttempt] = field(default_factory=list)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    points: dict[tuple[str, int], float | None] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    result: dict[str, Any] | None = None
    architecture: dict[str, Any] | None = None
    num_results: int = 0


class FakeServer:
    """The worker API on a free port, with the rules of leases and fencing, in memory.

    Attributes:
        stop: What every heartbeat is answered: None, "cancel" or "kill".
        is_away: Whether every request gets its connection closed without an answer.
        version: Version that workers must have; None for any.
    """

    def __init__(self, storage_root: Path, lease_seconds: float = 30.0, heartbeat_seconds: float = 0.2) -> None:
        self.storage_root, self.lease_seconds = storage_root, lease_seconds
        self.heartbeat_seconds = heartbeat_seconds
        self.trials: list[FakeTrial] = []
        self.resources = {"cpus": 1.0, "gpus": 0.0}
        self.stop: str | None = None
        self.is_away = False
        self.version: str | None = None
        self.max_attempts = 50
        self.lock = threading.RLock()
        self.stale_calls: list[str] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Return the address."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def add(self, planned: PlannedTrial) -> FakeTrial:
        """Queue a trial."""
        trial = FakeTrial(f"trial_{len(self.trials)}", planned.name, planned.kind, planned.spec.to_document())
        self.trials.append(trial)
        return trial

    def close(self) -> None:
        """End the server."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def claim(self, max_trials: int = 1) -> ClaimDocument | None:
        """Hand out waiting trials."""
        with self.lock:
            self.sweep()
            chosen = [trial for trial in self.trials if trial.state == "QUEUED"][:max_trials]
            return ClaimDocument.model_validate(self._describe(chosen)) if chosen else None

    def sweep(self) -> None:
        """Queue the trials whose lease ran out."""
        for trial in self.trials:
            if trial.state == "RUNNING" and trial.attempts[-1].lease_until < time.monotonic():
                self._end(trial, trial.attempts[-1], "LOST", "lease_lost", "")

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Return the status and the body of an answer."""
        with self.lock:
            if path == "claims":
                if self.version not in (None, body["worker"]["version"]):
                    return 409, {"code": "version_mismatch", "detail": f"The server is {self.version}."}
                claim = self.claim(body["max_trials"])
                return (204, None) if claim is None else (200, claim.model_dump(mode="json"))
            self.sweep()
            _, attempt_id, what = path.split("/", 2)
            found = [
                (trial, attempt) for trial in self.trials for attempt in trial.attempts if attempt.id == attempt_id
            ]
            trial, attempt = found[0]
            if attempt.state != "RUNNING" and not (what == "complete" and attempt.state == "SUCCEEDED"):
                self.stale_calls.append(f"{attempt_id} {what}")
                return 409, {"code": "lease_lost", "detail": "This attempt no longer holds its trial."}
            return 200, self._act(trial, attempt, f"{method} {what}", body)

    def _act(self, trial: FakeTrial, attempt: FakeAttempt, call: str, body: Any) -> Any:
        match call.partition("/")[0]:
            case "POST heartbeat":
                attempt.lease_until = time.monotonic() + self.lease_seconds
                attempt.steps.append(body.get("step", -1))
                return {"stop": self.stop, "lease_until": _time_in(self.lease_seconds)}
            case "POST metrics":
                trial.points |= {(point["name"], point["step"]): point["value"] for point in body["points"]}
            case "POST logs":
                trial.lines += body["lines"]
            case "PUT files":
                trial.files[body["name"]] = body
            case "DELETE files":
                trial.files.pop(call.partition("/")[2], None)
            case "POST complete":
                trial.num_results += attempt.state == "RUNNING"
                trial.result, trial.architecture = body["result"], body["architecture"]
                attempt.state, trial.state = "SUCCEEDED", "SUCCEEDED"
            case "POST fail":
                self._end(trial, attempt, "FAILED", body["reason"], body["message"])
            case "POST release":
                self._end(trial, attempt, "RELEASED", body["reason"], body["message"])
        return {}

    def _end(self, trial: FakeTrial, attempt: FakeAttempt, state: str, reason: str, message: str) -> None:
        attempt.state, attempt.reason, attempt.message = state, reason, message
        again = state != "FAILED" or reason == "internal"
        trial.state = "QUEUED" if again and len(trial.attempts) < self.max_attempts else "FAILED"
        if reason in ("user_cancel", "deadline"):
            trial.state = "CANCELLED"

    def _describe(self, trials: list[FakeTrial]) -> dict[str, Any]:
        described = []
        for trial in trials:
            number = len(trial.attempts) + 1
            attempt = FakeAttempt(f"att_{trial.id}_{number}", number, time.monotonic() + self.lease_seconds)
            trial.attempts.append(attempt)
            trial.state = "RUNNING"
            token = {"id": attempt.id, "number": number, "lease_until": _time_in(self.lease_seconds), "token": TOKEN}
            facts = {"id": trial.id, "name": trial.name, "kind": trial.kind, "spec": trial.spec}
            files = list(trial.files.values())
            described.append({"trial": facts, "attempt": token, "files": files, "inputs": trial.inputs})
        job = {"id": "srch_1", "kind": "search", "name": "a search", "resources": self.resources, "deadline_at": None}
        return {
            "job": job,
            "storage_root": str(self.storage_root),
            "lease_seconds": self.lease_seconds,
            "heartbeat_seconds": self.heartbeat_seconds,
            "trials": described,
        }


def _time_in(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def _handler_of(server: FakeServer) -> type[BaseHTTPRequestHandler]:
    """Return the class that answers the requests of one server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            if server.is_away:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                status, answer = 401, {"code": "unauthorized", "detail": "Send a valid access token."}
            else:
                status, answer = server.answer(self.command, self.path.removeprefix("/api/v1/worker/"), body)
            content = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_PUT = do_DELETE = _answer

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler


def small_job(epochs: int = 2, **words: Any) -> JobSpec:
    """Return the job of a second: forty images, a handful of steps."""
    chosen: dict[str, Any] = {"tasks": ("left", "right"), "budgets": ["70%"], "preset": "smoke"}
    spec = build_spec(**({"dataset": "digits", "backbone": "tiny4"} | chosen | words))
    return spec.model_copy(
        update={
            "data": spec.data.model_copy(update={"num_train": 40, "num_val": 20}),
            "search": spec.search.model_copy(update={"epochs": epochs, "warmup_epochs": 1, "batch_size": 8}),
            "retrain": spec.retrain.model_copy(update={"epochs": epochs, "batch_size": 20}),
        }
    )


@dataclass(frozen=True)
class Workplace:
    """A server with trials, and folders for those who work on them."""

    server: FakeServer
    folder: Path
    children: list[subprocess.Popen[bytes]]
    clients: list[AttemptClient]

    @property
    def settings(self) -> RunSettings:
        """Return how trials are run: by child processes that checkpoint after every step."""
        return RunSettings(device="cpu", cache_dir=str(self.folder / "cache"), seconds_between_saves=0.0)

    def add(self, name: str, epochs: int = 2, **words: Any) -> FakeTrial:
        """Queue a trial of the small job."""
        planned = plan_search([small_job(epochs, **words)], "1").trials
        return self.server.add(next(trial for trial in planned if trial.name == name))

    def driver_order(self, max_trials: int = 8, **settings: Any) -> DriverOrder:
        """Claim trials and return the order that a driver gets."""
        claim = self.server.claim(max_trials)
        assert claim is not None
        return DriverOrder(server=self.server.address, claim=claim, settings=self.settings.model_copy(update=settings))

    def attempt_order(self, **settings: Any) -> AttemptOrder:
        """Claim one trial and return the order that its process gets."""
        return split_order(self.driver_order(1, **settings))[0]

    def open_client(self, order: AttemptOrder) -> AttemptClient:
        """Return a client of an attempt, closed at the end of the test."""
        self.clients.append(open_attempt(order, 0.0))
        return self.clients[-1]

    def start(self, module: str, line: bytes) -> subprocess.Popen[bytes]:
        """Start a process of the project with its order on stdin."""
        with (self.folder / "stderr.txt").open("ab") as stderr:
            child = subprocess.Popen(
                [sys.executable, "-m", module], stdin=subprocess.PIPE, stderr=stderr, start_new_session=True
            )
        self.children.append(child)
        assert child.stdin is not None
        child.stdin.write(line)
        child.stdin.flush()
        return child

    @property
    def log(self) -> str:
        """Return what all processes wrote to stderr."""
        return (self.folder / "stderr.txt").read_text()


def wait_until(condition: Callable[[], object], seconds: float = 30.0, what: str = "it") -> None:
    """Wait until a condition holds, or fail."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {seconds:g} s"
        time.sleep(STEP)


@pytest.fixture(name="wait_until")
def _wait_until() -> Callable[..., None]:
    """Return the function that waits until a condition holds."""
    return wait_until


@pytest.fixture
def workplace() -> Iterator[Workplace]:
    """Yield a server and a folder; every process that was started there is killed at the end, with its group."""
    with tempfile.TemporaryDirectory(prefix="bm", dir="/tmp") as folder:
        server = FakeServer(Path(folder) / "storage")
        place = Workplace(server, Path(folder), [], [])
        (place.folder / "stderr.txt").touch()
        try:
            yield place
        finally:
            for client in place.clients:
                client.close()
            for child in place.children:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                if child.stdin is not None:
                    with contextlib.suppress(BrokenPipeError):
                        child.stdin.close()
            server.close()
