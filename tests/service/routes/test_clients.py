"""The project's own clients against the real server: what people's and workers' programs say is understood."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from db.records.jobs import MetricPoint, Progress
from db.records.states import Reason
from service.client import Client
from service.client_parts.connection import Connection, Patience
from service.client_parts.records import SearchRequest, TokenRequest
from service.errors import AttemptLostError, ServiceProblem, VersionMismatchError
from service.working.remote_store import RemoteStore
from service.working.storage import Storage
from service.working.work_orders import ClaimDocument
from service.working.worker_client import AttemptClient, Hello, WorkerClient

if TYPE_CHECKING:
    from tests.service.routes.conftest import Server

SEARCH = SearchRequest("digits", "tiny4", ["60%", 280_000], tasks=["left", "right"], preset="smoke", labels={"a": "b"})
PATIENCE = Patience(seconds=1.0)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """Return the client of an operator."""
    with Client(server.address, server.tokens["operator"], patience=PATIENCE) as opened:
        yield opened


def claim(server: Server, max_trials: int = 10) -> ClaimDocument:
    """Return work as the worker's client gets it."""
    connection = Connection(server.address, server.tokens["worker"], patience=PATIENCE)
    found = WorkerClient(connection).claim(Hello("worker-1", "w", server.settings.code_version, 2, 0), max_trials)
    connection.close()
    assert found is not None
    return found


def finish(server: Server, work: ClaimDocument) -> None:
    """Complete all trials of a claim."""
    for claimed in work.trials:
        server.finish(claimed.model_dump(mode="json"))


def test_a_search_from_submit_to_front(server: Server, client: Client, tmp_path: Path) -> None:
    """Submit, list, follow, wait, front, fetch: the whole way of a person's program."""
    assert client.validate(SEARCH)["ok"] is True
    job = client.submit(SEARCH)
    assert client.submit(SEARCH, idempotency_key="k" * 16).id == client.submit(SEARCH, idempotency_key="k" * 16).id
    assert job.id in {row.id for row in client.iterate_jobs({"label": "a:b", "page_size": 1})}
    thread = threading.Thread(target=lambda: finish(server, claim(server)))
    thread.start()
    events = list(client.follow(job.id))
    thread.join()
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert client.wait(job.id).state == "SUCCEEDED"
    front = client.get_front(job.id)
    assert len(front.points) == 2
    assert front.front <= {point.id for point in front.points}
    assert set(front.baselines) == {"single", "shared"}
    fetched = client.fetch(front.points[0].id, "json", tmp_path / "a.json")
    assert hashlib.sha256((tmp_path / "a.json").read_bytes()).hexdigest() == fetched.sha256
    assert client.get_architecture(front.points[0].id).document["tasks"] == ["left", "right"]


def test_files_of_a_network_are_fetched(server: Server, client: Client, tmp_path: Path) -> None:
    """What the server lists arrives whole, and what it does not list is refused by name."""
    job_id = server.submit(budgets=["75%"], priority=95)["id"]
    for claimed in server.claim()["trials"]:
        server.put_file(claimed, "predictions.png", b"a picture")
        server.finish(claimed)
    (point,) = client.get_front(job_id).points
    assert [row["name"] for row in client.list_files(point.id)] == ["predictions.png"]
    fetched = client.fetch_file(point.id, "predictions.png", tmp_path / "p.png")
    assert ((tmp_path / "p.png").read_bytes(), fetched.format, fetched.num_bytes) == (b"a picture", "png", 9)
    with pytest.raises(ServiceProblem, match="has no file"):
        client.fetch_file(point.id, "routing.json", tmp_path / "r.json")


