"""What every store promises of architectures, baselines, scores and costs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from db.errors import NotFoundError
from db.records.results import FrontRow
from db.stores import ArchitectureQuery

if TYPE_CHECKING:
    from db.records.jobs import JobRecord
    from db.records.results import ArchitectureRecord
    from tests.contracts.conftest import Desk


def metrics(**values: float) -> dict[str, Any]:
    """Return metrics as results hold them."""
    return {task: {"metric": "m", "value": value, "higher_is_better": True} for task, value in values.items()}


def run(desk: Desk, name: str, result: dict[str, Any] | None = None, **changes: Any) -> JobRecord:
    """Return a job whose one trial has just left a result, and a network if it is a candidate."""
    job = desk.submit(desk.trial(name))
    network = desk.found(name, **changes) if name.startswith("c") else None
    desk.complete(desk.take().attempt.id, result, network)
    return desk.store.get_job(job.id)


def only(desk: Desk, job: JobRecord) -> ArchitectureRecord:
    """Return the one network of a job."""
    (record,) = desk.store.list_front_rows(job_id=job.id, study_key=None)
    return desk.store.get_architecture(record.id)


def test_an_architecture_comes_back_with_where_it_came_from(desk: Desk) -> None:
    """The record has all that the trial found and names its trial, job, study and owner."""
    job = run(desk, "c1", madds=2**40)
    record, (trial,) = only(desk, job), desk.store.list_trials(job.id)
    given = desk.found("c1", madds=2**40)
    assert all(getattr(record, name) == value for name, value in vars(given).items())
    assert (record.job_id, record.trial_id, record.study_key, record.owner) == (job.id, trial.id, "study", "ann")
    assert record.created_at == trial.finished_at
    with pytest.raises(NotFoundError):
        desk.store.get_architecture("nothing")


def test_rows_of_a_front_are_cheap(desk: Desk) -> None:
    """A front has every network of a job or study, the cheapest first, with the figures to compare."""
    dear, cheap = run(desk, "c1", madds=9), run(desk, "c2", madds=1)
    desk.submit("c3", study_key="other")
    desk.complete(desk.take().attempt.id, found=desk.found("c3"))
    rows = desk.store.list_front_rows(job_id=None, study_key="study")
    assert [(row.job_id, row.madds) for row in rows] == [(cheap.id, 1), (dear.id, 9)]
    record = only(desk, dear)
    assert rows[1]._asdict() == {name: getattr(record, name) for name in FrontRow._fields}
    assert len(desk.store.list_front_rows(job_id=None, study_key=None)) == 3


def test_a_network_is_scored_once_all_baselines_are_there(desk: Desk) -> None:
    """delta_m stays unknown until the last single-task baseline is in, then all waiting networks get it."""
    first = run(desk, "c1", metrics=metrics(left=0.75, right=0.5))
    run(desk, "single-left", {"metrics": metrics(left=0.5)})
    assert only(desk, first).delta_m is None
    assert desk.store.get_job(first.id).best_delta_m is None
    run(desk, "single-right", {"metrics": metrics(right=0.25)})
    assert only(desk, first).delta_m == pytest.approx(0.5)
    assert desk.store.get_job(first.id).best_delta_m == pytest.approx(0.5)
    second = run(desk, "c2", metrics=metrics(left=0.5, right=0.5))
    assert only(desk, second).delta_m == pytest.approx(0.25)
    assert [data["delta_m"] for data in desk.told(first.id, "front")] == [None, pytest.approx(0.5)]


def test_a_job_knows_its_best(desk: Desk) -> None:
    """The best delta_m of a job is that of its best network."""
    run(desk, "single-left", {"metrics": metrics(left=0.5)})
    run(desk, "single-right", {"metrics": metrics(right=0.5)})
    job = desk.submit("c1", "c2", "c3")
    for value in (0.5, 0.75, 0.25):
        network = desk.found(metrics=metrics(left=value, right=0.5))
        desk.complete(desk.take().attempt.id, found=network)
    assert desk.store.get_job(job.id).best_delta_m == pytest.approx(0.25)


def test_a_score_that_cannot_be_computed_stays_unknown(desk: Desk) -> None:
    """A trial is stored even when its metrics admit no delta_m."""
    run(desk, "single-left", {"metrics": metrics(left=0.5)})
    run(desk, "single-right", {"metrics": {"right": {}}})
    assert only(desk, run(desk, "c1", metrics=metrics(left=0.5, right=0.5))).delta_m is None
    assert only(desk, run(desk, "c2", metrics=None)).delta_m is None


def test_a_given_score_is_kept(desk: Desk) -> None:
    """A network that comes with its delta_m keeps it."""
    assert only(desk, run(desk, "c1", delta_m=1.5)).delta_m == 1.5


def test_a_study_is_scored_by_its_own_baselines(desk: Desk) -> None:
    """Baselines of another study score nothing here."""
    job = desk.submit(desk.trial("single-left"), desk.trial("single-right"), study_key="other")
    for task in ("left", "right"):
        desk.complete(desk.take().attempt.id, {"metrics": metrics(**{task: 0.5})})
    assert only(desk, run(desk, "c1")).delta_m is None
    assert set(desk.store.list_baselines("other")) == {"single-left", "single-right"}
    assert desk.store.list_baselines("study") == {}
    assert desk.store.get_job(job.id).trials_done == 2


def test_baselines_are_listed_by_name(desk: Desk) -> None:
    """The finished baselines of a study are there, candidates and unfinished ones are not, the newest counts."""
    run(desk, "single-left", {"n": 1})
    run(desk, "single-left", {"n": 2})
    run(desk, "shared", {"n": 3})
    run(desk, "c1", {"n": 4})
    desk.submit(desk.trial("single-right"))
    assert desk.store.list_baselines("study") == {"single-left": {"n": 2}, "shared": {"n": 3}}


SORTS = ["created_at", "-created_at", "madds", "-madds", "params", "-params", "delta_m", "-delta_m"]


@pytest.mark.parametrize("sort", SORTS)
def test_pages_of_a_list_make_up_the_list(desk: Desk, sort: str) -> None:
    """Going on from the last row of each page visits every network once; unknown scores come last."""
    for number in range(7):
        delta_m = None if number % 3 == 0 else float(number % 2)
        run(desk, f"c{number}", madds=number % 3, params=number % 2, delta_m=delta_m, metrics=None)
    whole = desk.store.list_architectures(ArchitectureQuery(sort=sort))
    field, paged = sort.removeprefix("-"), []
    query = ArchitectureQuery(sort=sort, limit=2)
    while page := desk.store.list_architectures(query):
        paged += page
        query = replace(query, after=(getattr(page[-1], field), page[-1].id))
    assert paged == whole
    values = [getattr(row, field) for row in whole]
    known = [value for value in values if value is not None]
    assert known == sorted(known, reverse=sort.startswith("-"))
    assert (len(whole), values[len(known) :]) == (7, [None] * (7 - len(known)))


@pytest.mark.parametrize(
    ("query", "names"),
    [
        (ArchitectureQuery(owner="ann"), ["c1", "c2"]),
        (ArchitectureQuery(owner="bob"), []),
        (ArchitectureQuery(study_key="study"), ["c1", "c2"]),
        (ArchitectureQuery(task="depth"), ["c2"]),
        (ArchitectureQuery(dataset="digits"), ["c1"]),
        (ArchitectureQuery(backbone="big"), ["c2"]),
        (ArchitectureQuery(madds_max=5), ["c1"]),
        (ArchitectureQuery(job_id="nothing"), []),
    ],
)
def test_lists_are_filtered(desk: Desk, query: ArchitectureQuery, names: list[str]) -> None:
    """Each filter lets through what it names and nothing else."""
    run(desk, "c1", madds=5)
    run(desk, "c2", madds=6, tasks=("depth",), dataset="scenes", backbone="big", metrics=None)
    assert [row.name for row in desk.store.list_architectures(replace(query, sort="madds"))] == names


def test_costs_are_kept_under_their_key(desk: Desk) -> None:
    """A cost document comes back as stored, as a copy, until it is replaced."""
    assert desk.store.find_cost("k") is None
    desk.store.save_cost("k", {"madds": [1, 2]})
    kept: Any = desk.store.find_cost("k")
    kept["madds"].append(3)
    assert desk.store.find_cost("k") == {"madds": [1, 2]}
    desk.store.save_cost("k", {"madds": []})
    assert desk.store.find_cost("k") == {"madds": []}
