"""What a server tells of an ended search becomes the same results that a run in this process leaves."""

from __future__ import annotations

import hashlib
import json
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from search.architecture import Architecture
from search.presets import build_spec
from search.results import Results
from service.client import Client
from service.client_parts.connection import Connection
from service.client_parts.records import FoundArchitecture, Front, Trial
from service.commands.server_results import collect_results, fetch_files
from service.errors import ServiceProblem, WaitedJobError
from service.pages.report import render_report

if TYPE_CHECKING:
    from tests.service.conftest import BuildArchitecture

TASKS = ("left", "right")
SPEC = build_spec(dataset="digits", tasks=TASKS, backbone="tiny4", budgets=["60%"], preset="smoke")


def trial(name: str, kind: str, architecture: Architecture, **values: float) -> Trial:
    """Return a trial as it comes over the wire, with a value per task."""
    metrics = {task: {"metric": "accuracy", "value": value, "higher_is_better": True} for task, value in values.items()}
    result = {
        "architecture": architecture.model_dump(mode="json"),
        "metrics": metrics,
        "latency": {"latency_ms": 2.0, "device": "a processor", "threads": 1, "num_passes": 3},
        "history": [{"stage": "search", "step": 1, "loss": 2.0}, {"stage": "train", "step": 1, "loss": 1.0}],
    }
    document: dict[str, Any] = {"id": f"trl_{name}", "name": name, "kind": kind, "state": "SUCCEEDED", "result": result}
    return Trial.from_json(json.loads(json.dumps(document)))


@pytest.fixture
def trials(build_architecture: BuildArchitecture) -> list[Trial]:
    """Return the trials of a search with one candidate."""
    both = build_architecture(TASKS)
    return [
        trial("single-left", "single", both, left=90.0),
        trial("single-right", "single", both, right=80.0),
        trial("shared", "shared", both, left=81.0, right=80.0),
        trial("60pct-s0", "candidate", both, left=90.0, right=84.0),
    ]


def front() -> Front:
    """Return a front with the candidate on it."""
    point = FoundArchitecture("arch_1", "60pct-s0", 1, 1, None, 2.5, None, {})
    return Front((point,), frozenset({"arch_1"}), 1.0, {}, {})


def test_results_hold_baselines_candidates_and_front(trials: list[Trial]) -> None:
    """Metrics, gains and learning curves stand where a run in this process puts them, and the report can be drawn."""
    found = collect_results(SPEC, trials, front())
    results = Results.from_json_bytes(found.results.to_json_bytes())
    assert results.baselines is not None
    assert results.baselines.shared.delta_m == pytest.approx(-5.0)
    (candidate,) = results.candidates
    assert (candidate.name, results.front) == ("60pct-s0", ("60pct-s0",))
    assert candidate.delta_m == pytest.approx(2.5)
    single = results.baselines.single.latency
    assert single is not None
    assert (single.latency_ms, candidate.latency and candidate.latency.latency_ms) == (4.0, 2.0)
    assert {"search 60pct-s0", "retrain 60pct-s0", "single left", "fully shared"} <= set(results.history)
    assert results.study.costs.single_madds == 311_120
    assert "<svg" in render_report(results, found.architectures, [])


class OneNetwork:
    """A server with one network, by what it answers."""

    FILES = types.MappingProxyType(
        {"predictions.png": b"a picture", "weights.safetensors": b"w", "routing.json": b"{}"}
    )

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer the list, or a file."""
        name = request.url.path.rpartition("/")[2]
        if name != "files":
            return httpx.Response(200, content=self.FILES[name])
        rows = [
            {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in self.FILES.items()
        ]
        return httpx.Response(200, json={"items": rows})


def test_pictures_come_to_where_a_run_leaves_them(tmp_path: Path) -> None:
    """Pictures and documents of every candidate are fetched; its weights stay with the service."""
    connection = Connection("http://127.0.0.1:1", "t", transport=httpx.MockTransport(OneNetwork()))
    with Client("http://127.0.0.1:1", "t", connection=connection) as client:
        fetch_files(client, front(), tmp_path)
        with pytest.raises(ServiceProblem, match=r"has no file 'search\.pt'"):
            client.fetch_file("arch_1", "search.pt", tmp_path / "x")
    folder = tmp_path / "candidates" / "60pct-s0"
    assert (folder / "predictions.png").read_bytes() == b"a picture"
    assert {path.name for path in folder.iterdir()} == {"predictions.png", "routing.json"}


def test_a_missing_result_is_named(trials: list[Trial]) -> None:
    """A trial without a result has not ended well."""
    unfinished = Trial.from_json({"id": "trl_x", "name": "shared", "kind": "shared", "state": "FAILED"})
    with pytest.raises(WaitedJobError, match="missing of shared"):
        collect_results(SPEC, [*trials, unfinished], front())
