"""Networks side by side: differences are found, the best is marked by its direction, and nobody shares a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.records.jobs import JobRecord, Resources
from db.records.results import ArchitectureRecord
from db.records.states import JobKind, JobState
from service.dashboard.study.comparison import Compared, Fact, compare_networks, label_networks

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def job(name: str = "a search") -> JobRecord:
    """Return a search that has ended."""
    return JobRecord(
        id="srch_1", kind=JobKind.SEARCH, owner="olga", name=name, labels={}, notes="", spec={"preset": "smoke"},
        spec_hash="", study_key="key", priority=0, resources=Resources(), max_attempts=3, state=JobState.SUCCEEDED,
        reason=None, message="", stop_requested=None, retry_of=None, architecture_id=None, created_at=NOW,
        started_at=NOW, finished_at=NOW, deadline_at=None, trials_total=1, trials_done=1, progress=1.0,
        best_delta_m=None, version=1,
    )  # fmt: skip


def record(**changes: Any) -> ArchitectureRecord:
    """Return a network at rest."""
    plain = ArchitectureRecord(
        id="arch_1", job_id="srch_1", trial_id="tria_1", study_key="key", owner="olga", name="60pct", document={},
        fingerprint="f" * 64, tasks=("left", "depth"), backbone="tiny4", dataset="digits", madds=100, params=10,
        budget_madds=120, seed=0, metrics=None, delta_m=None, created_at=NOW,
    )  # fmt: skip
    return replace(plain, **changes)


@pytest.fixture
def compare(build_architecture: Callable[..., Any]) -> Callable[..., dict[str, Fact]]:
    """Return a function that compares networks and gives the facts by name."""

    def run(*records: ArchitectureRecord) -> dict[str, Fact]:
        """Compare them."""
        networks = [Compared(one, build_architecture(), job(), None, str(place)) for place, one in enumerate(records)]
        return {fact.name: fact for group in compare_networks(networks) for fact in group.facts}

    return run


def metrics(left: float | None, depth: float) -> dict[str, Any]:
    """Return metrics of two tasks, of which one is better when lower."""
    return {
        "left": {"metric": "accuracy", "value": left, "higher_is_better": True},
        "depth": {"metric": "rmse", "value": depth, "higher_is_better": False},
    }


def test_the_best_is_marked_by_its_direction(compare: Callable[..., dict[str, Fact]]) -> None:
    """More accuracy, less error and less cost are better; what is equal or unknown bears no mark."""
    facts = compare(
        record(madds=100, metrics=metrics(90.0, 0.5), delta_m=1.0),
        record(madds=200, metrics=metrics(95.0, 0.5), delta_m=None),
        record(madds=300, metrics=metrics(None, 0.4), delta_m=2.0),
    )
    marks = {name: [cell.is_best for cell in fact.cells] for name, fact in facts.items()}
    assert marks["left"] == [False, True, False]
    assert marks["depth"] == [False, False, True]
    assert marks["MAdds"] == [True, False, False]
    assert marks["delta_m"] == [False, False, True]
    assert not any(marks["Parameters"])


def test_only_what_differs_says_so(compare: Callable[..., dict[str, Fact]]) -> None:
    """Two copies of a network differ in nothing; another seed differs in its seed alone."""
    assert not any(fact.differs for fact in compare(record(), record()).values())
    assert [name for name, fact in compare(record(), record(seed=1)).items() if fact.differs] == ["Seed"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy")), min_size=2, max_size=4))
def test_no_two_are_called_the_same(named: list[tuple[str, str]]) -> None:
    """A name that several have is told apart by its search, and else by its place."""
    labels = label_networks([record(name=name) for name, _ in named], [job(search) for _, search in named])
    assert len(set(labels)) == len(named)
