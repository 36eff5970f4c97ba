"""What every store promises of claims: who gets what, fencing, failures and pauses, twins, the sweep."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db.errors import LeaseLostError, NotFoundError
from db.records.jobs import MetricPoint, Progress, Resources
from db.records.states import AttemptState, JobState, Reason, StopMode, TrialState
from db.rules import UNBEGUN_ATTEMPTS

if TYPE_CHECKING:
    from tests.contracts.conftest import Desk

LEASE_SECONDS = 90.0


def test_a_claim_takes_trials_of_one_job(desk: Desk) -> None:
    """A worker gets the waiting trials of one job in order, at most as many as it wants."""
    desk.submit("a", "b", "c")
    desk.submit("other")
    assert desk.names(desk.claim(max_trials=2)) == ["a", "b"]
    assert desk.names(desk.claim(max_trials=9)) == ["c"]
    assert desk.names(desk.claim()) == ["other"]
    assert desk.claim() is None


def test_a_claim_begins_an_attempt(desk: Desk) -> None:
    """The attempt is numbered, leased and the worker's; trial and job run."""
    job = desk.submit()
    claim = desk.claim("worker-7")
    assert claim is not None
    (taken,) = claim.trials
    assert (taken.attempt.number, taken.attempt.worker_id, taken.attempt.state) == (1, "worker-7", AttemptState.RUNNING)
    assert taken.attempt.lease_until == desk.clock() + timedelta(seconds=LEASE_SECONDS)
    assert (taken.trial.state, taken.trial.attempts, taken.files) == (TrialState.RUNNING, 1, ())
    assert claim.job == desk.store.get_job(job.id)
    assert (claim.job.state, claim.job.started_at) == (JobState.RUNNING, desk.clock())
    assert desk.store.get_trial(taken.trial.id) == taken.trial
    assert desk.store.list_attempts(taken.trial.id) == [taken.attempt]
    assert desk.store.check_lease(taken.attempt.id) == taken.attempt


def test_priority_goes_before_age(desk: Desk) -> None:
    """A job of higher priority is served first, however young and whoever's."""
    for name, priority in (("low", -1), ("old", 0), ("young", 0), ("high", 1)):
        desk.submit(name, priority=priority)
    assert [desk.take().trial.name for _ in range(4)] == ["high", "old", "young", "low"]


def test_owners_share_fairly(desk: Desk) -> None:
    """The owner with the fewest running trials is served next, whatever the others submitted before."""
    for number in range(4):
        desk.submit(f"ann{number}", owner="ann")
    desk.submit("bob0", owner="bob")
    desk.submit("cleo0", "cleo1", owner="cleo")
    served = [desk.take().trial.name for _ in range(6)]
    assert served == ["ann0", "bob0", "cleo0", "ann1", "cleo1", "ann2"]


def test_a_worker_gets_only_what_fits(desk: Desk) -> None:
    """A trial that asks for more than the worker offers waits for another worker; fractions count."""
    desk.submit("big", resources=Resources(cpus=2.0, gpus=0.5))
    desk.submit("small", resources=Resources(cpus=0.5, gpus=0.0))
    assert desk.names(desk.claim(cpus=4.0, gpus=0.25)) == ["small"]
    assert desk.claim(cpus=1.5, gpus=1.0) is None
    assert desk.names(desk.claim(cpus=2.0, gpus=0.5)) == ["big"]


def test_a_worker_is_noted_when_it_asks(desk: Desk) -> None:
    """Workers are listed with what they offer, the latest first, for a day."""
    desk.claim("w1", cpus=2.0, gpus=0.0)
    desk.clock.advance(60)
    desk.claim("w2")
    desk.claim("w1", cpus=8.0, gpus=2.0)
    first, second = desk.store.list_workers()
    assert (first.id, first.cpus, first.gpus, first.last_seen_at) == ("w1", 8.0, 2.0, desk.clock())
    assert first.first_seen_at < second.first_seen_at
    desk.clock.advance(86_401)
    assert desk.store.list_workers() == []


