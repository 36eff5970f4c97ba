"""What follows from what: ends of attempts, pauses, states of jobs, scores."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from db.records.jobs import Resources
from db.records.states import RETRIED, AttemptState, JobState, Reason, TrialState
from db.rules import (
    TOLD_TO_STOP,
    EndedAttempt,
    Ending,
    Policy,
    clean_text,
    compute_fraction,
    compute_pause_seconds,
    find_delta_m,
    fits,
    judge,
    merge_single_metrics,
    roll_up,
)

ends = st.builds(
    EndedAttempt,
    ending=st.sampled_from(Ending),
    reason=st.sampled_from(Reason),
    message=st.text(max_size=5),
    failures=st.integers(0, 5),
    max_attempts=st.integers(1, 5),
    stop_reason=st.none() | st.sampled_from(sorted(TOLD_TO_STOP)),
    has_begun=st.booleans(),
    number=st.integers(1, 30),
)


@given(ends)
def test_an_attempt_that_ended_badly_never_succeeds(end: EndedAttempt) -> None:
    """The attempt is over, the trial waits, has failed or is cancelled, and only a waiting one has no reason."""
    verdict = judge(end)
    assert verdict.attempt_state in (AttemptState.FAILED, AttemptState.RELEASED, AttemptState.LOST)
    assert verdict.trial_state in (TrialState.QUEUED, TrialState.FAILED, TrialState.CANCELLED)
    assert (verdict.reason is None) == (verdict.trial_state is TrialState.QUEUED)
    assert verdict.failures - end.failures in (0, 1)


@given(ends)
def test_nothing_is_queued_again_that_may_not_be(end: EndedAttempt) -> None:
    """A trial is tried again only in a job that goes on, and never after its last allowed failure."""
    verdict = judge(end)
    if verdict.trial_state is TrialState.QUEUED:
        assert end.stop_reason is None
        assert verdict.failures == end.failures or verdict.failures < end.max_attempts
        assert end.reason in RETRIED or end.ending is not Ending.FAIL


@given(ends)
def test_counted_failures_pause_and_no_others(end: EndedAttempt) -> None:
    """Whatever counts has to wait for the next attempt, if there is one; a stopped worker counts for nothing."""
    verdict = judge(end)
    if verdict.trial_state is TrialState.QUEUED:
        assert verdict.pause == (verdict.failures == end.failures + 1)
    if end.reason is Reason.WORKER_STOPPED:
        assert verdict.failures == end.failures


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_pauses_stay_within_their_bounds(failures: int, chance: float) -> None:
    """Pauses double up to 36 times the first, give or take a fifth."""
    pause = compute_pause_seconds(failures, Policy(backoff_seconds=10.0), chance)
    plain = min(10.0 * 2 ** min(failures - 1, 20), 360.0)
    assert 0.8 * plain <= pause <= 1.2 * plain


def test_a_job_follows_its_trials() -> None:
    """Unfinished trials keep a job open; then one failure outweighs a cancellation, that outweighs success."""
    queued, failed, cancelled, done = TrialState.QUEUED, TrialState.FAILED, TrialState.CANCELLED, TrialState.SUCCEEDED
    assert roll_up({queued: 1, failed: 1}, started=False, stopping=False) is JobState.QUEUED
    assert roll_up({queued: 1, failed: 1}, started=True, stopping=False) is JobState.RUNNING
    assert roll_up({TrialState.RUNNING: 1}, started=True, stopping=True) is JobState.CANCELLING
    assert roll_up({failed: 1, cancelled: 1, done: 1}, started=True, stopping=True) is JobState.FAILED
    assert roll_up({cancelled: 1, done: 1}, started=True, stopping=True) is JobState.CANCELLED
    assert roll_up({done: 1}, started=True, stopping=True) is JobState.SUCCEEDED


@given(st.sampled_from(TrialState), st.integers(-5, 5), st.integers(-5, 5))
def test_a_fraction_is_one(state: TrialState, step: int, total_steps: int) -> None:
    """Whatever a worker tells, what is done lies between nothing and all."""
    assert 0.0 <= compute_fraction(state, step, total_steps) <= 1.0


def test_a_trial_fits_one_worker_not_two() -> None:
    """Both cores and GPUs must be on the same worker."""
    assert fits(Resources(2.0, 0.5), [Resources(1.0, 1.0), Resources(2.0, 0.5)])
    assert not fits(Resources(2.0, 0.5), [Resources(1.0, 1.0), Resources(4.0, 0.0)])
    assert not fits(Resources(), [])


def test_single_metrics_come_from_all_baselines() -> None:
    """Each baseline brings its task; a result without metrics brings none."""
    documents: list[dict[str, Any]] = [
        {"metrics": {"left": 1}},
        {},
        {"metrics": None},
        {"metrics": {"right": 2, "left": 3}},
    ]
    assert merge_single_metrics(documents) == {"left": 3, "right": 2}


def test_delta_m_is_known_or_none() -> None:
    """Without metrics, baselines of all tasks or a finite score it is None."""
    metrics, singles = {"a": 1}, {"a": 2}
    assert find_delta_m(metrics, singles, ["a"], lambda network, single: 1.5) == 1.5
    assert find_delta_m(None, singles, ["a"], lambda network, single: 1.5) is None
    assert find_delta_m(metrics, singles, ["a", "b"], lambda network, single: 1.5) is None
    assert find_delta_m(metrics, singles, ["a"], lambda network, single: float("nan")) is None
    assert find_delta_m(metrics, {"a": 0}, ["a"], lambda network, single: network["a"] / single["a"]) is None


@given(st.text())
def test_clean_text_is_what_every_database_takes(text: str) -> None:
    """It can be encoded and has no NUL; ordinary text is left alone; cleaning twice is cleaning once."""
    cleaned = clean_text(text)
    assert "\x00" not in cleaned
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned == clean_text(cleaned)
    assert "\x00" in text or cleaned == text


def test_half_a_character_is_replaced() -> None:
    """A lone half of a surrogate pair becomes the replacement character, a whole one the character it means."""
    assert clean_text("a\ud83db") == "a\ufffdb"
    assert clean_text("\x00") == "\ufffd"
