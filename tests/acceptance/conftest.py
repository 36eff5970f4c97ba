"""Whole sites for tests that kill real things: `bmtas serve` and `bmtas work` on free ports, ended by their pids.

The reference is what `bmtas search` delivers undisturbed for the words that the searches of these tests are made of.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from service.client import Client
from service.client_parts.connection import Connection, Patience, Request
from service.client_parts.records import FoundArchitecture, Job, SearchRequest
from service.working.process_sessions import kill_session, list_session

if TYPE_CHECKING:
    from tests.conftest import PostgresCluster

LEASE_SECONDS = 30.0  # outlasts every absence of a server that tests make
SHORT_LEASE_SECONDS = 5.0  # for tests that wait until one has run out
BACKOFF_SECONDS = 0.2
HEARTBEAT_SECONDS = 0.2  # a search lasts two seconds, and is to be disturbed in its midst
PATIENCE_S = 240.0  # for a machine that is busy with other things
DATABASES = ("sqlite", pytest.param("postgres", marks=pytest.mark.soak))
"""What the dearest tests run on: each once in CI, and on the other kind of database in the long forms."""
Json = dict[str, Any]


@dataclass(frozen=True)
class Reference:
    """What the command line delivers: architecture.json, but for the time of its creation, and results.json."""

    document: Json
    results: Json

    @property
    def tree(self) -> Json:
        """Return the tree."""
        return tree_of(self.document)


@dataclass(frozen=True)
class WorkerProcess:
    """`bmtas work`, with the drivers and trial processes that it has started.

    Attributes:
        process: The worker.
        log_path: Gets what all of them write to stderr.
    """

    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def log(self) -> str:
        """Return what all of its processes wrote."""
        return self.log_path.read_text(errors="replace")

    @property
    def head(self) -> int:
        """Return the id of the process that holds its local Ray, 0 before there is one."""
        return self._last_number(r"local Ray: process (\d+)")

    @property
    def head_folder(self) -> Path:
        """Return the folder of its local Ray."""
        return Path(self._head_folders()[-1])

    def driver(self, job_id: str) -> int:
        """Return the id of the newest driver of a job, 0 before there is one."""
        return self._last_number(rf"trials of {job_id}: driver (\d+)")

    def trial_process(self, job_id: str, attempt: int = 1) -> int:
        """Return the id of the process that runs an attempt at a trial of a job, 0 before there is one."""
        return self._last_number(rf"Trial {job_id} \S+ attempt {attempt} runs in process (\d+)")

    def living(self) -> list[int]:
        """Return the ids of all its living processes, itself first."""
        sessions = [self.process.pid, *map(int, re.findall(r"(?:: driver|local Ray: process) (\d+)", self.log))]
        return [entry.pid for session in dict.fromkeys(sessions) for entry in list_session(session)]

    def send_all(self, number: signal.Signals) -> None:
        """Send a signal to every one of its processes, itself first, as when its machine dies or is frozen."""
        for pid in self.living():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def end(self, number: signal.Signals) -> tuple[int, float]:
        """Send the worker alone a signal; return its exit code and how many seconds it took to end."""
        began = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(60), time.monotonic() - began

    def take_down(self) -> None:
        """Kill all that is left of it."""
        for session in re.findall(r"(?:: driver|local Ray: process) (\d+)", self.log):
            kill_session(int(session))
        kill_session(self.process.pid)
        self.process.wait()
        for folder in self._head_folders():
            shutil.rmtree(folder, ignore_errors=True)

    def _head_folders(self) -> list[str]:
        return re.findall(r"local Ray: process \d+ in (\S+)\.\n", self.log)

    def _last_number(self, pattern: str) -> int:
        found = re.findall(pattern, self.log)
        return int(found[-1]) if found else 0


@dataclass
class Site:
    """A server, its workers, and what a person sees of them over HTTP.

    Attributes:
        folder: Short path; holds data, cache and logs.
        port: The server's.
        options: Of `bmtas serve`.
        variables: Environment of all processes beside the test's own.
        patience_s: How long anything is waited for, in seconds.
    """

    folder: Path
    port: int
    options: tuple[str, ...]
    variables: Mapping[str, str]
    patience_s: float = PATIENCE_S
    server: subprocess.Popen[bytes] | None = None
    workers: list[WorkerProcess] = field(default_factory=list)
    _connection: Connection | None = None

    @property
    def address(self) -> str:
        """Return where the server answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def worker(self) -> WorkerProcess:
        """Return the worker that was started last."""
        return self.workers[-1]

    @property
    def connection(self) -> Connection:
        """Return a patient connection with the admin token."""
        if self._connection is None:
            token = (self.folder / "data" / "admin-token").read_text().strip()
            self._connection = Connection(self.address, token, patience=Patience(PATIENCE_S, longest_pause=0.5))
        return self._connection

    @property
    def client(self) -> Client:
        """Return a client on that connection."""
        return Client(self.address, "", connection=self.connection)

    def start_server(self) -> Site:
        """Start the server and return once it answers."""
        words = ["serve", "--json", "--no-worker", "--port", str(self.port), "--data", str(self.folder / "data")]
        self.server = self._start([*words, *self.options], "server", stdout=subprocess.PIPE)
        assert self.server.stdout is not None
        assert self.server.stdout.readline(), (self.folder / "server.log").read_text()
        self.server.stdout.close()
        return self

    def kill_server(self) -> None:
        """End the server without warning."""
        assert self.server is not None
        self.server.kill()
        self.server.wait()
        self.server = None

    def start_worker(
        self, *options: str, server: str | None = None, variables: Mapping[str, str] | None = None
    ) -> WorkerProcess:
        """Start a worker; without options it runs trials by child processes."""
        name = f"worker{len(self.workers)}"
        token = str(self.folder / "data" / "worker-token")
        words = ["work", "--server", server or self.address, "--token-file", token, "--device", "cpu", "--name", name]
        given = options or ("--executor", "local")
        process = self._start([*words, *given], name, variables=variables)
        self.workers.append(WorkerProcess(process, self.folder / f"{name}.log"))
        return self.workers[-1]

    def submit(self, **changes: Any) -> str:
        """Return the id of a search for one network, not trained, as the reference found it."""
        words: Json = {"budgets": ["70%"], "tasks": ["left", "right"], "preset": "smoke", "retrain": False}
        words |= {"dataset": "digits", "backbone": "tiny4", "max_attempts": 20} | changes
        return self.client.submit(SearchRequest(**words)).id

    def ask(self, path: str) -> Any:
        """Return the JSON that the API answers to a GET."""
        return self.connection.ask(Request("GET", f"/api/v1/{path}")).json()

    def attempts(self, job_id: str) -> list[Json]:
        """Return the attempts at all trials of a job."""
        trials = self.client.list_trials(job_id)
        return [row for trial in trials for row in self.ask(f"searches/{job_id}/trials/{trial.id}/attempts")["items"]]

    def lines(self, job_id: str) -> list[str]:
        """Return the log lines of a job."""
        return [row["text"] for row in self.ask(f"searches/{job_id}/logs?limit=1000")["items"]]

    def wait(self, condition: Callable[[], object], what: str, seconds: float | None = None) -> float:
        """Wait until a condition holds and return how many seconds that took, or fail."""
        began, longest = time.monotonic(), seconds or self.patience_s
        while not condition():
            assert time.monotonic() < began + longest, f"{what} did not happen within {longest:g} s\n{self._logs()}"
            time.sleep(0.1)
        return time.monotonic() - began

    def wait_for_steps(self, job_id: str, attempt: int = 1) -> None:
        """Wait until an attempt at the one trial of a job is in the midst of its search."""

        def is_searching() -> bool:
            found = [row for row in self.attempts(job_id) if row["attempt"] >= attempt]
            assert all(row["state"] != "SUCCEEDED" for row in found), "it ended before it could be disturbed"
            return any(row["stage"] == "search" and row["step"] > 0 for row in found)

        self.wait(is_searching, "the search")

    def wait_for_end(self, job_id: str) -> Job:
        """Return a job once it has ended."""
        self.wait(lambda: self.client.get_job(job_id).is_terminal, f"the end of {job_id}")
        return self.client.get_job(job_id)

    def check_done_once(self, job_id: str) -> list[Json]:
        """Check that a job ends well with exactly one result per trial, and return its attempts."""
        job = self.wait_for_end(job_id)
        assert (job.state, job.trials_done) == ("SUCCEEDED", job.trials_total), f"{job.message}\n{self._logs()}"
        trials, attempts = self.client.list_trials(job_id), self.attempts(job_id)
        for trial in trials:
            own = [row for row in attempts if row["trial_id"] == trial.id]
            assert [row["state"] for row in own].count("SUCCEEDED") == 1
            assert own[-1]["state"] == "SUCCEEDED"
            assert trial.result is not None
        candidates = [trial.id for trial in trials if trial.kind == "candidate"]
        assert len(self.client.get_front(job_id).points) == len(candidates)
        assert self._count_ends(job_id) == len(trials)
        return attempts

    def network(self, job_id: str) -> FoundArchitecture:
        """Return the one network that a job found."""
        (point,) = self.client.get_front(job_id).points
        return self.client.get_architecture(point.id)

    def document(self, job_id: str) -> Json:
        """Return the architecture.json of the one network that a job found, but for the time of its creation."""
        return without_creation(self.network(job_id).document["document"])

    def figures(self, job_id: str) -> tuple[Any, float | None]:
        """Return metrics and delta_m of the one network that a job found."""
        network = self.network(job_id)
        return network.metrics, network.delta_m

    def tree(self, job_id: str) -> Json:
        """Return the tree of the one network that a job found."""
        return tree_of(self.document(job_id))

    def take_down(self) -> None:
        """Kill all that is left."""
        for worker in self.workers:
            worker.take_down()
        if self.server is not None:
            self.kill_server()
        if self._connection is not None:
            self._connection.close()

    def _count_ends(self, job_id: str) -> int:
        """Return how many good ends of trials the events of a job tell of."""
        events = self.client.follow(job_id)
        return sum(event.kind == "trial" and event.data["state"] == "SUCCEEDED" for event in events)

    def _start(
        self, words: Sequence[str], name: str, *, stdout: int | None = None, variables: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command of the project in a session of its own, its stderr in a file."""
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "service.cli", *words],
                cwd=self.folder,
                env={**os.environ, **self.variables, **(variables or {})},
                stdin=subprocess.DEVNULL,
                stdout=stdout or subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    def _logs(self) -> str:
        """Return the ends of all logs."""
        return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))


def without_creation(document: Json) -> Json:
    """Return an architecture.json without the time at which it was made."""
    provenance = {name: value for name, value in document["provenance"].items() if name != "created"}
    return {**document, "provenance": provenance}


def tree_of(document: Json) -> Json:
    """Return what an architecture.json says of the network itself, not of the job that found it."""
    return {name: value for name, value in document.items() if name not in ("provenance", "budget_madds")}


@contextmanager
def running_site(*options: str, **variables: str) -> Iterator[Site]:
    """Yield a site whose server answers, and take all of it down afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="bm", dir="/tmp"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    own = {
        "BMTAS_CACHE": str(folder / "cache"),
        "TMPDIR": str(folder),  # what a killed process leaves goes with the site
        "BMTAS_LEASE_SECONDS": str(LEASE_SECONDS),
        "BMTAS_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
        "BMTAS_BACKOFF_SECONDS": str(BACKOFF_SECONDS),
        "OMP_NUM_THREADS": "1",
    }
    site = Site(folder, port, options, own | variables)
    try:
        yield site.start_server()
    finally:
        site.take_down()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=DATABASES)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Return a running server whose leases run out soon, without a worker yet."""
    options = () if request.param == "sqlite" else ("--database", str(request.getfixturevalue("postgres_url")))
    with running_site(*options, BMTAS_LEASE_SECONDS=str(SHORT_LEASE_SECONDS)) as running:
        yield running


@pytest.fixture
def steady_site() -> Iterator[Site]:
    """Return a running server on SQLite whose leases last, without a worker yet."""
    with running_site() as running:
        yield running


@pytest.fixture
def postgres_site(postgres_url: str) -> Iterator[Site]:
    """Return a running server on PostgreSQL whose leases last, without a worker yet."""
    with running_site("--database", postgres_url) as running:
        yield running


@pytest.fixture(params=["steady_site", "postgres_site"])
def any_site(request: pytest.FixtureRequest) -> Site:
    """Return a running server on each kind of database, without a worker yet."""
    found: Site = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def falling_site(own_postgres: PostgresCluster) -> Iterator[tuple[Site, PostgresCluster]]:
    """Return a running server and its PostgreSQL, which the test may stop and start."""
    with running_site("--database", own_postgres.url()) as running:
        yield running, own_postgres


@pytest.fixture(scope="module", params=DATABASES)
def ray_site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Return a running server and a worker with a local Ray, shared by the tests of a file."""
    options: tuple[str, ...] = ()
    if request.param == "postgres":
        cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
        cluster.execute("CREATE DATABASE ray_site TEMPLATE ready")
        options = ("--database", cluster.url("ray_site"))
    with running_site(*options) as running:
        running.start_worker("--executor", "ray", "--slots", "2")
        yield running


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """Return what `bmtas search` delivers undisturbed."""
    folder = tmp_path_factory.mktemp("reference")
    words = ["search", "--preset", "smoke", "--dataset", "digits", "--backbone", "tiny4", "--tasks", "left,right"]
    environment = {**os.environ, "BMTAS_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1", "CI": "1"}
    words += ["--budget", "70%", "--device", "cpu", "--out", str(folder / "run")]
    command = [sys.executable, "-m", "service.cli", *words]
    subprocess.run(command, check=True, env=environment, timeout=PATIENCE_S, capture_output=True)
    document = json.loads((folder / "run" / "candidates" / "70pct" / "architecture.json").read_text())
    return Reference(without_creation(document), json.loads((folder / "run" / "results.json").read_text()))