def test_a_heartbeat_keeps_its_worker_listed(desk: Desk) -> None:
    """A worker that runs a long trial and asks for nothing still counts as seen."""
    desk.submit()
    attempt = desk.take().attempt
    desk.clock.advance(80)
    desk.store.heartbeat(attempt.id, lease_seconds=90.0, progress=None)
    assert desk.store.list_workers()[0].last_seen_at == desk.clock()


def test_a_worker_that_asks_often_is_noted_now_and_then(desk: Desk) -> None:
    """Claims do not wait for one another to note the same worker; what it says of itself anew is noted at once."""
    desk.claim("w1")
    noted = desk.clock()
    for seconds in (1, 10, 8):
        desk.clock.advance(seconds)
        desk.claim("w1")
    assert desk.store.list_workers()[0].last_seen_at == noted
    desk.clock.advance(1)
    desk.claim("w1")
    assert desk.store.list_workers()[0].last_seen_at == desk.clock()
    desk.claim("w1", cpus=9.0)
    assert (desk.store.list_workers()[0].cpus, desk.store.list_workers()[0].last_seen_at) == (9.0, desk.clock())


def test_a_heartbeat_renews_the_lease(desk: Desk) -> None:
    """As long as heartbeats come in time the attempt holds its trial."""
    desk.submit()
    attempt = desk.take().attempt
    for _ in range(3):
        desk.clock.advance(89)
        reply = desk.store.heartbeat(attempt.id, lease_seconds=90.0, progress=None)
        assert (reply.lease_until, reply.stop) == (desk.clock() + timedelta(seconds=90), None)
        assert desk.store.sweep() == 0
    assert desk.store.check_lease(attempt.id).heartbeat_at == desk.clock()


def test_progress_is_kept_and_told(desk: Desk) -> None:
    """The last progress stands in attempt, trial and job; an event tells of it."""
    job = desk.submit("a", "b")
    taken = desk.take()
    desk.store.heartbeat(taken.attempt.id, lease_seconds=90.0, progress=Progress("search", 5, 10))
    trial, attempt = desk.store.get_trial(taken.trial.id), desk.store.check_lease(taken.attempt.id)
    assert (trial.stage, trial.step, trial.total_steps) == ("search", 5, 10)
    assert (attempt.stage, attempt.step, attempt.total_steps) == ("search", 5, 10)
    now = desk.store.get_job(job.id)
    assert now.progress == pytest.approx(0.25)
    told = {"trial_id": trial.id, "stage": "search", "step": 5, "total_steps": 10, "progress": now.progress}
    assert desk.told(job.id, "progress") == [told]


def test_an_attempt_begins_with_its_first_progress(desk: Desk) -> None:
    """Heartbeats of a trial that waits for its turn do not begin it; the first progress does, for good."""
    desk.submit()
    attempt = desk.take().attempt
    assert attempt.begun_at is None
    for progress in (None, Progress("search", 0, 10), Progress("search", 5, 10)):
        desk.clock.advance(20)
        desk.store.heartbeat(attempt.id, lease_seconds=90.0, progress=progress)
        begun_at = desk.store.check_lease(attempt.id).begun_at
        assert begun_at == (None if progress is None else attempt.started_at + timedelta(seconds=40))


def test_progress_is_told_at_most_once_a_second(desk: Desk) -> None:
    """Of many heartbeats a second one event tells; the trial has the newest step all the same."""
    job = desk.submit()
    taken = desk.take()
    for step in range(1, 21):
        desk.store.heartbeat(taken.attempt.id, lease_seconds=90.0, progress=Progress("search", step, 20))
        desk.clock.advance(0.25)
    assert [data["step"] for data in desk.told(job.id, "progress")] == [1, 5, 9, 13, 17]
    assert desk.store.get_trial(taken.trial.id).step == 20


