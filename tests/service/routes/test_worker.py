"""The worker API: claims, leases, figures, lines, files and results, each fenced by its attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.service.routes.conftest import Server, StartServer

SHA = "ab" * 32


@pytest.fixture
def claimed(server: Server) -> dict[str, Any]:
    """Return a trial that was just claimed, the only one of its job that is."""
    server.submit(priority=50, retrain=False)
    trial: dict[str, Any] = server.claim(1)["trials"][0]
    return trial


def test_a_claim_has_all_that_a_worker_needs(start_server: StartServer, database_url: str) -> None:
    """Job, storage root, lease, heartbeat, and per trial its spec, its attempt with a token, and its files."""
    server = start_server(database_url)
    job = server.submit(resources={"cpus": 2})
    claim = server.claim()
    assert (claim["job"]["id"], claim["job"]["resources"]) == (job["id"], {"cpus": 2.0, "gpus": 0.0})
    assert (claim["storage_root"], claim["lease_seconds"]) == (server.settings.storage_root, 90.0)
    assert [row["trial"]["name"] for row in claim["trials"]] == ["single-left", "single-right", "shared", "60pct-s0"]
    first = claim["trials"][0]
    assert (first["attempt"]["number"], first["files"], first["inputs"]) == (1, [], [])
    assert first["attempt"]["token"].startswith(f"bmta_{first['attempt']['id']}_")
    assert first["trial"]["spec"]["kind"] == "single"


def test_no_work_is_no_content(start_server: StartServer) -> None:
    """An empty queue, and a server that is about to end, answer 204."""
    server = start_server()
    worker = {"id": "w", "name": "w", "version": server.settings.code_version}
    assert server.ask("worker").post("/api/v1/worker/claims", json={"worker": worker}).status_code == 204
    server.submit()
    server.settings.draining.set()
    assert server.ask("worker").post("/api/v1/worker/claims", json={"worker": worker}).status_code == 204


def test_a_worker_of_another_version_gets_nothing(server: Server) -> None:
    """Server and worker must be of the same version."""
    worker = {"id": "w", "name": "w", "version": "0.0.1"}
    response = server.ask("worker").post("/api/v1/worker/claims", json={"worker": worker})
    assert (response.status_code, response.json()["code"]) == (409, "version_mismatch")


def test_a_heartbeat_renews_and_tells_to_stop(server: Server, claimed: dict[str, Any]) -> None:
    """The lease moves on; after a cancel the answer says so."""
    assert server.call(claimed, "heartbeat", {}).json()["stop"] is None
    beat = server.call(claimed, "heartbeat", {"stage": "search", "step": 3, "total_steps": 10}).json()
    assert beat["lease_until"] > claimed["attempt"]["lease_until"]
    trial = server.store.get_trial(claimed["trial"]["id"])
    assert (trial.stage, trial.step, trial.total_steps) == ("search", 3, 10)
    server.ask().post(f"/api/v1/searches/{trial.job_id}/cancel")
    assert server.call(claimed, "heartbeat", {}).json()["stop"] == "cancel"


def test_a_lost_lease_is_told_on_every_call(server: Server, claimed: dict[str, Any]) -> None:
    """After a kill every call of the attempt gets 409 lease_lost, and nothing is stored."""
    job_id = server.store.get_trial(claimed["trial"]["id"]).job_id
    server.ask().post(f"/api/v1/searches/{job_id}/kill")
    path = f"trials/{claimed['trial']['id']}/1/a.{SHA[:12]}"
    calls = {
        "heartbeat": {},
        "metrics": {"points": [{"name": "loss", "step": 1, "value": 1.0}]},
        "logs": {"lines": ["x"]},
        "files": {"name": "a", "path": path, "sha256": SHA, "num_bytes": 1},
        "complete": {"result": {}, "architecture": None},
        "fail": {"reason": "internal", "message": "x"},
        "release": {"reason": "worker_stopped"},
    }
    for what, body in calls.items():
        response = server.call(claimed, what, body)
        assert (response.status_code, response.json()["code"]) == (409, "lease_lost"), what
    assert server.store.list_files(claimed["trial"]["id"]) == []


def test_figures_that_are_not_finite_are_dropped(server: Server, claimed: dict[str, Any]) -> None:
    """Null stands for one; the rest of the batch is kept."""
    points = [{"name": "loss", "step": step, "value": None if step == 1 else float(step)} for step in range(3)]
    assert server.call(claimed, "metrics", {"points": points}).json() == {"stored": 2}
    job_id = server.store.get_trial(claimed["trial"]["id"]).job_id
    series = server.ask().get(f"/api/v1/searches/{job_id}/metrics").json()["series"]
    assert series[0]["points"] == [[0, 0.0], [2, 2.0]]
    assert server.call(claimed, "metrics", {"points": points * 200}).status_code == 422


def test_odd_lines_are_mended(server: Server, claimed: dict[str, Any]) -> None:
    """What a program printed is kept, with a mark where a character was none."""
    long = "x" * 5000
    response = server.call(claimed, "logs", {"lines": ["a\x00b", "half \ud800", "naïve 🦉", long]})
    assert response.json() == {"stored": 4}
    job_id = server.store.get_trial(claimed["trial"]["id"]).job_id
    page = server.ask().get(f"/api/v1/searches/{job_id}/logs").json()
    assert [row["text"] for row in page["items"]] == ["a\ufffdb", "half \ufffd", "naïve 🦉", "x" * 2000]
    assert page["next_after"] == page["items"][-1]["seq"]
    rest = server.ask().get(f"/api/v1/searches/{job_id}/logs", params={"after": page["next_after"] - 1})
    assert len(rest.json()["items"]) == 1


BAD_PATHS = [
    "../../etc/passwd",
    "/etc/passwd",
    "trials/x/1/a",
    "trials/%s/1/../../../canary",
    "trials/%s/2/a.abababababab",
    "trials/%s/1/a.000000000000",
    "trials\\%s\\1\\a.abababababab",
    "trials/%s/1/b.abababababab",
    "file:///etc/passwd",
    "trials/%s/1/a.abababababab\u0000",
    "trials/%s/1/a.abababababab#x",
    "a" * 5000,
]
BAD_NAMES = ["..", "../a", "a/../../b", "/a", "a//b", "./a", "a/./b", "", "a\\b", "a#b", "a%2e", "x" * 300, "a\nb"]


def test_a_file_lies_where_the_attempt_may_put_it(server: Server, claimed: dict[str, Any]) -> None:
    """The path is the one that trial, attempt, name and checksum give; the row can be replaced and removed."""
    path = f"trials/{claimed['trial']['id']}/1/dir/a.bin.{SHA[:12]}"
    body = {"name": "dir/a.bin", "path": path, "sha256": SHA, "num_bytes": 5}
    assert server.call(claimed, "files", body).json() == body
    assert [file.name for file in server.store.list_files(claimed["trial"]["id"])] == ["dir/a.bin"]
    address = f"/api/v1/worker/attempts/{claimed['attempt']['id']}/files/dir/a.bin"
    for _ in range(2):
        assert server.ask("worker").delete(address).status_code == 204
    assert server.store.list_files(claimed["trial"]["id"]) == []


def test_a_file_elsewhere_is_refused(server: Server, claimed: dict[str, Any]) -> None:
    """No path or name that leads elsewhere is noted (E1)."""
    for bad in BAD_PATHS:
        path = bad.replace("%s", claimed["trial"]["id"])
        body = {"name": "a", "path": path, "sha256": SHA, "num_bytes": 5}
        assert server.call(claimed, "files", body).status_code == 422, path
    for name in BAD_NAMES:
        path = f"trials/{claimed['trial']['id']}/1/{name}.{SHA[:12]}"
        body = {"name": name, "path": path, "sha256": SHA, "num_bytes": 5}
        assert server.call(claimed, "files", body).status_code == 422, name
    assert server.store.list_files(claimed["trial"]["id"]) == []


def test_a_result_is_stored_once_with_its_network(start_server: StartServer, database_url: str) -> None:
    """The candidate's tree is found by the API, scored against the baselines; a repeated call changes nothing."""
    server = start_server(database_url)
    job = server.submit()
    *baselines, candidate = server.claim()["trials"]
    for claimed in baselines:
        server.finish(claimed, 50.0)
    for _ in range(2):
        server.finish(candidate, 75.0)
    read = server.ask().get(f"/api/v1/searches/{job['id']}").json()
    assert (read["state"], read["progress"], read["best_delta_m"]) == ("SUCCEEDED", 1.0, pytest.approx(50.0))
    found = server.ask().get("/api/v1/architectures").json()["items"]
    assert [(row["name"], row["delta_m"], row["seed"]) for row in found] == [("60pct-s0", pytest.approx(50.0), 0)]
    assert server.ask().get(f"/api/v1/architectures/{found[0]['id']}").json()["document"]["tasks"] == ["left", "right"]


