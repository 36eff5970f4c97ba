"""A job in plain words: its state, why it ended, what to do about it, how much time is left. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from db.records.jobs import AttemptRecord, JobRecord, TrialRecord
from db.records.states import AttemptState, JobKind, JobState, Reason, TrialState
from service.dashboard.formats import duration

_LEAST_PROGRESS = 0.03
"""Below this share of the work, the time that is left would be a guess of a guess."""


@dataclass(frozen=True)
class Why:
    """A reason for people: what happened, as the end of "it stopped: ...", and what to do about it."""

    words: str
    advice: str


_FROM_CHECKPOINT = "Resume it: it goes on from its last checkpoints."
REASONS: Mapping[Reason, Why] = {
    Reason.USER_CANCEL: Why("cancelled by a person", _FROM_CHECKPOINT),
    Reason.USER_KILL: Why("ended at once by a person", _FROM_CHECKPOINT),
    Reason.DEADLINE: Why("its deadline passed", "Retry it with a later deadline, or with a shorter preset."),
    Reason.LEASE_LOST: Why(
        "the worker fell silent", "Check that the worker's machine and its network are up, then resume."
    ),
    Reason.WORKER_STOPPED: Why("the worker was stopped", "Start a worker again; the trial goes on by itself."),
    Reason.WORKER_CRASHED: Why("the worker's process died", "Look at the last lines of the log, then resume."),
    Reason.MAX_ATTEMPTS: Why(
        "every allowed attempt failed",
        "Look at the attempts below for what went wrong. Mend that, then resume: it gets new attempts.",
    ),
    Reason.OUT_OF_MEMORY: Why(
        "the memory was not enough",
        "Retry with a smaller input size or backbone, or ask for a worker with more memory.",
    ),
    Reason.DIVERGED: Why(
        "the training diverged: its loss was no finite number any more",
        "Retry with another seed. If it happens again, check the labels of the dataset.",
    ),
    Reason.BAD_DATASET: Why(
        "the dataset cannot be read as it should", "Put the dataset's files right on the workers, then resume."
    ),
    Reason.BAD_SPEC: Why("what was asked cannot be run", "Change what is asked and submit it as a new search."),
    Reason.UNSCHEDULABLE: Why(
        "no worker is large enough", "Start a larger worker and resume, or retry and ask for less."
    ),
    Reason.DISK_FULL: Why("the disk was full", "Free some space where the results are kept, then resume."),
    Reason.INTERNAL: Why("a fault inside the program", "Look at the last lines of the log, then resume or retry."),
}
STATES: Mapping[str, str] = {
    "QUEUED": "Waiting",
    "RUNNING": "Running",
    "CANCELLING": "Stopping",
    "SUCCEEDED": "Done",
    "FAILED": "Failed",
    "CANCELLED": "Cancelled",
}
KINDS: Mapping[str, str] = {
    "single": "single-task baseline",
    "shared": "shared baseline",
    "candidate": "candidate",
    "retrain": "retraining",
    "export": "export",
}
JOBS: Mapping[JobKind, str] = {
    JobKind.SEARCH: "search",
    JobKind.RETRAIN: "retraining",
    JobKind.EXPORT: "export",
}


@dataclass(frozen=True)
class Action:
    """Something a person may ask of a job.

    Attributes:
        name: "cancel", "kill", "resume" or "retry".
        label: Of the button.
        question: Headline of the confirmation.
        consequence: What will happen, in a sentence or two.
        refusal: Label of the button that does nothing.
        key: Its shortcut on the page.
    """

    name: str
    label: str
    question: str
    consequence: str
    refusal: str
    key: str


ACTIONS: tuple[Action, ...] = (
    Action(
        "cancel",
        "Cancel",
        "Cancel this {job}?",
        "Running trials stop at their next step and keep their checkpoints. It can be resumed later.",
        "Keep it running",
        "c",
    ),
    Action(
        "kill",
        "Kill",
        "Kill this {job} now?",
        "Running trials end at once; work since their last checkpoints is lost. It can be resumed later.",
        "Keep it running",
        "k",
    ),
    Action(
        "resume",
        "Resume",
        "Resume this {job}?",
        "Trials that failed or were cancelled go on from their last checkpoints, with new attempts.",
        "Leave it",
        "r",
    ),
    Action(
        "retry",
        "Retry",
        "Submit the same again?",
        "A new {job} asks the same from the beginning. This one stays as it is.",
        "Leave it",
        "a",
    ),
)


def list_actions(job: JobRecord, allowed: list[str]) -> list[Action]:
    """Return what is offered for a job: of what its state allows, what changes anything."""
    pointless = (
        {"cancel", "kill"} if job.state.is_terminal else {"cancel"} if job.state is JobState.CANCELLING else set()
    )
    return [action for action in ACTIONS if action.name in allowed and action.name not in pointless]


def explain(reason: Reason | None) -> Why | None:
    """Return a reason for people, None for none."""
    return None if reason is None else REASONS[reason]


def estimate_seconds_left(job: JobRecord, now: datetime) -> float | None:
    """Return how long a running job will still take at its pace so far, None where that cannot be said."""
    if job.state is not JobState.RUNNING or job.started_at is None or job.progress < _LEAST_PROGRESS:
        return None
    return (now - job.started_at).total_seconds() * (1 - job.progress) / job.progress


def describe_doing(trial: TrialRecord, now: datetime) -> str:
    """Return what a trial does at the moment, or what has become of it."""
    if trial.state is TrialState.RUNNING:
        steps = f", step {trial.step} of {trial.total_steps}" if trial.total_steps else ""
        return f"{trial.stage or 'starts, or waits for its turn'}{steps}"
    if trial.state is TrialState.QUEUED:
        if trial.not_before is not None and trial.not_before > now:
            return f"waits {duration((trial.not_before - now).total_seconds())} before its next attempt"
        return "waits for a worker" if not trial.attempts else "waits for another attempt"
    if trial.reused_from is not None:
        return "took the result of an equal trial"
    if trial.state is TrialState.SUCCEEDED and trial.started_at and trial.finished_at:
        return f"done after {duration((trial.finished_at - trial.started_at).total_seconds())}"
    return ""


def describe_trouble(trial: TrialRecord) -> str:
    """Return why a trial ended other than well: the reason in plain words, then what it said itself."""
    why = explain(trial.reason)
    if why is None:
        return ""
    return f"{why.words}: {trial.message}" if trial.message else why.words


@dataclass(frozen=True)
class AttemptTime:
    """When a worker took a trial, when work on it began (None: not yet, or never), and when that ended."""

    taken_at: datetime
    begun_at: datetime | None
    end: datetime


def find_time(attempt: AttemptRecord, now: datetime) -> AttemptTime:
    """Return the time of an attempt's own: not while it waited for its turn, not until its lease was found expired."""
    has_worked = bool(attempt.stage) or attempt.state is AttemptState.SUCCEEDED
    # Attempts of older versions tell no beginning.
    begun_at = attempt.begun_at or (attempt.started_at if has_worked else None)
    last = attempt.heartbeat_at if attempt.state is AttemptState.LOST else attempt.ended_at or now
    return AttemptTime(attempt.started_at, begun_at, max(last, begun_at or attempt.started_at))


