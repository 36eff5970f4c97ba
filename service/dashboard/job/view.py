"""What the page of a job shows, from the records of the store: rows, lanes, points. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from db.records.jobs import AttemptRecord, JobRecord, TrialRecord
from db.records.states import AttemptState, JobState, TrialState
from db.rules import compute_fraction
from service.dashboard.formats import figure
from service.dashboard.job.words import (
    KINDS,
    STATES,
    Why,
    describe_attempt,
    describe_doing,
    describe_trouble,
    explain,
    find_time,
    label_attempt,
)
from service.pages.attempts_drawing import AttemptBar, Lane
from service.pages.front.drawing import Point
from service.schemas.results import Front

MAX_LANES = 60
MAX_NOTES = 60
MAX_ROWS = 200
_MAX_METRICS = 3


@dataclass(frozen=True)
class TrialRow:
    """One trial as a row of the table.

    Attributes:
        kind: In words.
        state: As the API says it; `state_words` is for people.
        share: How much of its present stage is done, 0 to 1.
        doing: What it does, or how long it took.
        trouble: Why it ended other than well, empty otherwise.
        madds, delta_m: Of the network it found; None while there is none.
        metrics: Of a baseline, in words.
        architecture_id: To link to; None where no network is kept.
    """

    id: str
    name: str
    kind: str
    state: str
    state_words: str
    share: float
    doing: str
    attempts: int
    trouble: str
    madds: int | None
    delta_m: float | None
    metrics: str
    architecture_id: str | None


@dataclass(frozen=True)
class AttemptNote:
    """An attempt in words, for the list below the timeline."""

    trial: str
    sentence: str


@dataclass(frozen=True)
class Trouble:
    """Why a job ended other than well.

    Attributes:
        headline: What happened.
        message: What the trial said itself, empty where that adds nothing.
        advice: What to do.
        failed: Names of the trials that ended so, at most a few.
        num_failed: How many there are.
    """

    headline: str
    message: str
    advice: str
    failed: tuple[str, ...]
    num_failed: int


def build_trial_rows(
    trials: Sequence[TrialRecord], networks: Mapping[str, tuple[str, float | None]], now: datetime
) -> list[TrialRow]:
    """Return the rows of the table of trials.

    Args:
        trials: Of the job, in order.
        networks: Trial id -> (architecture id, delta_m) of what was found.
        now: The time.
    """
    rows = []
    for trial in trials:
        architecture_id, delta_m = networks.get(trial.id, (None, None))
        result = trial.result or {}
        rows.append(
            TrialRow(
                id=trial.id,
                name=trial.name,
                kind=KINDS.get(trial.kind, trial.kind),
                state=trial.state.value,
                state_words=STATES[trial.state.value],
                share=compute_fraction(trial.state, trial.step, trial.total_steps),
                doing=describe_doing(trial, now),
                attempts=trial.attempts,
                trouble=describe_trouble(trial),
                madds=_read_count(result.get("madds")),
                delta_m=delta_m,
                metrics=_describe_metrics(result.get("metrics")) if trial.kind in ("single", "shared") else "",
                architecture_id=architecture_id,
            )
        )
    return rows


def compute_own_progress(trials: Sequence[TrialRecord]) -> float:
    """Return the share of the work done, 0 to 1, without what was taken over ready-made from other jobs."""
    own = [trial for trial in trials if trial.reused_from is None]
    return sum(compute_fraction(trial.state, trial.step, trial.total_steps) for trial in own) / max(1, len(own))


def choose_rows(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the trials that the table shows, in their order: of very many, those that run or went wrong come first."""
    calm = (TrialState.QUEUED, TrialState.SUCCEEDED)
    telling = sorted(trials, key=lambda trial: (trial.state in calm, trial.state is TrialState.QUEUED))
    shown = {trial.id for trial in telling[:MAX_ROWS]}
    return [trial for trial in trials if trial.id in shown]


def build_lanes(
    trials: Sequence[TrialRecord], attempts: Mapping[str, Sequence[AttemptRecord]], now: datetime
) -> list[Lane]:
    """Return the lanes of the timeline; times count from when the first trial of all was taken."""
    taken = [attempt.started_at for found in attempts.values() for attempt in found]
    origin = min(taken, default=now)
    return [
        Lane(trial.name, tuple(_build_bar(attempt, origin, now) for attempt in attempts[trial.id]))
        for trial in trials
        if attempts.get(trial.id)
    ]


