"""Networks as files: architecture.json at once, others through the engine, whole or in parts, never from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from search.architecture import Architecture

if TYPE_CHECKING:
    from tests.service.routes.conftest import Server

DATABASES = ("sqlite", "postgres")
CONTENT = os.urandom(1_000_000)
SHA = hashlib.sha256(CONTENT).hexdigest()
CANARY = b"canary-of-a-file-outside"


@pytest.fixture(scope="module")
def architecture_id(server: Server) -> str:
    """Return the id of a network that a search found, with the files of its trial."""
    job = server.submit()
    for claimed in server.claim()["trials"]:
        if claimed["trial"]["kind"] == "candidate":
            for name in ("weights.safetensors", "architecture.json", "state.pt"):
                assert server.put_file(claimed, name, CONTENT).status_code == 200
        server.finish(claimed)
    return server.find_architecture(job["id"])


@pytest.fixture(scope="module")
def export_id(server: Server, architecture_id: str) -> str:
    """Return the id of an export that was written by a worker."""
    response = server.ask().post(f"/api/v1/architectures/{architecture_id}/exports", json={"format": "onnx"})
    assert response.status_code == 202, response.text
    claim = server.claim()
    assert [file["name"] for file in claim["trials"][0]["inputs"]] == ["architecture.json", "weights.safetensors"]
    write_export(server, claim["trials"][0], CONTENT)
    return str(response.json()["id"])


def write_export(server: Server, claimed: dict[str, Any], content: bytes) -> None:
    """Complete an export as a worker would."""
    assert server.put_file(claimed, "network.onnx", content).status_code == 200
    sha256 = hashlib.sha256(content).hexdigest()
    result = {"format": "onnx", "file": "network.onnx", "sha256": sha256, "bytes": len(content), "opset": 18}
    assert server.call(claimed, "complete", {"result": result}).status_code == 200


def test_an_export_says_what_was_written(server: Server, export_id: str) -> None:
    """The job of an export holds format, checksum and size once it has succeeded."""
    job = server.ask().get(f"/api/v1/exports/{export_id}").json()
    assert (job["kind"], job["state"]) == ("export", "SUCCEEDED")
    assert (job["result"]["sha256"], job["result"]["bytes"]) == (SHA, len(CONTENT))
    assert server.ask().get(f"/api/v1/searches/{export_id}").status_code == 404
    assert server.ask().get(f"/api/v1/exports/{export_id}/trials").json()["items"][0]["kind"] == "export"


def test_the_content_comes_whole_with_its_digest(server: Server, export_id: str, architecture_id: str) -> None:
    """Length, digest and a fixed name for the file, that of its network, come with the bytes."""
    response = server.ask("viewer").get(f"/api/v1/exports/{export_id}/content")
    assert (response.status_code, response.content) == (200, CONTENT)
    assert response.headers["content-length"] == str(len(CONTENT))
    digest = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    assert response.headers["repr-digest"] == f"sha-256=:{digest}:"
    assert response.headers["content-disposition"] == f'attachment; filename="{architecture_id}.onnx"'
    assert response.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=999990-", 999_990, 1_000_000),
        ("bytes=-5", 999_995, 1_000_000),
        ("bytes=500000-99999999", 500_000, 1_000_000),
    ],
)
def test_a_part_comes_by_range(server: Server, export_id: str, wanted: str, start: int, end: int) -> None:
    """A stretch of bytes is 206 with its place in the whole."""
    response = server.ask().get(f"/api/v1/exports/{export_id}/content", headers={"Range": wanted})
    assert (response.status_code, response.content) == (206, CONTENT[start:end])
    assert response.headers["content-range"] == f"bytes {start}-{end - 1}/{len(CONTENT)}"


def test_ranges_outside_are_refused_and_odd_ones_ignored(server: Server, export_id: str) -> None:
    """Beyond the end is 416 with the size; what is no single range gives the whole file."""
    path = f"/api/v1/exports/{export_id}/content"
    refused = server.ask().get(path, headers={"Range": "bytes=1000000-"})
    assert (refused.status_code, refused.headers["content-range"]) == (416, "bytes */1000000")
    for wanted in ("lines=1-2", "bytes=5-1", "bytes=0-1,5-6", "bytes=", "bytes=x-"):
        assert server.ask().get(path, headers={"Range": wanted}).status_code == 200


def test_content_that_is_not_there_yet_is_a_conflict(server: Server, architecture_id: str) -> None:
    """Before the worker has written it, the content is 409 not_ready."""
    job = server.ask().post(f"/api/v1/architectures/{architecture_id}/exports", json={"format": "pt2"}).json()
    response = server.ask().get(f"/api/v1/exports/{job['id']}/content")
    assert (response.status_code, response.json()["code"]) == (409, "not_ready")
    server.ask().post(f"/api/v1/exports/{job['id']}/kill")


def test_json_is_answered_at_once(server: Server, architecture_id: str) -> None:
    """architecture.json comes byte for byte as the command line writes it, with its checksum."""
    path = f"/api/v1/architectures/{architecture_id}"
    export = server.ask().post(f"{path}/exports", json={"format": "json"})
    content = server.ask().get(export.json()["content_url"]).content
    document = server.ask().get(path).json()["document"]
    assert export.status_code == 200
    assert hashlib.sha256(content).hexdigest() == export.json()["sha256"]
    assert Architecture.from_json_bytes(content).model_dump(mode="json") == document
    assert content == Architecture.from_json_bytes(content).to_json_bytes()
    refused = server.ask().post(f"{path}/exports", json={"format": "json", "tasks": ["left"]})
    assert refused.json()["errors"][0]["pointer"] == "/tasks"


def test_a_retraining_runs_like_any_job(server: Server, architecture_id: str) -> None:
    """A retraining has a trial of its own kind, is found under its own name, and holds its result."""
    path = f"/api/v1/architectures/{architecture_id}/retrains"
    response = server.ask().post(path, json={"preset": "smoke", "seed": 4})
    job = response.json()
    assert (response.status_code, job["kind"], job["architecture_id"]) == (202, "retrain", architecture_id)
    claim = server.claim()
    assert (claim["trials"][0]["trial"]["kind"], claim["trials"][0]["trial"]["seed"]) == ("retrain", 4)
    server.finish(claim["trials"][0], 80.0)
    done = server.ask().get(response.headers["location"]).json()
    assert (done["state"], done["result"]["metrics"]["left"]["value"]) == ("SUCCEEDED", 80.0)
    assert server.ask().post(path, json={"dataset": "scenes"}).json()["errors"][0]["pointer"] == "/dataset"


def test_an_untrained_network_is_not_written(server: Server) -> None:
    """Without weights there is nothing to export but the tree."""
    server.submit(retrain=False, priority=90)
    claimed = server.claim(1)["trials"][0]
    document = claimed["trial"]["spec"]
    assert document["kind"] == "candidate"
    result = server.ask().get("/api/v1/architectures").json()["items"][0]
    tree = server.ask().get(f"/api/v1/architectures/{result['id']}").json()["document"]
    server.call(claimed, "complete", {"result": {"metrics": None}, "architecture": tree})
    found = server.ask().get("/api/v1/architectures", params={"sort": "-created_at"}).json()["items"][0]
    response = server.ask().post(f"/api/v1/architectures/{found['id']}/exports", json={"format": "onnx"})
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "/format")


def test_the_tree_is_drawn_and_may_be_kept(server: Server, architecture_id: str) -> None:
    """The drawing has a node per copy of a layer, and a tag for caches."""
    path = f"/api/v1/architectures/{architecture_id}/tree.svg"
    response = server.ask().get(path)
    assert (response.status_code, response.headers["content-type"]) == (200, "image/svg+xml")
    assert response.text.count('class="node"') == 8
    assert "immutable" in response.headers["cache-control"]
    again = server.ask().get(path, headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


PATHS = [
    "..",
    "../../etc/passwd",
    "%2e%2e/%2e%2e/etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%252e%252e%252f",
    "/etc/passwd",
    "%2Fetc%2Fpasswd",
    "a%00b",
    "a%23b",
    "..%5c..%5cetc",
    "file:%2f%2f%2fetc%2fpasswd",
    "x" * 4000,
]


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_out(server: Server, path: str) -> None:
    """Wherever an address takes an id, a path in its place finds nothing (E1)."""
    for template in ("exports/{}/content", "architectures/{}/tree.svg", "architectures/{}", "searches/{}/trials/{}"):
        response = server.ask().get(f"/api/v1/{template.format(path, path)}")
        assert response.status_code in (400, 404), response.text
        assert "root:" not in response.text


@pytest.mark.parametrize("trick", ["link", "folder link", "row"])
def test_a_file_outside_of_the_storage_is_never_read(server: Server, architecture_id: str, trick: str) -> None:
    """A link out of the storage root, or a row that names another path, gives 404 and not the file (E1)."""
    outside = Path(server.settings.storage_root).parent / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "network.onnx").write_bytes(CANARY)
    job = server.ask().post(f"/api/v1/architectures/{architecture_id}/exports", json={"format": "onnx"}).json()
    claimed = server.claim()["trials"][0]
    assert server.put_file(claimed, "network.onnx", CANARY).status_code == 200
    folder = Path(server.settings.storage_root) / "trials" / claimed["trial"]["id"] / "1"
    (stored,) = folder.iterdir()
    stored.unlink()
    sha256 = hashlib.sha256(CANARY).hexdigest()
    if trick == "link":
        stored.symlink_to(outside / "network.onnx")
    elif trick == "folder link":
        folder.rmdir()
        (outside / stored.name).write_bytes(CANARY)
        folder.symlink_to(outside, target_is_directory=True)
    else:
        server.store.put_file(claimed["attempt"]["id"], "network.onnx", "../outside/network.onnx", sha256, len(CANARY))
    result = {"format": "onnx", "file": "network.onnx", "sha256": sha256, "bytes": len(CANARY)}
    server.call(claimed, "complete", {"result": result})
    response = server.ask().get(f"/api/v1/exports/{job['id']}/content")
    assert (response.status_code, CANARY in response.content) == (404, False)
