"""A real server on a free port in a thread of this process, its database, and a client per role."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from db.records.jobs import JobRecord
from db.sql.store import SqlStore, open_store
from models.branching import Branching
from search.architecture import Architecture, Provenance, heads_of, layers_of
from search.costs.cost_table import compute_costs
from search.data.catalogue import DATASETS, resolve_tasks
from service.app import create_app
from service.server_settings import EventLimits, ServerSettings
from service.web.token_format import make_token

VERSION = "9.9.9"
TASKS = ("left", "right")
SEARCH: dict[str, Any] = {
    "dataset": "digits",
    "tasks": list(TASKS),
    "backbone": "tiny4",
    "budgets": ["60%"],
    "seeds": [0],
    "preset": "smoke",
}
ROLES = ("viewer", "operator", "admin", "worker")
SECRET = b"planted-secret-of-the-server-0123456789"


@dataclass
class Server:
    """A running server.

    Attributes:
        address: "http://127.0.0.1:PORT".
        url: Of its database.
        store: Its database.
        settings: How it behaves.
        tokens: Per role, and "other": an operator who is somebody else.
    """

    address: str
    url: str
    store: SqlStore
    settings: ServerSettings
    tokens: dict[str, str] = field(default_factory=dict)
    clients: dict[str, httpx.Client] = field(default_factory=dict)

    def ask(self, role: str | None = "operator") -> httpx.Client:
        """Return a client with the token of a role, or with none."""
        key = role or ""
        if key not in self.clients:
            headers = {"Authorization": f"Bearer {self.tokens[role]}"} if role else {}
            self.clients[key] = httpx.Client(base_url=self.address, headers=headers, timeout=30, trust_env=False)
        return self.clients[key]

    def submit(self, **changes: Any) -> dict[str, Any]:
        """Return a search that was just submitted."""
        response = self.ask().post("/api/v1/searches", json={**SEARCH, **changes})
        assert response.status_code == 202, response.text
        document: dict[str, Any] = response.json()
        return document

    def claim(self, max_trials: int = 10) -> dict[str, Any]:
        """Return the work that a worker gets."""
        worker = {"id": "worker-1", "name": "w", "version": self.settings.code_version, "cpus": 4, "gpus": 0}
        response = self.ask("worker").post("/api/v1/worker/claims", json={"worker": worker, "max_trials": max_trials})
        assert response.status_code == 200, response.text
        document: dict[str, Any] = response.json()
        return document

    def call(self, claimed: dict[str, Any], what: str, body: Any) -> httpx.Response:
        """Return the answer to a call of an attempt, with its own token."""
        attempt = claimed["attempt"]
        headers = {"Authorization": f"Bearer {attempt['token']}"}
        path = f"/api/v1/worker/attempts/{attempt['id']}/{what}"
        method = "PUT" if what == "files" else "POST"
        headers["Content-Type"] = "application/json"
        return self.ask(None).request(method, path, content=json.dumps(body), headers=headers)

    def put_file(self, claimed: dict[str, Any], name: str, content: bytes) -> httpx.Response:
        """Return the answer to a file that a claimed trial left under the storage root."""
        sha256 = hashlib.sha256(content).hexdigest()
        path = f"trials/{claimed['trial']['id']}/{claimed['attempt']['number']}/{name}.{sha256[:12]}"
        target = Path(self.settings.storage_root) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return self.call(claimed, "files", {"name": name, "path": path, "sha256": sha256, "num_bytes": len(content)})

    def describe_tree_of(self, claimed: dict[str, Any]) -> dict[str, Any]:
        """Return the architecture.json that a claimed trial leaves."""
        document: dict[str, Any] = describe_tree(claimed["trial"]["name"], claimed["trial"]["budget_madds"]).model_dump(
            mode="json"
        )
        return document

    def finish(self, claimed: dict[str, Any], value: float | None = 90.0) -> None:
        """Complete a claimed trial as a worker would, with a metric of this value per task, untrained for None."""
        trial = claimed["trial"]
        architecture = describe_tree(trial["name"], trial["budget_madds"])
        document = architecture.model_dump(mode="json")
        tasks = [trial["spec"]["task"]] if trial["kind"] == "single" else architecture.tasks
        metrics = {task: {"metric": "accuracy", "value": value, "higher_is_better": True} for task in tasks}
        measured = None if value is None else metrics
        result: dict[str, Any] = {
            "architecture": document,
            "metrics": measured,
            "madds": architecture.madds,
            "params": 7,
            "latency": None if value is None else {"latency_ms": 1.25, "device": "d", "threads": 1, "num_passes": 3},
            "history": [],
        }
        kept = document if trial["kind"] in ("candidate", "retrain") else None
        response = self.call(claimed, "complete", {"result": result, "architecture": kept})
        assert response.status_code == 200, response.text

    def run_search(self, **changes: Any) -> str:
        """Return the id of a search that has succeeded."""
        job = self.submit(**changes)
        for claimed in self.claim(100)["trials"]:
            self.finish(claimed)
        return str(job["id"])

    def find_architecture(self, job_id: str) -> str:
        """Return the id of the first network that a search found."""
        return str(self.ask().get(f"/api/v1/searches/{job_id}/front").json()["points"][0]["architecture_id"])


StartServer = Callable[..., Server]


def describe_tree(name: str, budget_madds: int | None) -> Architecture:
    """Return a tree of the two tasks; the name of a trial says how early they part."""
    info = DATASETS["digits"]
    tasks = resolve_tasks(info, TASKS)
    costs = compute_costs("tiny4", tasks, (24, 24), 1)
    shared = 5 if name == "shared" else 2
    branching = Branching(TASKS, tuple(((TASKS,) if layer < shared else (("left",), ("right",))) for layer in range(5)))
    return Architecture(
        tasks=TASKS,
        backbone="tiny4",
        input_size=(24, 24),
        image_channels=1,
        layers=layers_of(branching, costs.layer_names),
        heads=heads_of(tasks),
        madds=costs.madds(branching),
        params=costs.params(branching),
        budget_madds=budget_madds,
        provenance=Provenance(
            dataset="digits",
            dataset_fingerprint="f",
            seed=0,
            objective="exact",
            spec_hash="0",
            code_version=VERSION,
            created="2026-01-31T12:00:00+00:00",
        ),
    )


def build_settings(folder: Path, **changes: Any) -> ServerSettings:
    """Return settings for tests: quick polls, files in a folder."""
    settings = ServerSettings(
        storage_root=str(folder / "storage"),
        data_dir=folder,
        secret=SECRET,
        code_version=VERSION,
        sweep_seconds=0.2,
        events=EventLimits(poll_seconds=0.05, ping_seconds=0.5),
    )
    return replace(settings, **changes)


def add_token(store: SqlStore, role: str, owner: str) -> str:
    """Return the text of a new token."""
    token = make_token(name=role, owner=owner, role=role, created_at=store.now())
    store.add_token(token.record)
    return token.text


@contextmanager
def run_server(url: str, settings: ServerSettings) -> Iterator[Server]:
    """Yield a server on a database and end it afterwards."""
    with ExitStack() as stack:
        store = stack.enter_context(contextlib.closing(open_store(url, backoff_seconds=0.05)))
        listener = stack.enter_context(contextlib.closing(socket.create_server(("127.0.0.1", 0), backlog=512)))
        web = uvicorn.Server(uvicorn.Config(create_app(settings, store), log_config=None, access_log=False))
        thread = threading.Thread(target=web.run, kwargs={"sockets": [listener]})
        thread.start()
        server = Server(f"http://127.0.0.1:{listener.getsockname()[1]}", url, store, settings)
        for role in ROLES:
            server.tokens[role] = add_token(store, role, owner=f"the-{role}")
        server.tokens["other"] = add_token(store, "operator", owner="somebody-else")
        try:
            yield server
        finally:
            for client in server.clients.values():
                client.close()
            settings.draining.set()
            web.should_exit = True
            thread.join(timeout=20)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def setting_changes() -> dict[str, Any]:
    """Return what the shared server of a file does otherwise; files may have their own."""
    return {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests that share a server once for each kind of database that their file names in DATABASES."""
    kinds = getattr(metafunc.module, "DATABASES", None)
    if kinds is not None and "database_kind" in metafunc.fixturenames:
        metafunc.parametrize("database_kind", kinds, scope="module")


@pytest.fixture(scope="module")
def database_kind() -> str:
    """Return what kind of database the shared server of a file keeps its data in."""
    return "sqlite"


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, database_kind: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Return a server that the tests of a file share."""
    folder = tmp_path_factory.mktemp("server")
    url = f"sqlite:///{folder / 'bmtas.db'}"
    if database_kind == "postgres":
        cluster = request.getfixturevalue("postgres_cluster")
        name = f"shared_{uuid.uuid4().hex}"
        cluster.execute(f"CREATE DATABASE {name} TEMPLATE ready")
        url = cluster.url(name)
    with run_server(url, build_settings(folder, **request.getfixturevalue("setting_changes"))) as running:
        yield running


@pytest.fixture
def start_server(tmp_path: Path, sqlite_url: str) -> Iterator[StartServer]:
    """Return a function that starts a server with settings of its own, on SQLite unless told otherwise."""
    with ExitStack() as stack:

        def start(url: str | None = None, **changes: Any) -> Server:
            """Start one."""
            return stack.enter_context(run_server(url or sqlite_url, build_settings(tmp_path, **changes)))

        yield start


@pytest.fixture
def job(server: Server) -> JobRecord:
    """Return a search that waits."""
    return server.store.get_job(server.submit()["id"])
