"""What every store promises of jobs: submitting, looking up, listing, changing, stopping, resuming, deleting."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from db.errors import (
    DbError,
    IdempotencyMismatchError,
    IllegalMoveError,
    LeaseLostError,
    NotFoundError,
    QueueFullError,
    StaleVersionError,
)
from db.questions import Idempotency, JobChanges, JobQuery, QueueLimits
from db.records.access import SavedResponse
from db.records.jobs import Resources
from db.records.states import JobKind, JobState, Reason, StopMode, TrialState

if TYPE_CHECKING:
    from tests.contracts.conftest import Desk

KEY = Idempotency(owner="ann", key="key-of-sixteen-characters", method="POST", path="/searches", body_sha256="1" * 64)
ANSWER = SavedResponse(202, {"Location": "/searches/x"}, b'{"id": "x"}')


def test_a_submitted_job_comes_back_as_it_was_given(desk: Desk) -> None:
    """Every field of a new job is found in its record, and nothing has happened yet."""
    given = desk.job(
        "a", "b", name="n", labels={"team": "red"}, priority=7, deadline_seconds=60.0, max_attempts=2, retry_of="srch_1"
    )
    given = replace(given, kind=JobKind.EXPORT, resources=Resources(2.0, 0.5), architecture_id="arch_1")
    record, replayed = desk.store.submit(given, limits=QueueLimits())
    assert replayed is None
    assert record == desk.store.get_job(record.id)
    same = "kind owner name labels spec spec_hash study_key priority resources max_attempts retry_of architecture_id"
    assert {name: getattr(record, name) for name in same.split()} == {
        name: getattr(given, name) for name in same.split()
    }
    assert record.id.startswith("expt_")
    assert (record.state, record.trials_total, record.trials_done, record.version) == (JobState.QUEUED, 2, 0, 1)
    assert record.created_at == desk.clock()
    assert record.deadline_at == desk.clock() + timedelta(seconds=60)


def test_trials_come_back_in_the_order_given(desk: Desk) -> None:
    """The trials of a job keep their order, names, specs and seeds."""
    given = [replace(desk.trial(name), seed=seed, budget_madds=2**40) for seed, name in enumerate("cab")]
    job = desk.submit(*given)
    trials = desk.store.list_trials(job.id)
    assert [(each.name, each.seed, each.spec, each.budget_madds) for each in trials] == [
        (each.name, each.seed, each.spec, 2**40) for each in given
    ]
    assert all(each == desk.store.get_trial(each.id) for each in trials)
    assert {each.state for each in trials} == {TrialState.QUEUED}


def test_records_are_copies(desk: Desk) -> None:
    """Changing what a store handed out, or what it was given, changes nothing in the store."""
    spec: dict[str, Any] = {"dataset": "digits", "nested": [1]}
    job = desk.submit(spec=spec)
    spec["nested"].append(2)
    first: Any = desk.store.get_job(job.id)
    first.spec["nested"].append(3)
    first.labels["x"] = "y"
    assert desk.store.get_job(job.id).spec == {"dataset": "digits", "nested": [1]}
    assert desk.store.get_job(job.id).labels == {}


def test_a_job_needs_trials(desk: Desk) -> None:
    """A job without trials is refused."""
    with pytest.raises(DbError, match="at least one trial"):
        desk.store.submit(replace(desk.job(), trials=()), limits=QueueLimits())


def test_unknown_ids_are_not_found(desk: Desk) -> None:
    """Whatever is asked about an unknown job or trial says so; lists of them are empty."""
    for ask in (desk.store.get_job, desk.store.resume_job, desk.store.delete_job, desk.store.get_trial):
        with pytest.raises(NotFoundError):
            ask("nothing")
    with pytest.raises(NotFoundError):
        desk.store.update_job("nothing", JobChanges(), if_version=1)
    with pytest.raises(NotFoundError):
        desk.store.stop_job("nothing", StopMode.CANCEL, Reason.USER_CANCEL)
    assert desk.store.list_trials("nothing") == []
    assert desk.store.list_attempts("nothing") == []


def test_the_queue_has_limits_in_all_and_per_owner(desk: Desk) -> None:
    """The job above a limit is refused; ended jobs do not count."""
    limits = QueueLimits(total=3, per_owner=2)
    first = desk.submit()
    desk.submit()
    with pytest.raises(QueueFullError):
        desk.store.submit(desk.job(), limits=limits)
    desk.store.submit(desk.job(owner="bob"), limits=limits)
    with pytest.raises(QueueFullError):
        desk.store.submit(desk.job(owner="cleo"), limits=limits)
    desk.store.stop_job(first.id, StopMode.CANCEL, Reason.USER_CANCEL)
    desk.store.submit(desk.job(owner="cleo"), limits=limits)


def test_a_repeated_key_returns_the_first_answer(desk: Desk) -> None:
    """The second submission under a key makes nothing and brings job and answer of the first."""
    seen = []

    def respond(record: Any) -> SavedResponse:
        seen.append(record.id)
        return ANSWER

    first, nothing = desk.store.submit(desk.job(), limits=QueueLimits(), idempotency=KEY, respond=respond)
    again, answer = desk.store.submit(desk.job(), limits=QueueLimits(), idempotency=KEY, respond=respond)
    assert (nothing, answer, again.id, seen) == (None, ANSWER, first.id, [first.id])
    assert len(desk.store.list_jobs(JobQuery())) == 1
    assert desk.store.find_response(KEY) == ANSWER


def test_a_key_belongs_to_one_request_and_owner(desk: Desk) -> None:
    """Another body under the same key is refused; another owner's key is another key."""
    desk.store.submit(desk.job(), limits=QueueLimits(), idempotency=KEY, respond=lambda _: ANSWER)
    for change in ({"body_sha256": "2" * 64}, {"path": "/other"}, {"method": "PUT"}):
        other = replace(KEY, **change)
        with pytest.raises(IdempotencyMismatchError):
            desk.store.submit(desk.job(), limits=QueueLimits(), idempotency=other, respond=lambda _: ANSWER)
        with pytest.raises(IdempotencyMismatchError):
            desk.store.find_response(other)
    bobs = replace(KEY, owner="bob", body_sha256="3" * 64)
    assert desk.store.find_response(bobs) is None
    assert desk.store.submit(desk.job(), limits=QueueLimits(), idempotency=bobs, respond=lambda _: ANSWER)[1] is None


