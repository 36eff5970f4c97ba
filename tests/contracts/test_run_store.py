"""What every store promises of files, figures, lines and events."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from db.records.jobs import MetricPoint
from db.records.states import Reason

if TYPE_CHECKING:
    from tests.contracts.conftest import Desk


def test_a_file_is_replaced_under_its_name(desk: Desk) -> None:
    """The newest note of a file counts; the others are listed by name."""
    desk.submit()
    taken = desk.take()
    put, attempt = desk.store.put_file, taken.attempt.id
    put(attempt, "b", "trials/b1", "1" * 64, 1)
    put(attempt, "a", "trials/a", "2" * 64, 2**40)
    newest = put(attempt, "b", "trials/b2", "3" * 64, 3)
    files = desk.store.list_files(taken.trial.id)
    assert [(file.name, file.path, file.num_bytes, file.attempt) for file in files] == [
        ("a", "trials/a", 2**40, 1),
        ("b", "trials/b2", 3, 1),
    ]
    assert files[1] == newest
    assert desk.store.list_paths() == {"trials/a", "trials/b2"}


def test_a_file_can_be_forgotten(desk: Desk) -> None:
    """A forgotten file is gone; forgetting it again is no error."""
    desk.submit()
    taken = desk.take()
    desk.store.put_file(taken.attempt.id, "a", "trials/a", "1" * 64, 1)
    desk.store.delete_file(taken.attempt.id, "a")
    desk.store.delete_file(taken.attempt.id, "a")
    assert desk.store.list_files(taken.trial.id) == []
    assert desk.store.list_files("nothing") == []


def test_figures_come_back_by_trial_and_name(desk: Desk) -> None:
    """Figures are listed by step; filters name one series or its end."""
    job = desk.submit("a", "b")
    first, second = desk.take(), desk.take()
    points = [MetricPoint("loss", 2, 0.5), MetricPoint("loss", 1, 1.5), MetricPoint("lr", 1, 1e-300)]
    assert desk.store.add_metrics(first.attempt.id, points) == 3
    assert desk.store.add_metrics(second.attempt.id, [MetricPoint("loss", 2**33, -1.0)]) == 1
    a, b = first.trial.id, second.trial.id
    losses = {(a, "loss"): [(1, 1.5), (2, 0.5)], (b, "loss"): [(2**33, -1.0)]}
    assert desk.store.list_metrics(job.id) == losses | {(a, "lr"): [(1, 1e-300)]}
    assert desk.store.list_metrics(job.id, name="loss") == losses
    assert desk.store.list_metrics(job.id, trial_id=b) == {(b, "loss"): [(2**33, -1.0)]}
    assert desk.store.list_metrics(job.id, name="loss", trial_id=a, after_step=1) == {(a, "loss"): [(2, 0.5)]}
    assert desk.store.list_metrics("nothing") == {}


def test_the_last_figure_of_a_step_counts(desk: Desk) -> None:
    """Steps that a later attempt, or the same one, tells again are replaced."""
    job = desk.submit()
    first = desk.take()
    desk.store.add_metrics(first.attempt.id, [MetricPoint("loss", 1, 1.0), MetricPoint("loss", 2, 2.0)])
    desk.store.release(first.attempt.id, Reason.WORKER_STOPPED, "")
    desk.store.add_metrics(desk.take().attempt.id, [MetricPoint("loss", 2, 7.0), MetricPoint("loss", 2, 8.0)])
    assert desk.store.list_metrics(job.id) == {(first.trial.id, "loss"): [(1, 1.0), (2, 8.0)]}


def test_figures_that_are_not_finite_are_dropped(desk: Desk) -> None:
    """Infinite and undefined figures are left out and not counted; an event tells the others."""
    job = desk.submit()
    taken = desk.take()
    points = [MetricPoint("x", step, value) for step, value in enumerate((math.nan, math.inf, -math.inf, 1.0))]
    assert desk.store.add_metrics(taken.attempt.id, points) == 1
    assert desk.store.add_metrics(taken.attempt.id, points[:3]) == 0
    told = [{"trial_id": taken.trial.id, "points": [{"name": "x", "step": 3, "value": 1.0}]}]
    assert desk.told(job.id, "metric") == told


def test_lines_are_numbered_within_the_job(desk: Desk) -> None:
    """Lines of all attempts of a job count on; long ones are cut, and events tell them."""
    job = desk.submit("a", "b")
    first, second = desk.take(), desk.take()
    desk.store.add_logs(first.attempt.id, ["one", "x" * 5000])
    desk.store.add_logs(second.attempt.id, ["three"])
    desk.store.add_logs(second.attempt.id, [])
    lines = desk.store.list_logs(job.id)
    assert [(line.seq, line.trial_id, len(line.text)) for line in lines] == [
        (1, first.trial.id, 3),
        (2, first.trial.id, 2000),
        (3, second.trial.id, 5),
    ]
    assert desk.store.list_logs(job.id, after=1, limit=1) == lines[1:2]
    assert desk.told(job.id, "log")[1] == {"trial_id": second.trial.id, "lines": [{"seq": 3, "text": "three"}]}
    assert desk.store.list_logs("nothing") == []


def test_any_text_can_be_logged(desk: Desk) -> None:
    """Lines with NUL or half a surrogate pair are kept as readable text, in rows and in events."""
    job = desk.submit()
    desk.store.add_logs(desk.take().attempt.id, ["a\x00b", "\ud83d broken", "\U0001f600 whole", "日本"])
    texts = [line.text for line in desk.store.list_logs(job.id)]
    assert texts == ["a\ufffdb", "\ufffd broken", "\U0001f600 whole", "日本"]
    assert [line["text"] for line in desk.told(job.id, "log")[0]["lines"]] == texts


def test_the_newest_20000_lines_are_kept(desk: Desk) -> None:
    """Older lines give way; the numbers count on."""
    job = desk.submit()
    attempt = desk.take().attempt.id
    for start in range(0, 20_400, 5_100):
        desk.store.add_logs(attempt, [str(start + place) for place in range(5_100)])
    lines = desk.store.list_logs(job.id, limit=30_000)
    assert (len(lines), lines[0].seq, lines[-1].seq, lines[-1].text) == (20_000, 401, 20_400, "20399")


def test_events_are_followed_by_job_and_over_all(desk: Desk) -> None:
    """Who follows a job, or everything, gets what is new since the last call and nothing twice."""
    store = desk.store
    assert (store.get_newest_event_id(), store.list_new_events(0)) == (0, [])
    first = desk.submit()
    newest = store.get_newest_event_id()
    second = desk.submit()
    new = store.list_new_events(newest)
    assert [(event.job_id, event.seq, event.kind) for _, event in new] == [(second.id, 1, "state")]
    assert store.list_new_events(new[-1][0]) == []
    assert new[-1][0] == store.get_newest_event_id()
    everything = store.list_new_events(0)
    assert [event.job_id for _, event in everything] == [first.id, second.id]
    assert store.list_new_events(0, limit=1) == everything[:1]


def test_a_jobs_events_have_a_first_and_a_last(desk: Desk) -> None:
    """The ends of what is kept of a job are told; a job nobody knows has none."""
    job = desk.submit()
    desk.complete(desk.take().attempt.id)
    events = desk.store.list_events(job.id)
    assert desk.store.get_last_event(job.id) == (1, len(events))
    assert desk.store.get_last_event("nothing") == (1, 0)
    assert desk.store.list_events(job.id, after=1, limit=2) == events[1:3]
    states = [event for event in events if event.kind == "state"]
    assert desk.store.list_events(job.id, kind="state") == states
    assert desk.store.list_events(job.id, after=states[0].seq, limit=1, kind="state") == states[1:2]
    assert events[0].created_at == job.created_at


@pytest.mark.parametrize("name", ["a'b", 'quote"', "100%_\\", "; DROP TABLE job --"])
def test_names_are_only_names(desk: Desk, name: str) -> None:
    """No name has a meaning for the database."""
    job = desk.submit(name=name, owner=name, labels={name: name})
    desk.store.put_file(desk.take().attempt.id, name, name, "0" * 64, 1)
    kept = desk.store.get_job(job.id)
    assert (kept.name, kept.owner, kept.labels) == (name, name, {name: name})
    assert desk.store.list_paths() == {name}


def test_the_history_of_jobs_that_ended_long_ago_is_forgotten(desk: Desk) -> None:
    """Lines and events go but the last event, which keeps its number; figures stay, and so do jobs that go on."""
    old, open_job = desk.submit(), desk.submit("a", "b")
    for _ in range(2):
        taken = desk.take()
        desk.store.add_logs(taken.attempt.id, ["a line"])
        desk.store.add_metrics(taken.attempt.id, [MetricPoint("loss", 1, 1.0)])
        desk.complete(taken.attempt.id)
    last = desk.store.get_last_event(old.id)[1]
    assert desk.store.purge_history(60.0) == 0
    desk.clock.advance(60.0)
    assert desk.store.purge_history(60.0) == last  # all events but one, and the line
    assert desk.store.get_last_event(old.id) == (last, last)
    assert desk.told(old.id, "state")[-1]["state"] == "SUCCEEDED"
    assert (desk.store.list_logs(old.id), len(desk.store.list_logs(open_job.id))) == ([], 1)
    assert len(desk.store.list_metrics(old.id)) == 1
    assert desk.store.get_last_event(open_job.id)[0] == 1
    assert desk.store.purge_history(60.0) == 0