def test_unknown_attempts_are_not_found(desk: Desk) -> None:
    """Every call of a worker names an attempt that exists."""
    store = desk.store
    for call in (
        lambda: store.heartbeat("nothing", lease_seconds=1.0, progress=None),
        lambda: desk.complete("nothing"),
        lambda: store.fail("nothing", Reason.INTERNAL, ""),
        lambda: store.release("nothing", Reason.WORKER_STOPPED, ""),
        lambda: store.check_lease("nothing"),
        lambda: store.put_file("nothing", "n", "p", "0" * 64, 1),
        lambda: store.delete_file("nothing", "n"),
        lambda: store.add_metrics("nothing", []),
        lambda: store.add_logs("nothing", []),
    ):
        with pytest.raises(NotFoundError):
            call()


def _assert_fenced_off(desk: Desk, attempt_id: str) -> None:
    """Check that an attempt may not write anything."""
    store = desk.store
    for call in (
        lambda: store.heartbeat(attempt_id, lease_seconds=1.0, progress=None),
        lambda: desk.complete(attempt_id, found=desk.found()),
        lambda: store.fail(attempt_id, Reason.INTERNAL, ""),
        lambda: store.release(attempt_id, Reason.WORKER_STOPPED, ""),
        lambda: store.check_lease(attempt_id),
        lambda: store.put_file(attempt_id, "n", "p", "0" * 64, 1),
        lambda: store.delete_file(attempt_id, "n"),
        lambda: store.add_metrics(attempt_id, [MetricPoint("loss", 1, 1.0)]),
        lambda: store.add_logs(attempt_id, ["line"]),
    ):
        with pytest.raises(LeaseLostError):
            call()


def test_a_lease_that_ran_out_holds_nothing(desk: Desk) -> None:
    """From the very moment a lease ends its attempt is fenced off, swept or not, and forever."""
    desk.submit()
    attempt = desk.take().attempt
    desk.clock.advance(LEASE_SECONDS)
    _assert_fenced_off(desk, attempt.id)
    assert desk.store.sweep() == 1
    _assert_fenced_off(desk, attempt.id)
    desk.clock.advance(20)
    assert desk.take().attempt.number == 2
    _assert_fenced_off(desk, attempt.id)


def test_an_ended_attempt_holds_nothing(desk: Desk) -> None:
    """After it was released or has failed an attempt may not write."""
    desk.submit()
    first = desk.take().attempt
    desk.store.release(first.id, Reason.WORKER_STOPPED, "")
    _assert_fenced_off(desk, first.id)
    second = desk.take().attempt
    desk.store.fail(second.id, Reason.DIVERGED, "")
    _assert_fenced_off(desk, second.id)


def test_the_sweep_queues_a_lost_trial_again(desk: Desk) -> None:
    """A trial whose lease ran out waits a little, keeps its files and progress, and gets a newer attempt."""
    job = desk.submit()
    first = desk.take()
    desk.store.heartbeat(first.attempt.id, lease_seconds=90.0, progress=Progress("search", 3, 9))
    desk.store.put_file(first.attempt.id, "state", "trials/1", "0" * 64, 3)
    desk.clock.advance(91)
    assert (desk.store.sweep(), desk.store.sweep()) == (1, 0)
    lost = desk.store.list_attempts(first.trial.id)[0]
    assert (lost.state, lost.reason, lost.ended_at) == (AttemptState.LOST, Reason.LEASE_LOST, desk.clock())
    trial = desk.store.get_trial(first.trial.id)
    assert (trial.state, trial.failures, trial.reason, trial.step) == (TrialState.QUEUED, 1, None, 3)
    assert trial.not_before is not None
    assert desk.claim() is None
    desk.clock.advance(12)
    again = desk.take("w2")
    assert (again.attempt.number, [file.path for file in again.files]) == (2, ["trials/1"])
    assert desk.store.get_job(job.id).state is JobState.RUNNING