def test_nothing_is_made_when_the_answer_cannot_be(desk: Desk) -> None:
    """A job and the answer of its key are made together or not at all."""

    def respond(_: object) -> SavedResponse:
        raise DbError("no answer")

    with pytest.raises(DbError, match="no answer"):
        desk.store.submit(desk.job(), limits=QueueLimits(), idempotency=KEY, respond=respond)
    assert desk.store.list_jobs(JobQuery()) == []
    assert desk.store.find_response(KEY) is None


def test_a_key_survives_a_full_queue(desk: Desk) -> None:
    """A repeated key is answered even when nothing new would be accepted."""
    desk.store.submit(desk.job(), limits=QueueLimits(), idempotency=KEY, respond=lambda _: ANSWER)
    full = QueueLimits(total=0, per_owner=0)
    assert desk.store.submit(desk.job(), limits=full, idempotency=KEY, respond=lambda _: ANSWER)[1] == ANSWER


def test_a_change_needs_the_current_version(desk: Desk) -> None:
    """Only who has read the newest version may change a job; the version then grows."""
    job = desk.submit()
    changes = JobChanges(name="new", labels={"a": "b"}, priority=-5, notes="seen")
    changed = desk.store.update_job(job.id, changes, if_version=job.version)
    assert (changed.name, changed.labels, changed.priority, changed.notes) == ("new", {"a": "b"}, -5, "seen")
    assert changed.version > job.version
    with pytest.raises(StaleVersionError):
        desk.store.update_job(job.id, JobChanges(name="late"), if_version=job.version)
    assert desk.store.get_job(job.id) == changed


def test_what_is_not_named_is_not_changed(desk: Desk) -> None:
    """A change that leaves a field open, or sets it to what it is, leaves it and the version alone."""
    job = desk.submit(name="n", labels={"a": "b"}, priority=3)
    assert desk.store.update_job(job.id, JobChanges(), if_version=job.version) == job
    assert desk.store.update_job(job.id, JobChanges(priority=3), if_version=job.version) == job