def describe_attempt(attempt: AttemptRecord, now: datetime) -> str:
    """Return the story of an attempt as a sentence."""
    time = find_time(attempt, now)
    begun_at = time.begun_at
    lasted = duration((time.end - (begun_at or time.taken_at)).total_seconds())
    if attempt.state is AttemptState.RUNNING:
        does = "waits for its turn" if begun_at is None else "runs"
        return f"Attempt {attempt.number} {does} since {lasted} on {attempt.worker_id}."
    ended = {"SUCCEEDED": "succeeded", "FAILED": "failed", "RELEASED": "was given back", "LOST": "was lost"}
    why = explain(attempt.reason)
    said = "" if why is None else f": {why.words}"
    more = f" ({attempt.message.rstrip('.')})" if attempt.message else ""
    after = "before it began" if begun_at is None else f"after {lasted}"
    return f"Attempt {attempt.number} {ended[attempt.state]} {after} on {attempt.worker_id}{said}{more}."


def label_attempt(attempt: AttemptRecord) -> str:
    """Return the few words above the bar of an attempt."""
    why = explain(attempt.reason)
    if why is not None:
        return f"{attempt.number}: {why.words}"
    running = "running" if attempt.begun_at or attempt.stage else "waiting"
    words = {AttemptState.RUNNING: running, AttemptState.SUCCEEDED: "done"}.get(attempt.state, attempt.state.lower())
    return f"{attempt.number}: {words}"