def test_what_only_waited_on_a_lost_worker_has_not_failed(desk: Desk) -> None:
    """Of the trials that a dead machine held, those that it had not begun go on at once with no failure counted."""
    desk.submit("begun", "waiting")
    claim = desk.claim()
    assert claim is not None
    desk.store.heartbeat(claim.trials[0].attempt.id, lease_seconds=90.0, progress=Progress("search", 1, 9))
    desk.clock.advance(91)
    desk.store.sweep()
    trials = [desk.store.get_trial(each.trial.id) for each in claim.trials]
    assert [(trial.state, trial.failures) for trial in trials] == [(TrialState.QUEUED, 1), (TrialState.QUEUED, 0)]
    assert desk.names(desk.claim("w2")) == ["waiting"]


def test_attempts_that_never_begin_come_to_an_end(desk: Desk) -> None:
    """A trial that is lost again and again before it begins fails at last: it may be what its workers die of."""
    desk.submit(max_attempts=2)
    trial_id, states = desk.take().trial.id, []
    for _ in range(UNBEGUN_ATTEMPTS + 1):
        desk.clock.advance(500)
        desk.store.sweep()
        desk.clock.advance(500)
        states.append(desk.store.get_trial(trial_id).state)
        desk.claim()
    desk.clock.advance(500)
    desk.store.sweep()
    assert set(states) == {TrialState.QUEUED}
    assert desk.store.get_trial(trial_id).reason is Reason.MAX_ATTEMPTS


def test_pauses_grow_and_end_in_failure(desk: Desk) -> None:
    """Failures that may pass are tried again after 10, 20, 40 seconds, give or take a fifth, as often as allowed."""
    job = desk.submit(max_attempts=4)
    for number in (1, 2, 3):
        attempt = desk.take().attempt
        failed = desk.store.fail(attempt.id, Reason.INTERNAL, "boom")
        assert (failed.state, failed.failures, failed.reason) == (TrialState.QUEUED, number, None)
        assert failed.not_before is not None
        pause = (failed.not_before - desk.clock()).total_seconds()
        assert 0.8 * 10 * 2 ** (number - 1) <= pause <= 1.2 * 10 * 2 ** (number - 1)
        desk.clock.advance(pause - 0.01)
        assert desk.claim() is None
        desk.clock.advance(0.01)
    last = desk.store.fail(desk.take().attempt.id, Reason.INTERNAL, "boom")
    assert (last.state, last.reason, last.failures) == (TrialState.FAILED, Reason.MAX_ATTEMPTS, 4)
    ended = desk.store.get_job(job.id)
    assert (ended.state, ended.reason) == (JobState.FAILED, Reason.MAX_ATTEMPTS)
    assert "internal: boom" in ended.message


@pytest.mark.parametrize("reason", [Reason.OUT_OF_MEMORY, Reason.DIVERGED, Reason.BAD_DATASET, Reason.BAD_SPEC])
def test_what_trying_again_cannot_help_fails_at_once(desk: Desk, reason: Reason) -> None:
    """A deterministic failure fails the trial on its first attempt, with its own reason and message."""
    job = desk.submit()
    failed = desk.store.fail(desk.take().attempt.id, reason, "what happened")
    assert (failed.state, failed.reason, failed.message) == (TrialState.FAILED, reason, "what happened")
    ended = desk.store.get_job(job.id)
    assert (ended.state, ended.reason, ended.message) == (JobState.FAILED, reason, "what happened")


def test_a_failed_trial_does_not_stop_its_siblings(desk: Desk) -> None:
    """The others of a job go on; when all have ended the job has failed for the reason of the first failed trial."""
    job = desk.submit("a", "b", "c")
    first, second, third = (desk.take().attempt.id for _ in range(3))
    desk.store.fail(third, Reason.BAD_SPEC, "third")
    desk.store.fail(second, Reason.DIVERGED, "second")
    assert desk.store.get_job(job.id).state is JobState.RUNNING
    desk.complete(first)
    ended = desk.store.get_job(job.id)
    assert (ended.state, ended.reason, ended.message) == (JobState.FAILED, Reason.DIVERGED, "second")
    assert (ended.trials_done, ended.trials_total) == (1, 3)