def test_cancelling_a_waiting_job_ends_it(desk: Desk) -> None:
    """A job that nobody works at is cancelled at once, and no worker gets it."""
    job = desk.submit("a", "b")
    stopped = desk.store.stop_job(job.id, StopMode.CANCEL, Reason.USER_CANCEL)
    assert (stopped.state, stopped.reason, stopped.finished_at) == (
        JobState.CANCELLED,
        Reason.USER_CANCEL,
        desk.clock(),
    )
    assert {each.state for each in desk.store.list_trials(job.id)} == {TrialState.CANCELLED}
    assert desk.claim() is None


def test_cancelling_a_running_job_tells_its_attempts(desk: Desk) -> None:
    """Running trials learn it by their heartbeat; queued ones are cancelled now; the job ends when the last has."""
    job = desk.submit("a", "b")
    attempt = desk.take().attempt
    stopped = desk.store.stop_job(job.id, StopMode.CANCEL, Reason.USER_CANCEL)
    assert (stopped.state, stopped.reason) == (JobState.CANCELLING, Reason.USER_CANCEL)
    assert [each.state for each in desk.store.list_trials(job.id)] == [TrialState.RUNNING, TrialState.CANCELLED]
    assert desk.store.heartbeat(attempt.id, lease_seconds=9.0, progress=None).stop is StopMode.CANCEL
    ended = desk.store.fail(attempt.id, Reason.USER_CANCEL, "")
    assert (ended.state, ended.reason, ended.failures) == (TrialState.CANCELLED, Reason.USER_CANCEL, 0)
    assert desk.store.get_job(job.id).state is JobState.CANCELLED


@pytest.mark.parametrize("reason", [Reason.INTERNAL, Reason.WORKER_STOPPED])
def test_nothing_is_tried_again_in_a_job_that_stops(desk: Desk, reason: Reason) -> None:
    """A failure that would be tried again cancels the trial of a job that is to stop."""
    job = desk.submit()
    attempt = desk.take().attempt
    desk.store.stop_job(job.id, StopMode.CANCEL, Reason.USER_CANCEL)
    ended = desk.store.release(attempt.id, reason, "gone")
    assert (ended.state, ended.reason) == (TrialState.CANCELLED, Reason.USER_CANCEL)
    assert desk.store.get_job(job.id).state is JobState.CANCELLED


def test_a_trial_may_still_succeed_in_a_job_that_stops(desk: Desk) -> None:
    """What was finished before word of the stop came is kept, and a job all of whose trials succeeded succeeded."""
    job = desk.submit()
    attempt = desk.take().attempt
    desk.store.stop_job(job.id, StopMode.CANCEL, Reason.USER_CANCEL)
    assert desk.complete(attempt.id).state is TrialState.SUCCEEDED
    ended = desk.store.get_job(job.id)
    assert (ended.state, ended.reason, ended.progress) == (JobState.SUCCEEDED, None, 1.0)


def test_killing_a_job_fences_its_attempts_off(desk: Desk) -> None:
    """After a kill the job has ended and its attempts may not write any more."""
    job = desk.submit("a", "b")
    attempt = desk.take().attempt
    killed = desk.store.stop_job(job.id, StopMode.KILL, Reason.USER_KILL)
    assert (killed.state, killed.reason) == (JobState.CANCELLED, Reason.USER_KILL)
    with pytest.raises(LeaseLostError):
        desk.complete(attempt.id)
    with pytest.raises(LeaseLostError):
        desk.store.heartbeat(attempt.id, lease_seconds=9.0, progress=None)
    assert desk.store.list_attempts(attempt.trial_id)[0].state.value == "LOST"


def test_a_kill_outdoes_a_cancel(desk: Desk) -> None:
    """A job that is slow to cancel may be killed; a cancel after a kill changes nothing."""
    job = desk.submit()
    desk.take()
    desk.store.stop_job(job.id, StopMode.CANCEL, Reason.USER_CANCEL)
    killed = desk.store.stop_job(job.id, StopMode.KILL, Reason.USER_KILL)
    assert (killed.state, killed.reason) == (JobState.CANCELLED, Reason.USER_KILL)
    assert desk.store.stop_job(job.id, StopMode.CANCEL, Reason.USER_CANCEL) == killed


