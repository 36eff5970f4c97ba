"""Searches over HTTP: submitted, refused with the field, listed, changed, stopped, resumed, repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from db.questions import QueueLimits
from search.costs.cost_table import compute_costs
from search.data.catalogue import DATASETS, resolve_tasks

if TYPE_CHECKING:
    from tests.service.routes.conftest import Server, StartServer

DATABASES = ("sqlite", "postgres")
URL = "/api/v1/searches"
SEARCH: dict[str, Any] = {"dataset": "digits", "backbone": "tiny4", "budgets": ["60%"], "preset": "smoke"}


def test_a_submitted_search_is_accepted_with_its_address(server: Server) -> None:
    """202 carries Location, Retry-After, the entity tag and the whole resource."""
    response = server.ask().post(URL, json={**SEARCH, "budgets": ["60%", 280_000], "name": "n", "labels": {"a": "b"}})
    document = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"{URL}/{document['id']}"
    assert response.headers["retry-after"] == "2"
    assert (document["state"], document["trials_total"], document["labels"]) == ("QUEUED", 7, {"a": "b"})
    assert document["spec"]["budgets"] == ["60%", "280000"]
    again = server.ask().get(response.headers["location"])
    assert (again.status_code, again.json()["id"]) == (200, document["id"])


def test_trials_carry_their_budget_in_madds(server: Server) -> None:
    """A share is resolved against the single-task total when the search is submitted."""
    job = server.submit(budgets=["60%", 280_000], seeds=[0, 3])
    rows = server.ask().get(f"{URL}/{job['id']}/trials").json()["items"]
    info = DATASETS["digits"]
    single = compute_costs("tiny4", resolve_tasks(info, ["left", "right"]), (24, 24), 1).single_madds
    assert {row["name"]: row["budget_madds"] for row in rows if row["kind"] == "candidate"} == {
        "60pct-s0": single * 60 // 100,
        "280K-s0": 280_000,
        "60pct-s3": single * 60 // 100,
        "280K-s3": 280_000,
    }
    assert [row["name"] for row in rows][:3] == ["single-left", "single-right", "shared"]


def test_an_infeasible_budget_names_the_feasible_range(server: Server) -> None:
    """The problem points at the budget and says from how many MAdds on, and what share, a network exists."""
    response = server.ask().post(URL, json={**SEARCH, "tasks": ["left", "right"], "budgets": ["10%", "60%", 5]})
    document = response.json()
    assert (response.status_code, document["code"]) == (422, "infeasible_budget")
    assert [error["pointer"] for error in document["errors"]] == ["/budgets/0", "/budgets/2"]
    assert "155600 MAdds (50.1% of the single-task total)" in document["detail"]


BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"budgets": []}, "/budgets"),
    ({"budgets": ["0%"]}, "/budgets/0"),
    ({"budgets": ["60%", "-1"]}, "/budgets/1"),
    ({"budgets": [True]}, "/budgets/0"),
    ({"budgets": [1.5]}, "/budgets/0"),
    ({"budgets": ["60%", "60.0%"]}, "/budgets"),
    ({"budgets": "60%"}, "/budgets"),
    ({"tasks": []}, "/tasks"),
    ({"tasks": ["left"]}, "/tasks"),
    ({"tasks": ["left", "left"]}, "/tasks/1"),
    ({"tasks": ["left", "nope"]}, "/tasks/1"),
    ({"tasks": ["t"] * 20_000}, "/tasks"),
    ({"backbone": "nope"}, "/backbone"),
    ({"backbone": "mobilenet_v2"}, "/backbone"),
    ({"dataset": "nyud"}, "/dataset"),
    ({"dataset": "../../etc/passwd"}, "/dataset"),
    ({"dataset": "http://169.254.169.254/"}, "/dataset"),
    ({"dataset": None}, "/dataset"),
    ({"seeds": [-1]}, "/seeds/0"),
    ({"seeds": [2**31]}, "/seeds/0"),
    ({"seeds": [1, 1]}, "/seeds"),
    ({"seeds": ["0"]}, "/seeds/0"),
    ({"preset": "slow"}, "/preset"),
    ({"objective": 3}, "/objective"),
    ({"input_size": [24]}, "/input_size"),
    ({"input_size": [32, 32]}, "/input_size"),
    ({"retrain": "yes"}, "/retrain"),
    ({"priority": 101}, "/priority"),
    ({"max_attempts": 0}, "/max_attempts"),
    ({"deadline_seconds": 0}, "/deadline_seconds"),
    ({"resources": {"cpus": 0}}, "/resources/cpus"),
    ({"resources": {"tpus": 1}}, "/resources/tpus"),
    ({"labels": {"": "x"}}, "/labels"),
    ({"labels": {"a": 1}}, "/labels/a"),
    ({"name": ""}, "/name"),
    ({"name": "a\nb"}, "/name"),
    ({"storage": "/etc"}, "/storage"),
]


@pytest.mark.parametrize(("changes", "pointer"), BAD_FIELDS)
def test_a_bad_field_is_named(server: Server, changes: dict[str, Any], pointer: str) -> None:
    """Every field that cannot be is answered by 422 with a pointer to it, in submitting and in trying out."""
    for path in (URL, f"{URL}/validate"):
        response = server.ask().post(path, json={**SEARCH, **changes})
        document = response.json()
        assert response.status_code == 422, document
        assert response.headers["content-type"] == "application/problem+json"
        assert document["errors"][0]["pointer"] == pointer
        assert document["errors"][0]["message"] in document["detail"]


def test_a_trial_run_estimates_and_stores_nothing(server: Server) -> None:
    """Validation tells the range of MAdds, trials, time and disk, and remarks on a budget that does not bind."""
    before = server.store.count_jobs()
    response = server.ask().post(
        f"{URL}/validate", json={**SEARCH, "budgets": ["60%", "99%"], "tasks": ["left", "right"]}
    )
    document = response.json()
    assert (response.status_code, document["ok"]) == (200, True)
    assert document["estimate"]["madds"] == {"shared_madds": 155600, "split_madds": 290384, "single_madds": 311120}
    assert document["estimate"]["num_trials"] == 5
    assert 0.1 < document["estimate"]["seconds_on_one_cpu"] < 600
    assert 10_000 < document["estimate"]["disk_bytes"] < 10**8
    assert any("does not bind" in sentence for sentence in document["warnings"])
    assert server.store.count_jobs() == before


def test_what_no_worker_can_run_is_refused(server: Server) -> None:
    """Four GPUs where every worker has none: 422 with the size of the largest worker."""
    server.submit()
    server.claim()
    response = server.ask().post(URL, json={**SEARCH, "resources": {"cpus": 1, "gpus": 4}})
    assert (response.status_code, response.json()["errors"][0]["code"]) == (422, "unschedulable")
    assert "the most GPUs are 0" in response.json()["detail"]


def test_a_full_queue_asks_to_wait(start_server: StartServer) -> None:
    """Beyond the limit a search is answered by 429 with Retry-After."""
    server = start_server(queue_limits=QueueLimits(total=1, per_owner=1))
    server.submit()
    response = server.ask().post(URL, json=SEARCH)
    assert (response.status_code, response.json()["code"]) == (429, "queue_full")
    assert int(response.headers["retry-after"]) > 0


def test_lists_filter_and_sort(server: Server) -> None:
    """Filters by state, label, task, name and time narrow the list; the order is the one asked for."""
    first = server.submit(name="zebra", labels={"team": "filter"})
    second = server.submit(name="ant", labels={"team": "filter"}, backbone="tiny8")
    server.ask().post(f"{URL}/{second['id']}/cancel")

    def names(**params: str) -> list[str]:
        rows = server.ask().get(URL, params={"label": "team:filter", **params}).json()["items"]
        return [row["name"] for row in rows]

    assert names(sort="name") == ["ant", "zebra"]
    assert names(sort="-created_at") == ["ant", "zebra"]
    assert names(state="CANCELLED") == ["ant"]
    assert names(state="QUEUED,CANCELLED", name="ebr") == ["zebra"]
    assert names(task="left_group") == []
    assert names(owner="somebody-else") == []
    assert names(study=second["study_key"]) == ["ant"]
    assert sorted(names(sort="-best_delta_m")) == ["ant", "zebra"]
    assert names(created_before=first["created_at"]) == []


def test_a_job_is_changed_by_those_who_have_seen_it(server: Server) -> None:
    """PATCH needs the entity tag of the present version: 428 without, 412 with an old one (C8)."""
    path = f"{URL}/{server.submit()['id']}"
    etag = server.ask().get(path).headers["etag"]
    assert server.ask().patch(path, json={"name": "new"}).status_code == 428
    changed = server.ask().patch(path, json={"name": "new", "notes": "a\nb"}, headers={"If-Match": etag})
    assert (changed.status_code, changed.json()["name"], changed.json()["notes"]) == (200, "new", "a\nb")
    stale = server.ask().patch(path, json={"name": "newer"}, headers={"If-Match": etag})
    assert (stale.status_code, stale.json()["code"]) == (412, "stale_version")
    assert server.ask().get(path).headers["etag"] == changed.headers["etag"] != etag


def test_what_is_known_is_not_sent_again(server: Server) -> None:
    """If-None-Match with the present tag gets 304 without a body, on resources and on lists."""
    path = f"{URL}/{server.submit()['id']}"
    for address in (path, f"{URL}?name=nothing-has-this-name", f"{path}/trials", "/api/v1/datasets"):
        first = server.ask().get(address)
        second = server.ask().get(address, headers={"If-None-Match": first.headers["etag"]})
        assert (first.status_code, second.status_code, second.content) == (200, 304, b"")
        assert second.headers["etag"] == first.headers["etag"]


def test_actions_repeat_without_harm_and_name_what_is_allowed(server: Server) -> None:
    """A second cancel changes nothing; resuming what runs gets 409 with the actions that the state allows."""
    path = f"{URL}/{server.submit()['id']}"
    refused = server.ask().post(f"{path}/resume")
    assert (refused.status_code, refused.json()["code"]) == (409, "illegal_state")
    assert refused.json()["allowed_actions"] == ["cancel", "kill"]
    for _ in range(2):
        stopped = server.ask().post(f"{path}/cancel")
        assert (stopped.status_code, stopped.json()["state"]) == (202, "CANCELLED")
        assert stopped.json()["reason"] == "user_cancel"
    resumed = server.ask().post(f"{path}/resume")
    assert (resumed.status_code, resumed.json()["state"]) == (202, "QUEUED")
    killed = server.ask().post(f"{path}/kill")
    assert (killed.json()["state"], killed.json()["reason"]) == ("CANCELLED", "user_kill")


def test_a_retry_is_a_new_job_that_asks_the_same(server: Server) -> None:
    """Retry is for ended jobs only, and names the job that it repeats."""
    job = server.submit(budgets=["70%"], priority=5, labels={"a": "b"}, deadline_seconds=1000)
    path = f"{URL}/{job['id']}"
    assert server.ask().post(f"{path}/retry").status_code == 409
    server.ask().post(f"{path}/cancel")
    response = server.ask().post(f"{path}/retry")
    new = response.json()
    assert (response.status_code, new["retry_of"], new["state"]) == (202, job["id"], "QUEUED")
    assert response.headers["location"] == f"{URL}/{new['id']}"
    for name in ("spec", "spec_hash", "study_key", "priority", "labels", "name", "trials_total"):
        assert new[name] == job[name]


def test_only_ended_jobs_are_deleted(server: Server) -> None:
    """DELETE of a waiting job is 409; of an ended one 204, and then it is gone from everywhere."""
    path = f"{URL}/{server.submit()['id']}"
    etag = server.ask().get(path).headers["etag"]
    assert server.ask().delete(path, headers={"If-Match": etag}).status_code == 409
    etag = server.ask().post(f"{path}/cancel").headers["etag"]
    assert server.ask().delete(path).status_code == 428
    assert server.ask().delete(path, headers={"If-Match": '"0"'}).status_code == 412
    assert server.ask().delete(path, headers={"If-Match": etag}).status_code == 204
    assert server.ask().get(path).status_code == 404
    assert server.ask().get(f"{path}/trials").status_code == 404


def test_only_the_owner_or_an_admin_changes_a_job(server: Server) -> None:
    """Another operator reads a job but may not stop it; an admin may."""
    path = f"{URL}/{server.submit()['id']}"
    assert server.ask("other").get(path).status_code == 200
    refused = server.ask("other").post(f"{path}/cancel")
    assert (refused.status_code, refused.json()["code"]) == (403, "not_owner")
    assert server.ask("other").delete(path, headers={"If-Match": "*"}).status_code == 403
    assert server.ask("admin").post(f"{path}/cancel").status_code == 202


def test_odd_texts_come_back_as_they_were(server: Server) -> None:
    """Names with markup, quotes, emoji and direction marks are data like any other (C5)."""
    for name in (
        "<script>alert(1)</script>",
        "{{7*7}}",
        "'; DROP TABLE job; --",
        "\u202egnp.exe",
        "🦉 Ünïcödé \U0001d518",
    ):
        job = server.submit(name=name)
        assert server.ask().get(f"{URL}/{job['id']}").json()["name"] == name
        found = server.ask().get(URL, params={"name": name}).json()["items"]
        assert job["id"] in {row["id"] for row in found}