def _build_bar(attempt: AttemptRecord, origin: datetime, now: datetime) -> AttemptBar:
    """Return the bar of an attempt."""
    time = find_time(attempt, now)
    return AttemptBar(
        taken_seconds=(time.taken_at - origin).total_seconds(),
        start_seconds=((time.begun_at or time.end) - origin).total_seconds(),
        end_seconds=(time.end - origin).total_seconds(),
        state="WAITING" if time.begun_at is None and attempt.state is AttemptState.RUNNING else attempt.state.value,
        words=label_attempt(attempt),
        sentence=describe_attempt(attempt, now),
    )


def list_attempt_notes(
    trials: Sequence[TrialRecord], attempts: Mapping[str, Sequence[AttemptRecord]], now: datetime
) -> list[AttemptNote]:
    """Return in words the attempts that ended otherwise than well, the newest last."""
    told = [
        (attempt.started_at, AttemptNote(trial.name, describe_attempt(attempt, now)))
        for trial in trials
        for attempt in attempts.get(trial.id, ())
        if attempt.state not in (AttemptState.RUNNING, AttemptState.SUCCEEDED)
    ]
    return [note for _, note in sorted(told, key=lambda pair: pair[0])][-MAX_NOTES:]


def find_trouble(job: JobRecord, trials: Sequence[TrialRecord]) -> Trouble | None:
    """Return why a job failed or was cancelled, None for one that did not."""
    if job.state not in (JobState.FAILED, JobState.CANCELLED):
        return None
    ended = [trial for trial in trials if trial.state.value == job.state.value]
    # All attempts being used up says little; the last one's own words, which the message quotes, say more.
    why = explain(job.reason) or Why("no reason is known", "Look at the last lines of the log, then resume or retry.")
    names = tuple(trial.name for trial in ended[:5])
    return Trouble(_sentence(why.words), job.message, why.advice, names, len(ended))


def collect_points(front: Front) -> list[Point]:
    """Return the networks of a front whose gain is known, with the baselines."""
    points = [
        Point(name, found.madds, found.delta_m, kind)
        for kind, name in (("single", "single-task"), ("shared", "all shared"))
        if (found := front.baselines.get(kind)) is not None and found.delta_m is not None
    ]
    points += [
        Point(row["name"], row["madds"], row["delta_m"], "front" if row["on_front"] else "behind")
        for row in front.points
        if row["delta_m"] is not None
    ]
    return points


def list_budgets(trials: Sequence[TrialRecord]) -> list[tuple[str, int]]:
    """Return (as it was written, MAdds) of the budgets of the candidates, in order and each once."""
    found = {
        (str(trial.spec.get("budget") or ""), trial.budget_madds)
        for trial in trials
        if trial.kind == "candidate" and trial.budget_madds is not None
    }
    return sorted(found, key=lambda pair: pair[1])


def count_states(trials: Sequence[TrialRecord]) -> list[tuple[str, int]]:
    """Return how many trials stand in each state, in words, without those that none is in."""
    order = (TrialState.RUNNING, TrialState.QUEUED, TrialState.SUCCEEDED, TrialState.FAILED, TrialState.CANCELLED)
    counts = [(STATES[state.value].lower(), sum(trial.state is state for trial in trials)) for state in order]
    return [(words, number) for words, number in counts if number]


def _sentence(words: str) -> str:
    """Return words with a capital at their beginning."""
    return words[:1].upper() + words[1:]


def _read_count(value: Any) -> int | None:
    """Return a count from a stored document, None for anything else."""
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _describe_metrics(metrics: Any) -> str:
    """Return the metrics of a stored document in words, the first few of them."""
    if not isinstance(metrics, Mapping):
        return ""
    words = [
        f"{task} {figure(float(found['value']))}"
        for task, found in metrics.items()
        if isinstance(found, Mapping) and isinstance(found.get("value"), int | float)
    ]
    more = f" and {len(words) - _MAX_METRICS} more" if len(words) > _MAX_METRICS else ""
    return ", ".join(words[:_MAX_METRICS]) + more