def test_a_repeated_stop_changes_nothing(desk: Desk) -> None:
    """A second cancel returns the job as it is and tells of nothing."""
    job = desk.submit("a", "b")
    desk.take()
    first = desk.store.stop_job(job.id, StopMode.CANCEL, Reason.USER_CANCEL)
    events = desk.store.list_events(job.id)
    assert desk.store.stop_job(job.id, StopMode.CANCEL, Reason.USER_CANCEL) == first
    assert desk.store.list_events(job.id) == events


def test_an_ended_job_cannot_be_stopped(desk: Desk) -> None:
    """Stopping a job that has succeeded or failed is refused."""
    job = desk.submit()
    desk.complete(desk.take().attempt.id)
    with pytest.raises(IllegalMoveError):
        desk.store.stop_job(job.id, StopMode.CANCEL, Reason.USER_CANCEL)


def test_a_resumed_job_goes_on_where_it_was(desk: Desk) -> None:
    """Resuming queues what is unfinished, forgives failures, keeps results, files and attempt numbers."""
    job = desk.submit("a", "b", deadline_seconds=100.0)
    claim = desk.claim()
    assert claim is not None
    first, second = (each.attempt.id for each in claim.trials)
    desk.complete(first)
    desk.store.put_file(second, "state", "trials/x", "0" * 64, 3)
    desk.store.fail(second, Reason.DIVERGED, "nan")
    assert desk.store.get_job(job.id).state is JobState.FAILED
    desk.clock.advance(50)
    resumed = desk.store.resume_job(job.id)
    assert (resumed.state, resumed.reason, resumed.finished_at) == (JobState.QUEUED, None, None)
    assert resumed.deadline_at == desk.clock() + timedelta(seconds=100)
    assert [(each.state, each.failures) for each in desk.store.list_trials(job.id)] == [
        (TrialState.SUCCEEDED, 0),
        (TrialState.QUEUED, 0),
    ]
    taken = desk.take()
    assert (taken.trial.name, taken.attempt.number, [file.name for file in taken.files]) == ("b", 2, ["state"])


def test_only_failed_and_cancelled_jobs_are_resumed(desk: Desk) -> None:
    """A job that waits, runs or has succeeded cannot be resumed; a cancelled one can."""
    job = desk.submit()
    with pytest.raises(IllegalMoveError):
        desk.store.resume_job(job.id)
    desk.store.stop_job(job.id, StopMode.CANCEL, Reason.USER_CANCEL)
    assert desk.store.resume_job(job.id).stop_requested is None
    desk.complete(desk.take().attempt.id)
    with pytest.raises(IllegalMoveError):
        desk.store.resume_job(job.id)


def test_a_deleted_job_is_hidden(desk: Desk) -> None:
    """An ended job can be deleted and is then found nowhere; an unfinished one cannot."""
    job = desk.submit()
    with pytest.raises(IllegalMoveError):
        desk.store.delete_job(job.id)
    desk.complete(desk.take().attempt.id, found=desk.found())
    version = desk.store.get_job(job.id).version
    with pytest.raises(StaleVersionError):
        desk.store.delete_job(job.id, if_version=version - 1)
    desk.store.delete_job(job.id, if_version=version)
    with pytest.raises(NotFoundError):
        desk.store.get_job(job.id)
    assert desk.store.list_jobs(JobQuery()) == []
    assert set(desk.store.count_jobs().values()) == {0}
    assert desk.store.list_front_rows(job_id=job.id, study_key=None) == []


def test_jobs_are_counted_by_state(desk: Desk) -> None:
    """Every state is in the counts, those without a job with 0."""
    desk.submit()
    desk.submit()
    desk.take()
    assert desk.store.count_jobs() == {state: int(state in (JobState.QUEUED, JobState.RUNNING)) for state in JobState}


SORTS = ["created_at", "-created_at", "name", "-name", "state", "-state", "priority", "-priority"]


@pytest.mark.parametrize("sort", SORTS)
def test_pages_of_a_list_make_up_the_list(desk: Desk, sort: str) -> None:
    """Going on from the last row of each page visits every job once, in order."""
    for number in range(7):
        desk.submit(name=f"n{number % 3}", priority=number % 2)
    desk.take()
    whole = desk.store.list_jobs(JobQuery(sort=sort))
    field, paged = sort.removeprefix("-"), []
    query = JobQuery(sort=sort, limit=2)
    while page := desk.store.list_jobs(query):
        paged += page
        query = replace(query, after=(getattr(page[-1], field), page[-1].id))
    assert paged == whole
    keys = [(getattr(job, field), job.id) for job in whole]
    assert keys == sorted(keys, reverse=sort.startswith("-"))
    assert len(set(keys)) == 7


