"""What follows from what, as pure functions that the SQL stores and their in-memory twin share.

The end of an attempt decides about its trial, the trials decide about their job. No SQL, no I/O, no clock.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from db.records.jobs import Json, Resources
from db.records.results import ArchitectureRecord
from db.records.states import RETRIED, UNCOUNTED, AttemptState, JobState, Reason, TrialState
from db.stores import Score

LOG_LINE_LENGTH = 2_000
LOG_LINES_KEPT = 20_000
PROGRESS_EVENT_SECONDS = 1.0
TOKEN_TOUCH_SECONDS = 60.0
WORKER_LIST_SECONDS = 86_400.0
WORKER_TOUCH_SECONDS = 20.0
UNBEGUN_ATTEMPTS = 20
"""From then on attempts that were lost before they began count as failures too."""
BASELINE_KINDS = ("single", "shared")
TOLD_TO_STOP = frozenset({Reason.USER_CANCEL, Reason.USER_KILL, Reason.DEADLINE})
STOP_MESSAGES: Mapping[Reason, str] = {
    Reason.USER_CANCEL: "A person asked to cancel it.",
    Reason.USER_KILL: "A person asked to end it at once.",
    Reason.DEADLINE: "Its deadline passed.",
}


@dataclass(frozen=True)
class Policy:
    """How patient a store is.

    Attributes:
        backoff_seconds: Pause after the first counted failure; doubled by each further one.
        backoff_growth_max: Longest pause, as a multiple of the first.
        backoff_jitter: Share by which a pause is varied at random, both ways.
        unschedulable_seconds: How long trials wait that ask for more than any live worker has.
        worker_live_seconds: How long after its last word a worker counts as live.
        stop_grace_seconds: How long after its deadline a job may take to stop before it is ended.
        events_kept: Events kept per job.
    """

    backoff_seconds: float = 10.0
    backoff_growth_max: float = 36.0
    backoff_jitter: float = 0.2
    unschedulable_seconds: float = 600.0
    worker_live_seconds: float = 600.0
    stop_grace_seconds: float = 60.0
    events_kept: int = 50_000


class Ending(StrEnum):
    """How an attempt ended other than well; the value is the state it is left in."""

    FAIL = AttemptState.FAILED.value
    RELEASE = AttemptState.RELEASED.value
    LOSE = AttemptState.LOST.value


@dataclass(frozen=True)
class EndedAttempt:
    """An attempt that ended other than well, and what stood in the books by then.

    Attributes:
        ending: Who ended it.
        reason: Why.
        message: In words.
        failures: Counted failures of the trial so far.
        max_attempts: Counted failures that fail it.
        stop_reason: Why the job is to stop; None when it is not.
        has_begun: Whether work on it began; a worker takes more trials than it runs at once.
        number: Of the attempt.
    """

    ending: Ending
    reason: Reason
    message: str
    failures: int
    max_attempts: int
    stop_reason: Reason | None
    has_begun: bool = True
    number: int = 1


@dataclass(frozen=True)
class Verdict:
    """What the end of an attempt means.

    Attributes:
        attempt_state: Of the attempt.
        trial_state: Of the trial: QUEUED for another attempt, FAILED or CANCELLED.
        reason, message: Of the trial; None and "" when it is queued again.
        failures: Counted failures from now on.
        pause: Whether it has to wait before the next attempt.
    """

    attempt_state: AttemptState
    trial_state: TrialState
    reason: Reason | None
    message: str
    failures: int
    pause: bool


def judge(end: EndedAttempt) -> Verdict:
    """Return what the end of an attempt means for it and for its trial."""
    state = AttemptState(end.ending.value)
    if end.ending is Ending.FAIL and end.reason in TOLD_TO_STOP:
        message = end.message or STOP_MESSAGES[end.reason]
        return Verdict(AttemptState.RELEASED, TrialState.CANCELLED, end.reason, message, end.failures, False)
    if end.ending is Ending.FAIL and end.reason not in RETRIED:
        return Verdict(state, TrialState.FAILED, end.reason, end.message, end.failures + 1, False)
    # What only waited on a machine that died cannot have been what killed it; but nothing is lost without end.
    waited = end.ending is Ending.LOSE and not end.has_begun and end.number <= UNBEGUN_ATTEMPTS
    counts = end.reason not in UNCOUNTED and not waited
    failures = end.failures + counts
    if end.stop_reason is not None:
        message = STOP_MESSAGES.get(end.stop_reason, "")
        return Verdict(state, TrialState.CANCELLED, end.stop_reason, message, failures, False)
    if counts and failures >= end.max_attempts:
        words = f"{end.reason.value}: {end.message}" if end.message else end.reason.value
        message = f"It failed {failures} of {end.max_attempts} times, the last time by {words}"
        return Verdict(state, TrialState.FAILED, Reason.MAX_ATTEMPTS, message, failures, False)
    # However it ended: a trial whose process falls at once must not be begun again without end.
    return Verdict(state, TrialState.QUEUED, None, "", failures, pause=counts)


def compute_pause_seconds(failures: int, policy: Policy, chance: float) -> float:
    """Return how long a trial waits after its counted failures; `chance` in [0, 1) spreads those that failed together.

    Args:
        failures: At least 1.
        policy: Says how long and how much spread.
        chance: Drawn anew for each pause.
    """
    growth = min(2.0 ** min(failures - 1, 60), policy.backoff_growth_max)
    return policy.backoff_seconds * growth * (1 + policy.backoff_jitter * (2 * chance - 1))


def roll_up(counts: Mapping[TrialState, int], *, started: bool, stopping: bool) -> JobState:
    """Return the state of a job, given how many of its trials stand in each state.

    Args:
        counts: States that no trial is in may be left out.
        started: Whether a worker has taken one of its trials since it was last queued.
        stopping: Whether it was asked to stop.
    """
    if counts.get(TrialState.QUEUED, 0) or counts.get(TrialState.RUNNING, 0):
        if stopping:
            return JobState.CANCELLING
        return JobState.RUNNING if started else JobState.QUEUED
    if counts.get(TrialState.FAILED, 0):
        return JobState.FAILED
    return JobState.CANCELLED if counts.get(TrialState.CANCELLED, 0) else JobState.SUCCEEDED


def compute_fraction(state: TrialState, step: int, total_steps: int) -> float:
    """Return how much of a trial is done, 0 to 1."""
    if state is TrialState.SUCCEEDED:
        return 1.0
    return min(max(step / total_steps, 0.0), 1.0) if total_steps > 0 else 0.0


def fits(wanted: Resources, offered: Iterable[Resources]) -> bool:
    """Return whether one of the workers has room for a trial."""
    return any(wanted.cpus <= worker.cpus and wanted.gpus <= worker.gpus for worker in offered)


def describe_unfit(wanted: Resources) -> str:
    """Return the sentence for a job that no worker has room for."""
    return (
        f"A trial asks for {wanted.cpus:g} CPU cores and {wanted.gpus:g} GPUs, and no live worker has that many. "
        f"Ask for less, or start a larger worker and resume the job."
    )


def merge_single_metrics(baselines: Iterable[Json]) -> dict[str, Any]:
    """Return {task: metric} of the single-task networks, given their results."""
    merged: dict[str, Any] = {}
    for document in baselines:
        metrics = document.get("metrics")
        merged.update(metrics if isinstance(metrics, Mapping) else {})
    return merged


def find_delta_m(metrics: Json | None, single_metrics: Json, tasks: Iterable[str], score: Score) -> float | None:
    """Return the delta_m of a network, or None while it cannot be known.

    A baseline that admits no score (a metric of zero, say) must not keep a finished trial from being stored, so what
    the callback refuses counts as not known.
    """
    if not metrics or not single_metrics or not set(tasks) <= set(single_metrics):
        return None
    try:
        delta_m = float(score(metrics, single_metrics))
    except (ValueError, ArithmeticError, LookupError):
        return None
    return delta_m if math.isfinite(delta_m) else None


def front_event(architecture: ArchitectureRecord | Mapping[str, Any]) -> dict[str, Any]:
    """Return what the event of a new or newly scored architecture tells."""
    row = architecture if isinstance(architecture, Mapping) else vars(architecture)
    return {"architecture_id": row["id"], "name": row["name"], "madds": row["madds"], "delta_m": row["delta_m"]}


def clean_text(text: str) -> str:
    """Return a text as every database takes it: NUL and half surrogate pairs replaced by U+FFFD."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def new_id(prefix: str) -> str:
    """Return a fresh id of a kind; 80 random bits do not meet twice."""
    return f"{prefix}_{secrets.token_hex(10)}"
