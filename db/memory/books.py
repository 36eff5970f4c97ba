"""What the in-memory store remembers, and how its jobs, trials and events change: plain, and recounted every time."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from db.errors import LeaseLostError, NotFoundError
from db.questions import Idempotency
from db.records.access import AuditRecord, SavedResponse, TokenRecord, WorkerRecord
from db.records.facts import FactRecord
from db.records.jobs import AttemptRecord, EventRecord, FileRecord, JobRecord, LogLine, TrialRecord
from db.records.results import ArchitectureRecord
from db.records.states import AttemptState, JobState, Reason, TrialState
from db.rules import STOP_MESSAGES, Policy, compute_fraction, front_event, roll_up


@dataclass
class JobNotes:
    """What the store keeps of a job beside its record."""

    deadline_seconds: float | None
    stop_reason: Reason | None = None
    stop_at: datetime | None = None
    unfit_since: datetime | None = None
    is_deleted: bool = False
    trial_ids: list[str] = field(default_factory=list)
    events: list[tuple[int, EventRecord]] = field(default_factory=list)
    last_event: int = 0
    logs: list[LogLine] = field(default_factory=list)
    last_log: int = 0


@dataclass
class Response:
    """The answer of an idempotency key, and what made it."""

    key: Idempotency
    answer: SavedResponse
    job_id: str | None
    created_at: datetime


class Books:
    """Everything remembered, behind one lock; a call sees and leaves it whole, and its time stands still."""

    def __init__(self, policy: Policy, clock: Callable[[], datetime] | None) -> None:
        self.policy = policy
        self.jobs: dict[str, JobRecord] = {}
        self.notes: dict[str, JobNotes] = {}
        self.trials: dict[str, TrialRecord] = {}
        self.progress_at: dict[str, datetime] = {}
        self.attempts: dict[str, AttemptRecord] = {}
        self.files: dict[tuple[str, str], FileRecord] = {}
        self.metrics: dict[tuple[str, str, int], float] = {}
        self.architectures: dict[str, ArchitectureRecord] = {}
        self.copied: set[str] = set()
        self.workers: dict[str, WorkerRecord] = {}
        self.tokens: dict[str, TokenRecord] = {}
        self.responses: dict[tuple[str, str], Response] = {}
        self.facts: dict[tuple[str, str], FactRecord] = {}
        self.audit: list[AuditRecord] = []
        self.newest_event_id = 0
        self.now = datetime.now(UTC)
        self._clock = clock
        self._lock = threading.RLock()
        self._touched: set[str] = set()

    @contextmanager
    def call(self) -> Iterator[datetime]:
        """Hold everything for one call of the store, and yield its time."""
        with self._lock:
            self.now = datetime.now(UTC) if self._clock is None else self._clock()
            self._touched.clear()
            yield self.now

    def next_transaction(self) -> None:
        """Let what follows in this call count as a change of its own."""
        self._touched.clear()

    def get_job(self, job_id: str) -> JobRecord:
        """Return a job that is not deleted, or raise NotFoundError."""
        if job_id not in self.jobs or self.notes[job_id].is_deleted:
            raise NotFoundError
        return self.jobs[job_id]

    def get_lease(self, attempt_id: str) -> AttemptRecord:
        """Return the attempt if it holds its trial now; raise LeaseLostError or NotFoundError."""
        if attempt_id not in self.attempts:
            raise NotFoundError
        attempt = self.attempts[attempt_id]
        if attempt.state is not AttemptState.RUNNING or attempt.lease_until <= self.now:
            raise LeaseLostError
        return attempt

    def forget_job(self, job_id: str) -> None:
        """Undo the making of a job."""
        for trial_id in self.notes.pop(job_id).trial_ids:
            del self.trials[trial_id]
        del self.jobs[job_id]
        self.architectures = {key: each for key, each in self.architectures.items() if each.job_id != job_id}

    def list_trials(self, job_id: str, *states: TrialState) -> list[TrialRecord]:
        """Return the trials of a job in order, those in some states if any are named."""
        trials = [self.trials[trial_id] for trial_id in self.notes[job_id].trial_ids]
        return [trial for trial in trials if not states or trial.state in states]

    def add_event(self, job_id: str, kind: str, data: Mapping[str, Any]) -> None:
        """Note an event."""
        notes = self.notes[job_id]
        notes.last_event += 1
        self.newest_event_id += 1
        event = EventRecord(job_id, notes.last_event, kind, copy.deepcopy(dict(data)), self.now)
        notes.events.append((self.newest_event_id, event))
        del notes.events[: -self.policy.events_kept]

    def change_job(self, job_id: str, values: Mapping[str, Any]) -> None:
        """Change a job; its version grows once per call."""
        job = self.jobs[job_id]
        if job_id not in self._touched:
            self._touched.add(job_id)
            job = replace(job, version=job.version + 1)
        self.jobs[job_id] = replace(job, **values)

    def move_trial(self, trial_id: str, state: TrialState, values: Mapping[str, Any]) -> None:
        """Move a trial to a state, with other fields of its record, and note the event."""
        finished_at = self.now if state.is_terminal else None
        trial = replace(self.trials[trial_id], **{"state": state, "finished_at": finished_at, **values})
        self.trials[trial_id] = trial
        self.recount(trial.job_id)
        told = {"trial_id": trial.id, "name": trial.name, "state": state.value, "attempt": trial.attempts}
        self.add_event(trial.job_id, "trial", told | {"reason": trial.reason})

    def recount(self, job_id: str) -> None:
        """Sum the progress of a job up."""
        trials = self.list_trials(job_id)
        done = sum(trial.state is TrialState.SUCCEEDED for trial in trials)
        progress = sum(compute_fraction(trial.state, trial.step, trial.total_steps) for trial in trials) / len(trials)
        self.change_job(job_id, {"trials_done": done, "progress": min(progress, 1.0)})

    def settle_job(self, job_id: str) -> None:
        """Give a job the state that follows from its trials, and note the event if it is another one."""
        job, notes = self.jobs[job_id], self.notes[job_id]
        counts = {state: len(self.list_trials(job_id, state)) for state in TrialState}
        started = job.state is not JobState.QUEUED or counts[TrialState.RUNNING] > 0
        state = roll_up(counts, started=started, stopping=job.stop_requested is not None)
        if state is job.state:
            return
        values: dict[str, Any] = {"state": state, "reason": None, "message": ""}
        values["finished_at"] = self.now if state.is_terminal else None
        values["started_at"] = job.started_at or (self.now if state is JobState.RUNNING else None)
        if state is JobState.CANCELLING and notes.stop_reason is not None:
            values |= {"reason": notes.stop_reason, "message": STOP_MESSAGES.get(notes.stop_reason, "")}
        if state in (JobState.FAILED, JobState.CANCELLED):
            cause = self.list_trials(job_id, TrialState(state.value))[0]
            values |= {"reason": cause.reason, "message": cause.message}
        self.change_job(job_id, values)
        self.tell_state(job_id)

    def tell_state(self, job_id: str) -> None:
        """Note the event that tells the state of a job."""
        job = self.jobs[job_id]
        self.add_event(job_id, "state", {"state": job.state, "reason": job.reason, "message": job.message})

    def add_architecture(self, record: ArchitectureRecord) -> None:
        """Keep a new or newly scored network, and tell of it."""
        self.architectures[record.id] = record
        best = self.jobs[record.job_id].best_delta_m
        if record.delta_m is not None and (best is None or record.delta_m > best):
            self.change_job(record.job_id, {"best_delta_m": record.delta_m})
        self.add_event(record.job_id, "front", front_event(record))

    def is_older(self, moment: datetime, seconds: float) -> bool:
        """Return whether a moment is at least so many seconds ago."""
        return self.now - moment >= timedelta(seconds=seconds)


class MemoryPart:
    """What every part of the in-memory store stands on."""

    def __init__(self, books: Books) -> None:
        self._books = books