@pytest.mark.parametrize("sort", ["best_delta_m", "-best_delta_m"])
def test_jobs_are_listed_by_what_they_found(desk: Desk, sort: str) -> None:
    """Page by page in the order of the best delta_m; jobs that found nothing come last, both ways."""
    for gain in (None, 2.0, -1.0, None, 5.0):
        desk.submit("c1")
        desk.complete(desk.take().attempt.id, found=desk.found("c1", delta_m=gain))
    query, gains = JobQuery(sort=sort, limit=2), []
    while page := desk.store.list_jobs(query):
        gains += [job.best_delta_m for job in page]
        query = replace(query, after=(page[-1].best_delta_m, page[-1].id))
    assert gains == [*sorted([-1.0, 2.0, 5.0], reverse=sort.startswith("-")), None, None]


def test_the_jobs_of_a_network_are_listed(desk: Desk) -> None:
    """An export names the network it is of; a search names none."""
    mine, _ = desk.submit(architecture_id="arch_1"), desk.submit(architecture_id="arch_2")
    assert [job.id for job in desk.store.list_jobs(JobQuery(architecture_id="arch_1"))] == [mine.id]


def test_a_page_may_go_on_from_a_time_in_words(desk: Desk) -> None:
    """A cursor that went through JSON names its time in ISO 8601."""
    jobs = [desk.submit() for _ in range(3)]
    query = JobQuery(sort="created_at", after=(jobs[0].created_at.isoformat(), jobs[0].id))
    assert [job.id for job in desk.store.list_jobs(query)] == [job.id for job in jobs[1:]]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        (JobQuery(owner="bob"), ["other"]),
        (JobQuery(kinds=(JobKind.EXPORT,)), ["export"]),
        (JobQuery(kinds=()), ["first", "other", "export"]),
        (JobQuery(states=(JobState.RUNNING,)), ["first"]),
        (JobQuery(states=(JobState.RUNNING, JobState.QUEUED)), ["first", "other"]),
        (JobQuery(label=("team", "red")), ["first"]),
        (JobQuery(label=("team", "blue")), []),
        (JobQuery(task="depth"), ["other"]),
        (JobQuery(dataset="scenes"), ["other"]),
        (JobQuery(backbone="tiny4"), ["first"]),
        (JobQuery(study_key="study"), ["first", "other"]),
        (JobQuery(study_key="stud"), []),
        (JobQuery(name_contains="THE"), ["other"]),
        (JobQuery(name_contains="%"), []),
    ],
)
def test_lists_are_filtered(desk: Desk, query: JobQuery, names: list[str]) -> None:
    """Each filter lets through what it names and nothing else."""
    desk.submit(name="first", labels={"team": "red", "x": "y"})
    desk.submit(name="other", owner="bob", spec={"dataset": "scenes", "tasks": ["depth"], "backbone": "big"})
    desk.submit(name="export", kind=JobKind.EXPORT)
    desk.take()
    listed = desk.store.list_jobs(replace(query, sort="created_at"))
    assert [job.name for job in listed] == names


def test_lists_are_filtered_by_time(desk: Desk) -> None:
    """Both bounds of the time of creation leave the bound itself out."""
    jobs = [desk.submit() for _ in range(3)]
    middle = jobs[1].created_at
    assert [job.id for job in desk.store.list_jobs(JobQuery(created_after=middle))] == [jobs[2].id]
    assert [job.id for job in desk.store.list_jobs(JobQuery(created_before=middle))] == [jobs[0].id]


def test_labels_are_found_after_a_change(desk: Desk) -> None:
    """A changed label is found by its new value and not by its old one."""
    job = desk.submit(labels={"team": "red"})
    desk.store.update_job(job.id, JobChanges(labels={"team": "blue"}), if_version=job.version)
    assert desk.store.list_jobs(JobQuery(label=("team", "red"))) == []
    assert [each.id for each in desk.store.list_jobs(JobQuery(label=("team", "blue")))] == [job.id]