def test_a_released_trial_is_free_at_once(desk: Desk) -> None:
    """A worker that stops gives its trial back without a pause, as often as it likes."""
    desk.submit(max_attempts=1)
    for number in range(1, 6):
        taken = desk.take()
        assert taken.attempt.number == number
        given = desk.store.release(taken.attempt.id, Reason.WORKER_STOPPED, "stopping")
        assert (given.state, given.failures, given.not_before) == (TrialState.QUEUED, 0, None)
    assert desk.store.list_attempts(given.id)[0].state is AttemptState.RELEASED


def test_a_crashed_worker_counts(desk: Desk) -> None:
    """A release after a crash pauses as a failure does, and comes only as often as the job allows attempts."""
    desk.submit(max_attempts=2)
    first = desk.store.release(desk.take().attempt.id, Reason.WORKER_CRASHED, "killed")
    assert (first.state, first.failures) == (TrialState.QUEUED, 1)
    assert first.not_before is not None
    assert 8 <= (first.not_before - desk.clock()).total_seconds() <= 12
    assert desk.claim() is None
    desk.clock.advance(12)
    second = desk.store.release(desk.take().attempt.id, Reason.WORKER_CRASHED, "killed")
    assert (second.state, second.reason) == (TrialState.FAILED, Reason.MAX_ATTEMPTS)


def test_success_ends_attempt_trial_and_job(desk: Desk) -> None:
    """A completed trial has its result, exactly as given, and is never handed out again."""
    job = desk.submit()
    attempt = desk.take().attempt
    result = {"metrics": {"left": {"value": 0.1 + 0.2}}, "history": [{"epoch": 1}], "text": "ä\u0000\ud800"}
    done = desk.complete(attempt.id, result)
    assert (done.state, done.result, done.finished_at) == (TrialState.SUCCEEDED, result, desk.clock())
    assert desk.store.get_trial(done.id) == done
    assert desk.store.list_attempts(done.id)[0].state is AttemptState.SUCCEEDED
    ended = desk.store.get_job(job.id)
    assert (ended.state, ended.progress, ended.trials_done, ended.reason) == (JobState.SUCCEEDED, 1.0, 1, None)
    assert desk.claim() is None


def test_completing_twice_changes_nothing(desk: Desk) -> None:
    """The same attempt may repeat its success, also after its lease; the first result stays."""
    job = desk.submit()
    attempt = desk.take().attempt
    first = desk.complete(attempt.id, {"x": 1}, desk.found())
    events = desk.store.list_events(job.id)
    desk.clock.advance(1000)
    assert desk.complete(attempt.id, {"x": 2}, desk.found()) == first
    assert desk.store.list_events(job.id) == events
    assert len(desk.store.list_front_rows(job_id=job.id, study_key=None)) == 1


def test_twins_run_once_and_share(desk: Desk) -> None:
    """Of trials with the same key one runs; the others wait for it and take its result, files and network over."""
    first = desk.submit(desk.trial("shared", "key"), "a")
    second = desk.submit(desk.trial("shared", "key"), "b")
    running = desk.take()
    assert running.trial.name == "shared"
    assert sorted(desk.names(desk.claim()) + desk.names(desk.claim())) == ["a", "b"]
    desk.store.put_file(running.attempt.id, "weights", "trials/w", "0" * 64, 9)
    desk.complete(running.attempt.id, {"metrics": {}, "n": 1}, desk.found("shared"))
    twin = desk.store.list_trials(second.id)[0]
    assert (twin.state, twin.result, twin.reused_from) == (
        TrialState.SUCCEEDED,
        {"metrics": {}, "n": 1},
        running.trial.id,
    )
    assert (twin.attempts, [file.path for file in desk.store.list_files(twin.id)]) == (0, ["trials/w"])
    rows = [desk.store.list_front_rows(job_id=job.id, study_key=None) for job in (first, second)]
    assert [[row.name for row in each] for each in rows] == [["shared"], ["shared"]]
    assert len(desk.store.list_front_rows(job_id=None, study_key="study")) == 1