def test_actions_and_lists(server: Server, client: Client) -> None:
    """Cancel, resume, kill and retry, the tables of names and the tokens answer as the client expects."""
    job = client.submit(SEARCH)
    assert client.cancel(job.id).state == "CANCELLED"
    assert client.resume(job.id).state == "QUEUED"
    assert client.kill(job.id).state == "CANCELLED"
    assert client.retry(job.id).document["retry_of"] == job.id
    tables: tuple[Literal["datasets", "backbones", "tasks"], ...] = ("datasets", "backbones", "tasks")
    for table in tables:
        assert client.list_names(table)
    assert client.list_names("weights") == []
    assert (client.get_dataset("digits")["name"], client.check_dataset("digits")["check"]) == ("digits", None)
    token = client.create_token(TokenRequest("laptop", role="viewer"))
    assert token["id"] in {row["id"] for row in client.list_tokens()}
    client.revoke_token(token["id"])
    with pytest.raises(ServiceProblem, match="of the single-task total") as refused:
        client.submit(SearchRequest("digits", "tiny4", ["1%"]))
    assert [error["pointer"] for error in refused.value.errors] == ["/budgets/0"]


def test_an_export_is_fetched_whole(server: Server, client: Client, tmp_path: Path) -> None:
    """An ONNX file is asked for, written by a worker through its own store, and arrives with the right checksum."""
    architecture_id = server.find_architecture(server.run_search(priority=90))
    content = b"network" * 50_000
    thread = threading.Thread(target=client.fetch, args=(architecture_id, "onnx", tmp_path / "a.onnx"))
    thread.start()
    while not server.ask().get("/api/v1/exports", params={"state": "QUEUED"}).json()["items"]:
        time.sleep(0.02)
    (claimed,) = find_export(server).trials
    with_store(server, claimed.model_dump(mode="json"), content)
    thread.join(timeout=20)
    assert (tmp_path / "a.onnx").read_bytes() == content


def find_export(server: Server) -> ClaimDocument:
    """Return the first claim that is an export's, finishing what comes before it."""
    while True:
        work = claim(server)
        if work.job.kind == "export":
            return work
        finish(server, work)


def with_store(server: Server, claimed: dict[str, Any], content: bytes) -> None:
    """Write an export as a trial process does: through the attempt's store, then complete."""
    connection = Connection(server.address, claimed["attempt"]["token"], patience=PATIENCE)
    attempt = AttemptClient(connection, claimed["attempt"]["id"])
    folder = f"trials/{claimed['trial']['id']}/{claimed['attempt']['number']}"
    storage = Storage(server.settings.storage_root)
    store = RemoteStore(attempt, storage, folder=folder, files=(), check_held=lambda: None)
    store.write("state/old.pt", b"1")
    store.write("state/old.pt", b"2")
    store.delete("state/old.pt")
    store.write("network.onnx", content)
    sha256 = hashlib.sha256(content).hexdigest()
    result = {"format": "onnx", "file": "network.onnx", "sha256": sha256, "bytes": len(content)}
    attempt.complete(result, None)
    connection.close()


def test_an_attempt_reports_and_is_fenced(server: Server, client: Client) -> None:
    """Heartbeats, figures and lines arrive; after a kill the next call says that the trial is lost."""
    job = client.submit(SearchRequest("digits", "tiny4", ["60%"], priority=100, retrain=False))
    (claimed,) = claim(server, 1).trials
    attempt = AttemptClient(Connection(server.address, claimed.attempt.token, patience=PATIENCE), claimed.attempt.id)
    assert attempt.heartbeat(None) is None
    assert attempt.heartbeat(Progress("search", 1, 9)) is None
    attempt.add_metrics([MetricPoint("loss", 1, float("nan")), MetricPoint("loss", 2, 0.5)])
    attempt.add_logs(["a\udcff\x00b"])
    assert client.cancel(job.id).state == "CANCELLING"
    assert attempt.heartbeat(Progress("search", 2, 9)) == "cancel"
    attempt.fail(Reason.USER_CANCEL, "as told")
    with pytest.raises(AttemptLostError):
        attempt.heartbeat(Progress("search", 3, 9))
    attempt.close()
    assert client.get_job(job.id).state == "CANCELLED"


def test_a_worker_of_another_version_is_told(server: Server) -> None:
    """The client turns the problem into its own error."""
    worker = WorkerClient(Connection(server.address, server.tokens["worker"], patience=PATIENCE))
    with pytest.raises(VersionMismatchError):
        worker.claim(Hello("w", "w", "0.0.0", 1, 0), 1)
    worker.close()
