"""Files of networks and trials: what is offered, whole or in parts, and nothing else from anywhere."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.service.routes.conftest import Server

DATABASES = ("sqlite", "postgres")
PNG = b"\x89PNG\r\n\x1a\n" + os.urandom(5_000)
ROUTING = b'{"format": "bmtas-routing"}\n'
OFFERED = {
    "evaluation.json": b"{}",
    "predictions-left.png": PNG[::-1],
    "predictions.png": PNG,
    "routing.json": ROUTING,
    "weights.safetensors": os.urandom(20_000),
}
HELD_BACK = {"search.pt": b"a pickle", "training.state": b"a state", "search-1.state": b"another"}
CANARY = b"canary-of-a-file-outside"


@pytest.fixture(scope="module")
def claimed(server: Server) -> dict[str, Any]:
    """Return the trial that found a network, with its files."""
    server.submit()
    for one in server.claim()["trials"]:
        if one["trial"]["kind"] == "shared":
            server.put_file(one, "evaluation.json", b'{"of": "shared"}')
        if one["trial"]["kind"] == "candidate":
            found = one
            for name, content in (OFFERED | HELD_BACK).items():
                assert server.put_file(one, name, content).status_code == 200
        server.finish(one)
    document: dict[str, Any] = found
    return document


@pytest.fixture(scope="module")
def files(server: Server, claimed: dict[str, Any]) -> str:
    """Return the address of the files of a network."""
    (row,) = server.ask().get("/api/v1/architectures").json()["items"]
    return f"/api/v1/architectures/{row['id']}/files"


def test_what_is_offered_is_listed(server: Server, files: str) -> None:
    """The list names the files that can be downloaded, with size and checksum; states and pickles are not told of."""
    assert server.ask("viewer").get(files).json() == {
        "items": [
            {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in sorted(OFFERED.items())
        ]
    }


@pytest.mark.parametrize("name", OFFERED)
def test_a_file_comes_whole_with_its_type(server: Server, files: str, name: str) -> None:
    """The bytes come with type, length, digest and tag; a client that has the tag gets nothing again."""
    response = server.ask("viewer").get(f"{files}/{name}")
    assert (response.status_code, response.content) == (200, OFFERED[name])
    kinds = {"png": "image/png", "json": "application/json", "safetensors": "application/octet-stream"}
    assert response.headers["content-type"] == kinds[name.rpartition(".")[2]]
    assert response.headers["etag"] == f'"{hashlib.sha256(OFFERED[name]).hexdigest()}"'
    shown = "inline" if name.endswith(".png") else "attachment"
    assert response.headers["content-disposition"].startswith(f"{shown}; filename=")
    again = server.ask().get(f"{files}/{name}", headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_part_comes_by_range(server: Server, files: str) -> None:
    """A stretch of bytes is 206, one outside of the file 416."""
    part = server.ask().get(f"{files}/predictions.png", headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, b"PNG")
    assert part.headers["content-range"] == f"bytes 1-3/{len(PNG)}"
    assert server.ask().get(f"{files}/predictions.png", headers={"Range": "bytes=99999-"}).status_code == 416


@pytest.mark.parametrize("name", [*HELD_BACK, "nothing.png", "predictions-right.png", "architecture.json"])
def test_nothing_else_is_handed_out(server: Server, files: str, name: str) -> None:
    """States of a run, pickles and files that are not there are 404."""
    response = server.ask("admin").get(f"{files}/{name}")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "path",
    [
        "../routing.json",
        "%2e%2e",
        "%2e%2e%2frouting.json",
        "..%2f..%2fetc%2fpasswd",
        "%252e%252e%252f",
        "%2Fetc%2Fpasswd",
        "routing.json%00",
        "%00",
        "..%5crouting.json",
        "predictions-..%2f.png",
        "predictions-" + "x" * 4000 + ".png",
        "x" * 4000,
    ],
)
def test_no_name_leads_out(server: Server, files: str, path: str) -> None:
    """A path in the place of a name, or a name of any length, finds nothing (E1)."""
    for address in (f"{files}/{path}", files.replace("/files", f"/{path}/files/routing.json")):
        response = server.ask().get(address)
        assert response.status_code in (400, 404, 422), address
        assert b"root:" not in response.content


@pytest.mark.parametrize("trick", ["link", "row"])
def test_a_file_outside_of_the_storage_is_never_read(server: Server, trick: str) -> None:
    """A link out of the storage root, or a row that names another path, gives 404 and not the file (E1)."""
    outside = Path(server.settings.storage_root).parent / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "routing.json").write_bytes(CANARY)
    job = server.submit(priority=90)
    claimed = server.claim(1)["trials"][0]
    server.put_file(claimed, "routing.json", CANARY)
    (stored,) = (Path(server.settings.storage_root) / "trials" / claimed["trial"]["id"] / "1").iterdir()
    stored.unlink()
    if trick == "link":
        stored.symlink_to(outside / "routing.json")
    else:
        sha256 = hashlib.sha256(CANARY).hexdigest()
        server.store.put_file(claimed["attempt"]["id"], "routing.json", "../outside/routing.json", sha256, len(CANARY))
    address = f"/api/v1/searches/{job['id']}/trials/{claimed['trial']['id']}/files/routing.json"
    response = server.ask().get(address)
    assert (response.status_code, CANARY in response.content) == (404, False)
    server.ask().post(f"/api/v1/searches/{job['id']}/kill")


def test_a_trial_shows_its_files_while_it_runs(server: Server) -> None:
    """The routing of a search that runs is the newest that it wrote."""
    job = server.submit(retrain=False, priority=90)
    claimed = server.claim(1)["trials"][0]
    files = f"/api/v1/searches/{job['id']}/trials/{claimed['trial']['id']}/files"
    assert server.ask().get(files).json() == {"items": []}
    for step in (1, 2):
        content = json.dumps({"records": [{"step": step}]}).encode()
        server.put_file(claimed, "routing.json", content)
        assert server.ask("viewer").get(f"{files}/routing.json").content == content
    assert server.ask().get(files.replace("searches", "retrains")).status_code == 404
    server.finish(claimed, None)


def test_a_shared_result_shows_the_files_of_its_trial(server: Server, files: str) -> None:
    """A baseline that another search has trained already shows that one's files."""
    job = server.submit(seeds=[1])
    address = f"/api/v1/searches/{job['id']}/trials"
    shared = next(trial for trial in server.ask().get(address).json()["items"] if trial["kind"] == "shared")
    assert shared["reused_from"]
    content = server.ask().get(f"{address}/{shared['id']}/files/evaluation.json").content
    assert content == b'{"of": "shared"}'
