"""Networks that were found, as lists: filtered, sorted, paged, those without a gain among them; and their fronts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.service.routes.conftest import Server, StartServer

URL = "/api/v1/architectures"
SORTS = ["created_at", "madds", "params", "delta_m"]


def find_networks(server: Server) -> tuple[str, str]:
    """Return the ids of two searches: one with six trained networks, one with two that were not trained."""
    trained = server.submit(seeds=[0, 1, 2, 3, 4, 5], name="trained")["id"]
    for index, claimed in enumerate(server.claim(100)["trials"]):
        server.finish(claimed, 50.0 + index % 4)
    bare = server.submit(seeds=[0, 1], retrain=False)["id"]
    for claimed in server.claim(100)["trials"]:
        server.finish(claimed, None)
    return str(trained), str(bare)


def read_pages(server: Server, **params: Any) -> list[dict[str, Any]]:
    """Return the rows of all pages of three."""
    rows: list[dict[str, Any]] = []
    query = {"page_size": 3, **params}
    while True:
        document = server.ask().get(URL, params=query).json()
        rows += document["items"]
        if "next_page_token" not in document:
            return rows
        query["page_token"] = document["next_page_token"]


def test_pages_hold_every_network_once_in_order(start_server: StartServer, database_url: str) -> None:
    """In each order, upwards and downwards, every network comes once; those without a gain stand together."""
    server = start_server(database_url)
    find_networks(server)
    for sort in SORTS:
        up, down = read_pages(server, sort=sort), read_pages(server, sort=f"-{sort}")
        assert len({row["id"] for row in up}) == len(up) == len(down) == 8
        for rows, falling in ((up, False), (down, True)):
            values = [row[sort] for row in rows if row[sort] is not None]
            assert values == sorted(values, reverse=falling)
    gains = [row["delta_m"] is None for row in read_pages(server, sort="delta_m")]
    assert gains.count(True) == 2
    assert sorted(gains) in (gains, gains[::-1])


def test_filters_narrow_the_list(server: Server) -> None:
    """By search, study, task, backbone and cost."""
    trained, bare = find_networks(server)
    study = server.ask().get(f"/api/v1/searches/{bare}").json()["study_key"]
    madds = read_pages(server)[0]["madds"]
    assert len(read_pages(server, search=trained)) == 6
    assert len(read_pages(server, search=bare, study=study, task="left", dataset="digits", backbone="tiny4")) == 2
    assert len(read_pages(server, search=bare, madds_max=madds)) == 2
    for params in ({"madds_max": madds - 1}, {"task": "depth"}, {"backbone": "tiny8"}, {"owner": "nobody"}):
        assert read_pages(server, search=bare, **params) == []
    assert server.ask().get(URL, params={"madds_max": -1}).status_code == 400


def test_the_front_of_a_search_and_of_its_study(start_server: StartServer, database_url: str) -> None:
    """Both show points, front, area and baselines; the study's has the networks of all its searches."""
    server = start_server(database_url)
    trained, _ = find_networks(server)
    front = server.ask().get(f"/api/v1/searches/{trained}/front").json()
    study = server.ask().get(f"/api/v1/searches/{trained}").json()["study_key"]
    assert (len(front["points"]), set(front["baselines"])) == (6, {"single", "shared"})
    best = max(point["delta_m"] for point in front["points"])
    assert [point["delta_m"] for point in front["points"] if point["on_front"]] == [best]
    assert front["hypervolume"] == pytest.approx((front["reference"][0] - front["points"][0]["madds"]) * best, abs=1e-6)
    assert server.ask().get("/api/v1/pareto", params={"search": trained}).json() == front
    everything = server.ask().get("/api/v1/pareto", params={"study": study}).json()
    assert len(everything["points"]) == 8
    by_task = server.ask().get(f"/api/v1/searches/{trained}/front", params={"x": "params", "y": "left"}).json()
    assert (by_task["x"]["name"], by_task["y"]["name"], by_task["y"]["unit"]) == ("params", "left", "accuracy")
    assert server.ask().get("/api/v1/searches/nothing/front").status_code == 404


def test_measured_latency_is_told_and_compared(start_server: StartServer) -> None:
    """What a trial measured stands beside its network, as an axis of the front, with the baselines in it."""
    server = start_server()
    trained, _ = find_networks(server)
    rows = server.ask().get(URL).json()["items"]
    assert {row["latency_ms"] for row in rows} == {None, 1.25}
    front = server.ask().get(f"/api/v1/searches/{trained}/front", params={"x": "latency_ms"}).json()
    assert ({point["x"] for point in front["points"]}, front["x"]["unit"]) == ({1.25}, "ms")
    assert (front["baselines"]["single"]["x"], front["baselines"]["shared"]["x"]) == (2.5, 1.25)


def test_details_of_metrics_stand_with_one_network(start_server: StartServer) -> None:
    """They may be long: a list leaves them out, the network itself has them."""
    server = start_server()
    server.submit(retrain=False)
    (claimed,) = server.claim()["trials"]
    details = {"per_class": [{"name": "0", "value": 50.0}], "figures": []}
    left = {"metric": "accuracy", "value": 50.0, "higher_is_better": True, "details": details}
    tree = server.describe_tree_of(claimed)
    result = {"metrics": {"left": left, "right": left}, "madds": 1, "params": 1}
    assert server.call(claimed, "complete", {"result": result, "architecture": tree}).status_code == 200
    (row,) = server.ask().get(URL).json()["items"]
    assert set(row["metrics"]["left"]) == {"metric", "value", "higher_is_better"}
    assert server.ask().get(f"{URL}/{row['id']}").json()["metrics"]["left"] == left