def test_a_twin_of_a_finished_trial_succeeds_at_submission(desk: Desk) -> None:
    """A job whose every trial has been run elsewhere has succeeded when it is submitted."""
    desk.submit(desk.trial("shared", "key"))
    done = desk.complete(desk.take().attempt.id, {"n": 1})
    job = desk.submit(desk.trial("shared", "key"))
    assert (job.state, job.progress, job.trials_done) == (JobState.SUCCEEDED, 1.0, 1)
    assert desk.store.list_trials(job.id)[0].reused_from == done.id
    assert [data["state"] for data in desk.told(job.id, "state")] == ["QUEUED", "SUCCEEDED"]
    third = desk.submit(desk.trial("shared", "key"))
    assert desk.store.list_trials(third.id)[0].reused_from == done.id


def test_a_twin_of_a_lost_trial_runs_itself(desk: Desk) -> None:
    """When the one that ran fails, is cancelled or pauses, a waiting twin is free, and finishes for both."""
    first = desk.submit(desk.trial("shared", "key"))
    second = desk.submit(desk.trial("shared", "key"))
    desk.store.fail(desk.take().attempt.id, Reason.INTERNAL, "")
    twin = desk.take()
    assert twin.trial.job_id == second.id
    desk.clock.advance(60)
    assert desk.claim() is None
    desk.complete(twin.attempt.id, {"n": 2})
    assert desk.store.list_trials(first.id)[0].reused_from == twin.trial.id
    assert desk.store.get_job(first.id).state is JobState.SUCCEEDED


def test_a_resumed_twin_takes_over_what_was_found_meanwhile(desk: Desk) -> None:
    """A cancelled trial whose twin has succeeded since needs no run when its job is resumed."""
    first = desk.submit(desk.trial("shared", "key"), "own")
    desk.store.stop_job(first.id, StopMode.CANCEL, Reason.USER_CANCEL)
    desk.submit(desk.trial("shared", "key"))
    desk.complete(desk.take().attempt.id)
    resumed = desk.store.resume_job(first.id)
    assert (resumed.state, resumed.trials_done) == (JobState.QUEUED, 1)
    assert desk.names(desk.claim()) == ["own"]


def test_twins_within_one_job_run_one_after_the_other(desk: Desk) -> None:
    """One claim never hands out two trials with the same key."""
    job = desk.submit(desk.trial("shared", "key"), desk.trial("shared-2", "key"))
    claim = desk.claim()
    assert desk.names(claim) == ["shared"]
    assert claim is not None
    desk.complete(claim.trials[0].attempt.id)
    assert desk.store.get_job(job.id).state is JobState.SUCCEEDED


def test_a_deadline_stops_a_job(desk: Desk) -> None:
    """A late job gets no new attempts; running ones are told, and end as cancelled by the deadline."""
    job = desk.submit("a", "b", deadline_seconds=60.0)
    attempt = desk.take().attempt
    desk.clock.advance(60)
    assert desk.claim() is None
    assert desk.store.sweep() == 1
    stopped = desk.store.get_job(job.id)
    assert (stopped.state, stopped.reason) == (JobState.CANCELLING, Reason.DEADLINE)
    assert desk.store.heartbeat(attempt.id, lease_seconds=500.0, progress=None).stop is StopMode.CANCEL
    desk.store.fail(attempt.id, Reason.DEADLINE, "")
    ended = desk.store.get_job(job.id)
    assert (ended.state, ended.reason) == (JobState.CANCELLED, Reason.DEADLINE)
    assert desk.store.sweep() == 0


