"""A job in plain words."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from db.records.jobs import AttemptRecord, JobRecord, Resources, TrialRecord
from db.records.states import AttemptState, JobKind, JobState, Reason, TrialState
from service.dashboard.job.words import (
    ACTIONS,
    REASONS,
    STATES,
    describe_attempt,
    describe_doing,
    describe_trouble,
    estimate_seconds_left,
    label_attempt,
    list_actions,
)
from service.schemas.jobs import list_allowed_actions

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
JOB = JobRecord(
    id="srch_1", kind=JobKind.SEARCH, owner="olga", name="a search", labels={}, notes="", spec={}, spec_hash="",
    study_key="k", priority=0, resources=Resources(), max_attempts=3, state=JobState.RUNNING, reason=None, message="",
    stop_requested=None, retry_of=None, architecture_id=None, created_at=NOW, started_at=NOW, finished_at=None,
    deadline_at=None, trials_total=4, trials_done=1, progress=0.25, best_delta_m=None, version=1,
)  # fmt: skip
TRIAL = TrialRecord(
    id="tril_1", job_id="srch_1", kind="candidate", name="60pct-s0", spec={}, reuse_key=None, seed=0,
    budget_madds=180_000, state=TrialState.RUNNING, reason=None, message="", attempts=1, failures=0, not_before=None,
    stage="search", step=5, total_steps=10, reused_from=None, result=None, created_at=NOW, started_at=NOW,
    finished_at=None,
)  # fmt: skip
ATTEMPT = AttemptRecord(
    id="att_1", trial_id="tril_1", job_id="srch_1", number=2, worker_id="worker-1", state=AttemptState.RUNNING,
    reason=None, message="", lease_until=NOW, heartbeat_at=NOW, started_at=NOW, ended_at=None, stage="search", step=5,
    total_steps=10,
)  # fmt: skip


def test_every_reason_and_state_has_words() -> None:
    """A new reason cannot be forgotten here, and each says what to do."""
    assert set(REASONS) == set(Reason)
    assert set(STATES) == set(JobState) | set(TrialState)
    assert all(why.advice.endswith(".") and not why.words.endswith(".") for why in REASONS.values())


@pytest.mark.parametrize(
    ("state", "offered"),
    [
        (JobState.QUEUED, ["cancel", "kill"]),
        (JobState.RUNNING, ["cancel", "kill"]),
        (JobState.CANCELLING, ["kill"]),
        (JobState.SUCCEEDED, ["retry"]),
        (JobState.FAILED, ["resume", "retry"]),
        (JobState.CANCELLED, ["resume", "retry"]),
    ],
)
def test_only_what_changes_something_is_offered(state: JobState, offered: list[str]) -> None:
    """A cancelled job may be cancelled again by the API, but nobody needs a button for that."""
    job = replace(JOB, state=state)
    assert [action.name for action in list_actions(job, list_allowed_actions(state))] == offered
    assert {action.name for action in ACTIONS} == {"cancel", "kill", "resume", "retry"}
    assert {action.key for action in ACTIONS}.isdisjoint("tfl")  # colours, and the log


def test_the_time_left_follows_the_pace() -> None:
    """A quarter in one minute leaves three; before a pace is known, and after the end, nothing is said."""
    later = NOW + timedelta(minutes=1)
    assert estimate_seconds_left(JOB, later) == pytest.approx(180)
    assert estimate_seconds_left(replace(JOB, progress=0.01), later) is None
    assert estimate_seconds_left(replace(JOB, state=JobState.SUCCEEDED), later) is None
    assert estimate_seconds_left(replace(JOB, started_at=None), later) is None


@pytest.mark.parametrize(
    ("trial", "words"),
    [
        (TRIAL, "search, step 5 of 10"),
        (replace(TRIAL, stage="", total_steps=0), "starts, or waits for its turn"),
        (replace(TRIAL, state=TrialState.QUEUED, attempts=0), "waits for a worker"),
        (replace(TRIAL, state=TrialState.QUEUED), "waits for another attempt"),
        (
            replace(TRIAL, state=TrialState.QUEUED, not_before=NOW + timedelta(seconds=20)),
            "waits 20 s before its next attempt",
        ),
        (replace(TRIAL, state=TrialState.SUCCEEDED, finished_at=NOW + timedelta(minutes=2)), "done after 2 min"),
        (replace(TRIAL, state=TrialState.SUCCEEDED, reused_from="tril_0"), "took the result of an equal trial"),
        (replace(TRIAL, state=TrialState.CANCELLED), ""),
    ],
)
def test_a_trial_says_what_it_does(trial: TrialRecord, words: str) -> None:
    """Running, waiting, done: each in a few words."""
    assert describe_doing(trial, NOW) == words


def test_trouble_is_the_reason_and_what_the_trial_said() -> None:
    """The reason in plain words comes first."""
    assert describe_trouble(TRIAL) == ""
    failed = replace(TRIAL, state=TrialState.FAILED, reason=Reason.OUT_OF_MEMORY)
    assert describe_trouble(failed) == "the memory was not enough"
    assert describe_trouble(replace(failed, message="12 GB.")) == "the memory was not enough: 12 GB."


def test_attempts_are_told_as_sentences() -> None:
    """How long, where, how it ended and why."""
    later = NOW + timedelta(seconds=90)
    assert describe_attempt(ATTEMPT, later) == "Attempt 2 runs since 1 min 30 s on worker-1."
    swept = later + timedelta(seconds=90)
    lost = replace(ATTEMPT, state=AttemptState.LOST, reason=Reason.LEASE_LOST, heartbeat_at=later, message="No sign.")
    lost = replace(lost, ended_at=swept)
    assert describe_attempt(lost, swept) == (
        "Attempt 2 was lost after 1 min 30 s on worker-1: the worker fell silent (No sign)."
    )
    assert label_attempt(lost) == "2: the worker fell silent"
    assert label_attempt(ATTEMPT) == "2: running"
    assert label_attempt(replace(ATTEMPT, state=AttemptState.SUCCEEDED)) == "2: done"


def test_the_time_at_the_worker_is_not_the_time_of_work() -> None:
    """What waits for its turn says so, and a trial that ran says how long it ran."""
    begun, later = NOW + timedelta(seconds=60), NOW + timedelta(seconds=90)
    waits = replace(ATTEMPT, stage="", total_steps=0)
    assert describe_attempt(waits, begun) == "Attempt 2 waits for its turn since 1 min on worker-1."
    assert label_attempt(waits) == "2: waiting"
    done = replace(ATTEMPT, state=AttemptState.SUCCEEDED, begun_at=begun, ended_at=later)
    assert describe_attempt(done, later) == "Attempt 2 succeeded after 30 s on worker-1."
    back = replace(waits, state=AttemptState.RELEASED, reason=Reason.WORKER_STOPPED, ended_at=later)
    assert describe_attempt(back, later) == (
        "Attempt 2 was given back before it began on worker-1: the worker was stopped."
    )
