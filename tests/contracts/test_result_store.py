"""What every store promises of architectures, baselines and scores."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from db.errors import NotFoundError
from db.questions import ArchitectureQuery
from db.records.results import FrontRow

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
    job = run(desk, "c1", madds=2**40, latency_ms=1.5)
    record, (trial,) = only(desk, job), desk.store.list_trials(job.id)
    given = desk.found("c1", madds=2**40, latency_ms=1.5)
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


def test_studies_are_summed_up(desk: Desk) -> None:
    """A study counts its searches and networks, with the best and the span of costs; what is deleted is left out."""
    job = run(desk, "c1", madds=9, delta_m=1.5)
    run(desk, "c2", madds=4, delta_m=2.5)
    gone = run(desk, "c3", madds=1, delta_m=9.0)
    desk.store.delete_job(gone.id)
    newest = desk.submit(study_key="other", spec={"tasks": ["left"]})
    other, study = desk.store.list_studies()
    assert (other.study_key, other.tasks, other.num_searches, other.num_networks) == ("other", ("left",), 1, 0)
    assert (other.best_delta_m, other.least_madds, other.most_madds, other.dataset) == (None, None, None, "")
    assert (study.num_searches, study.num_networks, study.best_delta_m) == (2, 2, 2.5)
    assert (study.least_madds, study.most_madds, study.dataset, study.backbone) == (4, 9, "digits", "tiny4")
    assert (study.tasks, other.newest_at, study.newest_at > job.created_at) == (
        ("left", "right"),
        newest.created_at,
        True,
    )


def test_pages_of_studies_make_up_the_list(desk: Desk) -> None:
    """Going on from the last study of a page gives the next ones, each once."""
    keys = [f"study-{index}" for index in range(5)]
    for key in keys:
        desk.submit(study_key=key)
    found = desk.store.list_studies(limit=2)
    while page := desk.store.list_studies(after=(found[-1].newest_at, found[-1].study_key), limit=2):
        found += page
    assert [study.study_key for study in found] == keys[::-1]


def test_studies_are_listed_by_their_best_network(desk: Desk) -> None:
    """Page by page, the best first; studies without a score come last, and what is deleted does not count."""
    gone = None
    for key, gain in (("a", 1.0), ("b", None), ("c", 3.0), ("d", 3.0), ("e", None), ("b", 9.0)):
        gone = desk.submit("c1", study_key=key)
        desk.complete(desk.take().attempt.id, found=desk.found("c1", delta_m=gain))
    assert gone is not None
    desk.store.delete_job(gone.id)
    found = desk.store.list_studies(sort="-best_delta_m", limit=2)
    last = found[-1]
    while page := desk.store.list_studies(sort="-best_delta_m", after=(last.best_delta_m, last.study_key), limit=2):
        found, last = found + page, page[-1]
    assert [(study.study_key, study.best_delta_m) for study in found] == [
        ("d", 3.0),
        ("c", 3.0),
        ("a", 1.0),
        ("e", None),
        ("b", None),
    ]


def test_rows_may_come_without_metrics(desk: Desk) -> None:
    """Left out, the metrics are None in every row, and all else stands."""
    run(desk, "c1", metrics=metrics(left=1.0))
    (whole,) = desk.store.list_front_rows(job_id=None, study_key="study")
    assert whole.metrics == metrics(left=1.0)
    rows = desk.store.list_front_rows(job_id=None, study_key="study", with_metrics=False)
    assert rows == [whole._replace(metrics=None)]


def test_the_stamp_of_a_front_tells_that_it_has_changed(desk: Desk) -> None:
    """A network, a score, a baseline and a deletion each make another stamp; what touches no front makes none."""
    stamp = partial(desk.store.get_front_stamp, job_id=None, study_key="study")
    stamps = [stamp()]
    job = run(desk, "c1", metrics=metrics(left=1.0, right=2.0))
    stamps.append(stamp())
    mine = desk.store.get_front_stamp(job_id=job.id, study_key="study")
    run(desk, "single-left", {"metrics": metrics(left=0.5)})
    stamps.append(stamp())
    run(desk, "single-right", {"metrics": metrics(right=0.5)})
    stamps.append(stamp())
    assert (stamps[-1].num_found, stamps[-1].num_scored, stamps[-1].num_baselines) == (1, 1, 2)
    assert desk.store.get_front_stamp(job_id=job.id, study_key="study") == stamps[-1] != mine
    desk.submit()
    assert stamp() == stamps[-1]
    desk.store.delete_job(job.id)
    assert len({*stamps, stamp()}) == len(stamps) + 1


@pytest.mark.parametrize("sort", ["delta_m", "-delta_m"])
def test_unknown_gains_come_last_page_by_page(desk: Desk, sort: str) -> None:
    """In both directions, whatever the size of a page, each network comes once and those without a gain at the end."""
    for number, gain in enumerate((None, 2.0, None, 1.0, 2.0, None)):
        run(desk, f"c{number}", metrics=None, delta_m=gain)
    gains = sorted([1.0, 2.0, 2.0], reverse=sort.startswith("-"))
    for size in (1, 2, 3, 4, 10):
        query = ArchitectureQuery(sort=sort, limit=size)
        found = desk.store.list_architectures(query)
        while page := desk.store.list_architectures(replace(query, after=(found[-1].delta_m, found[-1].id))):
            found += page
        assert [row.delta_m for row in found] == [*gains, None, None, None]
        assert len({row.id for row in found}) == 6