def test_extremes_are_kept_by_every_database(start_server: StartServer, database_url: str) -> None:
    """The largest steps and sizes that the description allows are stored; NUL in an address is just not found."""
    server = start_server(database_url)
    server.submit()
    claimed = server.claim(1)["trials"][0]
    largest = 2**53 - 1
    beat = {"stage": "x" * 200, "step": largest, "total_steps": largest}
    assert server.call(claimed, "heartbeat", beat).status_code == 200
    assert server.call(claimed, "metrics", {"points": [{"name": "n", "step": largest, "value": 1e308}]}).is_success
    path = f"trials/{claimed['trial']['id']}/1/a.{SHA[:12]}"
    body = {"name": "a", "path": path, "sha256": SHA, "num_bytes": largest}
    assert server.call(claimed, "files", body).status_code == 200
    lines = ["\u2028" * 2000] * 200
    assert server.call(claimed, "logs", {"lines": lines}).status_code == 200
    for address in ("searches/a%00b", "architectures/a%00b", "searches/x/trials/a%00b"):
        assert server.ask().get(f"/api/v1/{address}").status_code == 404
    assert server.ask().get("/api/v1/pareto?study=a%00b").status_code == 400


def test_a_document_that_is_no_network_is_refused(server: Server, claimed: dict[str, Any]) -> None:
    """What is stored as a network is an architecture.json of this version."""
    response = server.call(claimed, "complete", {"result": {"metrics": None}, "architecture": {"tasks": []}})
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "/architecture")


