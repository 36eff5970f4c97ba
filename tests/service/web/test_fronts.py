"""Fronts as answers: equal to the definition in every pair of figures, with baselines, kept while nothing is found."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.memory.store import MemoryStore
from db.questions import QueueLimits, WorkerHello
from db.records.jobs import NewJob, NewTrial
from db.records.results import FrontRow, NewArchitecture
from db.records.states import JobKind
from service.web.fronts import FrontAnswers, FrontQuestion, build_front

SINGLE = {"left": 50.0, "right": 40.0}


def measured(value: float, *, higher_is_better: bool = True) -> dict[str, Any]:
    """Return a metric as it stands in a result."""
    return {"metric": "accuracy", "value": value, "higher_is_better": higher_is_better}


def network(index: int, madds: int, delta_m: float | None, **changes: Any) -> FrontRow:
    """Return a network that was found."""
    fields: dict[str, Any] = {
        "id": f"arch_{index}",
        "job_id": "srch_1",
        "trial_id": f"tria_{index}",
        "name": f"n{index}",
        "madds": madds,
        "params": 10 * madds,
        "budget_madds": 100,
        "seed": 0,
        "metrics": None,
        "delta_m": delta_m,
    }
    return FrontRow(**{**fields, **changes})


def baselines() -> dict[str, dict[str, Any]]:
    """Return the results of the baselines of a study."""
    singles = {
        f"single-{task}": {"madds": 100, "params": 10, "metrics": {task: measured(value)}}
        for task, value in SINGLE.items()
    }
    both = {task: measured(1.1 * value) for task, value in SINGLE.items()}
    return {**singles, "shared": {"madds": 120, "params": 11, "metrics": both}}


def test_networks_that_were_not_trained_are_all_on_the_front() -> None:
    """Without metrics nothing tells networks apart; trained ones wait for their baselines first."""
    searched = [network(0, 10, None), network(1, 20, None)]
    assert build_front(searched, {}).front == ["arch_0", "arch_1"]
    trained = [network(0, 10, None, metrics={"left": measured(1.0)})]
    assert build_front(trained, {}).front == []


POINTS = st.lists(st.tuples(st.integers(1, 9), st.one_of(st.none(), st.integers(-5, 5))), max_size=12)


@settings(max_examples=100)
@given(POINTS)
def test_the_front_is_what_none_beats(points: list[tuple[int, int | None]]) -> None:
    """A network is on the front exactly if no other costs no more and gains no less, of equal ones the first."""
    rows = [network(i, madds, gain, metrics={"left": measured(1.0)}) for i, (madds, gain) in enumerate(points)]
    front = build_front(rows, {})

    def is_beaten(i: int) -> bool:
        madds, gain = points[i]
        return gain is None or any(
            other is not None
            and j != i
            and cost <= madds
            and other >= gain
            and ((cost, other) != (madds, gain) or j < i)
            for j, (cost, other) in enumerate(points)
        )

    expected = sorted((i for i in range(len(points)) if not is_beaten(i)), key=lambda i: points[i][0])
    assert front.front == [f"arch_{i}" for i in expected]
    assert [point["on_front"] for point in front.points] == [i in expected for i in range(len(points))]
    assert len(front.points) == len(points)


def test_the_baselines_frame_the_front() -> None:
    """Separate networks count as one of gain 0, from which the hypervolume is measured; sharing all is scored."""
    front = build_front([network(0, 150, 10.0), network(1, 180, 20.0), network(2, 190, -3.0)], baselines())
    assert (front.baselines["single"].madds, front.baselines["single"].delta_m) == (200, 0.0)
    assert front.baselines["shared"].delta_m == pytest.approx(10.0)
    assert front.reference == (200.0, 0.0)
    assert front.hypervolume == pytest.approx((200 - 150) * 10 + (200 - 180) * 10)


def test_without_baselines_there_is_no_hypervolume() -> None:
    """Where the single-task networks are not all there, neither reference nor area are made up."""
    some = {name: result for name, result in baselines().items() if name != "single-right"}
    front = build_front([network(0, 150, None, metrics={"left": measured(1.0)})], some)
    assert (front.hypervolume, front.reference, front.front) == (None, None, [])
    assert set(front.baselines) == {"shared"}
    assert front.baselines["shared"].delta_m is None


def test_other_figures_may_be_compared() -> None:
    """Parameters against the metric of one task, in the direction of that metric."""
    rows = [
        network(i, 1, None, params=params, metrics={"depth": measured(value, higher_is_better=False)})
        for i, (params, value) in enumerate([(1, 9.0), (2, 5.0), (3, 7.0)])
    ]
    front = build_front(rows, {}, FrontQuestion("params", "depth"))
    assert front.front == ["arch_0", "arch_1"]
    assert (front.y.better, front.x.unit, front.y.unit) == ("lower", "parameters", "accuracy")


def test_networks_over_their_budget_may_be_left_out() -> None:
    """Feasible means within its own budget, or without one."""
    rows = [network(0, 100, 1.0), network(1, 101, 2.0), network(2, 999, 3.0, budget_madds=None)]
    assert build_front(rows, {}, FrontQuestion(feasible=True)).front == ["arch_0", "arch_2"]


def test_a_metric_that_was_no_number_leaves_its_network_out() -> None:
    """A metric kept as null is not compared; the other networks make the front."""
    rows = [network(0, 10, 1.0, metrics={"left": {**measured(0.0), "value": None}})]
    rows.append(network(1, 20, 2.0, metrics={"left": measured(60.0)}))
    front = build_front(rows, {}, FrontQuestion(y="left"))
    assert ([point["y"] for point in front.points], front.front) == ([None, 60.0], ["arch_1"])


class CountingStore(MemoryStore):
    """A store that counts how often rows are read, with metrics and without."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[bool] = []

    def list_front_rows(
        self, *, job_id: str | None, study_key: str | None, with_metrics: bool = True
    ) -> list[FrontRow]:
        """Return the rows."""
        self.reads.append(with_metrics)
        return super().list_front_rows(job_id=job_id, study_key=study_key, with_metrics=with_metrics)

    def find(self, name: str, delta_m: float | None) -> None:
        """Have a trial find a network."""
        job = NewJob(JobKind.SEARCH, "ann", "n", {}, "0" * 64, "study", (NewTrial("candidate", name, {}),))
        self.submit(job, limits=QueueLimits())
        claim = self.claim(WorkerHello("w", "w", "1"), lease_seconds=60.0, max_trials=1)
        assert claim is not None
        found = NewArchitecture(name, {}, "f", ("left",), "tiny4", "digits", 5, 5, None, 0, None, delta_m)
        self.complete(claim.trials[0].attempt.id, {}, found, score=lambda *_: 0.0)