def test_a_job_that_ignores_its_deadline_is_ended(desk: Desk) -> None:
    """An attempt that goes on long after the deadline is fenced off."""
    job = desk.submit(deadline_seconds=60.0)
    attempt = desk.take().attempt
    desk.clock.advance(60)
    desk.store.heartbeat(attempt.id, lease_seconds=500.0, progress=None)
    assert desk.store.sweep() == 1
    desk.clock.advance(59)
    assert desk.store.sweep() == 0
    desk.clock.advance(1)
    assert desk.store.sweep() == 1
    assert desk.store.get_job(job.id).state is JobState.CANCELLED
    _assert_fenced_off(desk, attempt.id)


def test_a_deadline_wins_over_retries(desk: Desk) -> None:
    """A trial that pauses when its deadline passes is not tried again."""
    job = desk.submit(deadline_seconds=30.0)
    desk.store.fail(desk.take().attempt.id, Reason.INTERNAL, "")
    desk.clock.advance(31)
    assert desk.claim() is None
    desk.store.sweep()
    assert desk.store.get_job(job.id).reason is Reason.DEADLINE


def test_what_fits_no_worker_fails_in_the_end(desk: Desk) -> None:
    """A job too big for every live worker waits ten minutes for a bigger one, then fails with the reason."""
    job = desk.submit(resources=Resources(cpus=64.0, gpus=8.0))
    assert desk.claim(cpus=4.0) is None
    desk.store.sweep()
    for _ in range(9):
        desk.clock.advance(60)
        desk.claim(cpus=4.0)
        assert desk.store.sweep() == 0
    desk.clock.advance(61)
    desk.claim(cpus=4.0)
    assert desk.store.sweep() == 1
    ended = desk.store.get_job(job.id)
    assert (ended.state, ended.reason) == (JobState.FAILED, Reason.UNSCHEDULABLE)
    assert "64 CPU cores and 8 GPUs" in ended.message


def test_without_workers_nothing_is_unschedulable(desk: Desk) -> None:
    """As long as no worker is live, or a big enough one has come, a job waits however long."""
    job = desk.submit(resources=Resources(cpus=64.0))
    for _ in range(3):
        desk.store.sweep()
        desk.clock.advance(601)
    desk.claim("small", cpus=1.0)
    desk.store.sweep()
    desk.clock.advance(300)
    desk.submit("other", resources=Resources(cpus=64.0))
    assert desk.claim("big", cpus=64.0) is not None
    desk.store.sweep()
    desk.clock.advance(301)
    desk.claim("small", cpus=1.0)
    assert desk.store.sweep() in (0, 1)
    assert desk.store.get_job(job.id).state is not JobState.FAILED


def test_events_are_numbered_without_gaps(desk: Desk) -> None:
    """The events of a job count from 1; each tells of a change in the order it happened."""
    job = desk.submit("a", "b")
    first, second = desk.take().attempt, desk.take().attempt
    desk.complete(first.id)
    desk.store.fail(second.id, Reason.DIVERGED, "nan")
    events = desk.store.list_events(job.id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert desk.told(job.id, "state") == [
        {"state": "QUEUED", "reason": None, "message": ""},
        {"state": "RUNNING", "reason": None, "message": ""},
        {"state": "FAILED", "reason": "diverged", "message": "nan"},
    ]
    assert [(data["name"], data["state"], data["attempt"], data["reason"]) for data in desk.told(job.id, "trial")] == [
        ("a", "RUNNING", 1, None),
        ("b", "RUNNING", 1, None),
        ("a", "SUCCEEDED", 1, None),
        ("b", "FAILED", 1, "diverged"),
    ]


def test_every_visible_change_grows_the_version(desk: Desk) -> None:
    """A job read before and after a change has another version; one read twice in between has not."""
    job = desk.submit()
    versions = [job.version]
    attempt = desk.take().attempt
    versions.append(desk.store.get_job(job.id).version)
    desk.store.heartbeat(attempt.id, lease_seconds=90.0, progress=Progress("s", 1, 2))
    versions.append(desk.store.get_job(job.id).version)
    desk.complete(attempt.id)
    versions.append(desk.store.get_job(job.id).version)
    assert versions == sorted(set(versions))
    assert replace(desk.store.get_job(job.id)) == desk.store.get_job(job.id)