def test_reasons_are_a_closed_set(server: Server, claimed: dict[str, Any]) -> None:
    """A reason of one's own is refused; a known one fails the trial with its message."""
    assert server.call(claimed, "fail", {"reason": "because"}).status_code == 422
    response = server.call(claimed, "fail", {"reason": "diverged", "message": "loss is NaN"})
    assert response.json() == {"trial_id": claimed["trial"]["id"], "state": "FAILED"}
    trial = server.store.get_trial(claimed["trial"]["id"])
    path = f"/api/v1/searches/{trial.job_id}/trials/{trial.id}"
    assert (server.ask().get(path).json()["reason"], server.ask().get(path).json()["message"]) == (
        "diverged",
        "loss is NaN",
    )
    attempts = server.ask().get(f"{path}/attempts").json()["items"]
    assert [(row["attempt"], row["worker"], row["state"], row["reason"]) for row in attempts] == [
        (1, "worker-1", "FAILED", "diverged")
    ]


def test_the_token_of_an_attempt_is_good_for_it_alone(server: Server, claimed: dict[str, Any]) -> None:
    """It neither speaks for another attempt nor asks for work nor reads jobs; a changed one is no token."""
    token = claimed["attempt"]["token"]
    own = {"Authorization": f"Bearer {token}"}
    ask = server.ask(None)
    assert ask.post("/api/v1/worker/attempts/attm_other/heartbeat", json={}, headers=own).status_code == 403
    worker = {"id": "w", "name": "w", "version": server.settings.code_version}
    assert ask.post("/api/v1/worker/claims", json={"worker": worker}, headers=own).status_code == 403
    assert ask.get("/api/v1/searches", headers=own).status_code == 403
    forged = {"Authorization": f"Bearer {token[:-1]}{'0' if token[-1] != '0' else '1'}"}
    path = f"/api/v1/worker/attempts/{claimed['attempt']['id']}/heartbeat"
    assert ask.post(path, json={}, headers=forged).status_code == 401
    assert ask.post(path, json={}, headers=own).status_code == 200