def test_a_front_is_read_once_until_something_is_found() -> None:
    """The same question gets the same bytes without reading a row; a new network is in the next answer."""
    store = CountingStore()
    store.find("a", 1.0)
    fronts, asked = FrontAnswers(store), FrontQuestion()
    first = fronts.answer(asked, study_key="study")
    assert fronts.answer(asked, study_key="study") is first
    store.find("b", 2.0)
    second = fronts.answer(asked, study_key="study")
    assert (len(json.loads(second.content)["points"]), second.etag != first.etag) == (2, True)
    assert store.reads == [False, False]
    fronts.answer(FrontQuestion(y="left"), study_key="study")
    assert store.reads == [False, False, True]


def test_networks_that_are_not_scored_are_read_with_their_metrics() -> None:
    """They tell whether they were trained; the answer is that of all rows read whole."""
    store = CountingStore()
    store.find("a", None)
    answer = FrontAnswers(store).answer(FrontQuestion(), study_key="study")
    rows = store.list_front_rows(job_id=None, study_key="study")
    assert answer.content.decode() == build_front(rows, {}).model_dump_json(exclude_unset=True)
    assert json.loads(answer.content)["front"] == [rows[0].id]


def test_kept_fronts_have_a_limit() -> None:
    """Beyond it, those go that were not asked for longest."""
    store = CountingStore()
    store.find("a", 1.0)
    size = len(FrontAnswers(store).answer(FrontQuestion(), study_key="study").content)
    fronts = FrontAnswers(store, max_bytes=size + 10)
    for x in ("madds", "madds", "params", "madds"):
        fronts.answer(FrontQuestion(x), study_key="study")
    assert len(store.reads) == 4


def test_latency_is_a_cost_like_any_other() -> None:
    """Networks that were not measured are left out, as are baselines; separate networks add up."""
    rows = [network(0, 10, 1.0, latency_ms=2.0), network(1, 20, 3.0, latency_ms=1.0), network(2, 5, 9.0)]
    known = baselines()
    for name, latency_ms in (("single-left", 1.5), ("single-right", 2.0)):
        known[name]["latency"] = {"latency_ms": latency_ms, "device": "d", "threads": 1, "num_passes": 3}
    front = build_front(rows, known, FrontQuestion("latency_ms"))
    assert [point["architecture_id"] for point in front.points] == ["arch_0", "arch_1"]
    assert (front.front, front.x.unit) == (["arch_1"], "ms")
    assert set(front.baselines) == {"single"}
    assert front.baselines["single"].x == 3.5
    assert front.reference == (3.5, 0.0)
