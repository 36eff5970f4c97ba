"""Jobs in memory: submit, look up, list, change, stop, resume, delete; and their trials."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from db.errors import (
    DbError,
    IdempotencyMismatchError,
    IllegalMoveError,
    NotFoundError,
    QueueFullError,
    StaleVersionError,
)
from db.memory.books import Books, MemoryPart, Response
from db.memory.books import JobNotes as Notes
from db.questions import ArchitectureQuery, Idempotency, JobChanges, JobQuery, QueueLimits, read_sort
from db.records.access import SavedResponse
from db.records.jobs import AttemptRecord, JobRecord, NewJob, NewTrial, TrialRecord
from db.records.states import ALLOWED_ACTIONS, AttemptState, JobState, Reason, StopMode, TrialState
from db.rules import STOP_MESSAGES, new_id


class MemoryJobs(MemoryPart):
    """The part of the store that people act on."""

    def submit(
        self,
        job: NewJob,
        *,
        limits: QueueLimits,
        idempotency: Idempotency | None = None,
        respond: Callable[[JobRecord], SavedResponse] | None = None,
    ) -> tuple[JobRecord, SavedResponse | None]:
        """Make a job with its trials; see `JobStore.submit`."""
        if not job.trials:
            raise DbError("A job needs at least one trial, got none. Give it one.")
        with self._books.call() as now:
            if idempotency is not None:
                known = self._books.responses.get((idempotency.owner, idempotency.key))
                if known is not None:
                    answer = check_same_request(known, idempotency)
                    if known.job_id is None:
                        raise IdempotencyMismatchError
                    return copy.deepcopy(self._books.jobs[known.job_id]), answer
            _check_limits(self._books, job.owner, limits)
            record = _make_job(self._books, copy.deepcopy(job))
            if idempotency is not None:
                try:
                    answer = SavedResponse(202, {}, b"") if respond is None else respond(copy.deepcopy(record))
                except BaseException:
                    self._books.forget_job(record.id)
                    raise
                key = (idempotency.owner, idempotency.key)
                self._books.responses[key] = Response(idempotency, answer, record.id, now)
            return copy.deepcopy(record), None

    def get_job(self, job_id: str) -> JobRecord:
        """Return a job that is not deleted, or raise NotFoundError."""
        with self._books.call():
            return copy.deepcopy(self._books.get_job(job_id))

    def list_jobs(self, query: JobQuery) -> list[JobRecord]:
        """Return at most `query.limit` jobs in order."""
        with self._books.call():
            jobs = [job for job in self._books.jobs.values() if not self._books.notes[job.id].is_deleted]
            return copy.deepcopy(cut_page([job for job in jobs if _is_wanted(job, query)], query))

    def count_jobs(self) -> dict[JobState, int]:
        """Return how many jobs that are not deleted stand in each state."""
        with self._books.call():
            states = [job.state for job in self._books.jobs.values() if not self._books.notes[job.id].is_deleted]
            return {state: states.count(state) for state in JobState}

    def update_job(self, job_id: str, changes: JobChanges, *, if_version: int) -> JobRecord:
        """Change a job that still has this version; see `JobStore.update_job`."""
        with self._books.call():
            job = self._books.get_job(job_id)
            _check_version(job, if_version)
            values = {name: copy.deepcopy(value) for name, value in vars(changes).items() if value is not None}
            changed = {name: value for name, value in values.items() if getattr(job, name) != value}
            if changed:
                self._books.change_job(job_id, changed)
            return copy.deepcopy(self._books.jobs[job_id])

    def stop_job(self, job_id: str, mode: StopMode, reason: Reason) -> JobRecord:
        """Ask a job to stop; see `JobStore.stop_job`."""
        with self._books.call():
            return copy.deepcopy(stop_job(self._books, job_id, mode, reason))

    def resume_job(self, job_id: str) -> JobRecord:
        """Queue the unfinished trials of an ended job again; see `JobStore.resume_job`."""
        with self._books.call() as now:
            _check_action(self._books.get_job(job_id), "resume")
            notes = self._books.notes[job_id]
            notes.stop_reason = notes.stop_at = notes.unfit_since = None
            deadline_at = _find_deadline(now, notes.deadline_seconds)
            fresh = {"state": JobState.QUEUED, "reason": None, "message": "", "stop_requested": None}
            self._books.change_job(job_id, fresh | {"finished_at": None, "deadline_at": deadline_at})
            self._books.tell_state(job_id)
            for trial in self._books.list_trials(job_id):
                if trial.state is not TrialState.SUCCEEDED:
                    again = {"reason": None, "message": "", "failures": 0, "not_before": None}
                    self._books.move_trial(trial.id, TrialState.QUEUED, again)
            _take_over_all(self._books, job_id)
            self._books.settle_job(job_id)
            return copy.deepcopy(self._books.jobs[job_id])

    def delete_job(self, job_id: str, *, if_version: int | None = None) -> None:
        """Hide an ended job from all lists; see `JobStore.delete_job`."""
        with self._books.call():
            job = self._books.get_job(job_id)
            if if_version is not None:
                _check_version(job, if_version)
            _check_action(job, "delete")
            self._books.change_job(job_id, {})
            self._books.notes[job_id].is_deleted = True

    def list_trials(self, job_id: str) -> list[TrialRecord]:
        """Return the trials of a job in the order they were given."""
        with self._books.call():
            return copy.deepcopy(self._books.list_trials(job_id)) if job_id in self._books.jobs else []

    def get_trial(self, trial_id: str) -> TrialRecord:
        """Return a trial, or raise NotFoundError."""
        with self._books.call():
            if trial_id not in self._books.trials:
                raise NotFoundError
            return copy.deepcopy(self._books.trials[trial_id])

    def list_attempts(self, trial_id: str) -> list[AttemptRecord]:
        """Return the attempts at a trial, oldest first."""
        with self._books.call():
            attempts = [each for each in self._books.attempts.values() if each.trial_id == trial_id]
            return sorted(attempts, key=lambda attempt: attempt.number)


def stop_job(books: Books, job_id: str, mode: StopMode, reason: Reason) -> JobRecord:
    """Stop a job and return it; see `JobStore.stop_job`."""
    job = books.get_job(job_id)
    _check_action(job, mode.value)
    if job.state.is_terminal or job.stop_requested in (mode, StopMode.KILL):
        return job
    books.notes[job_id].stop_reason = reason
    books.notes[job_id].stop_at = books.now
    books.change_job(job_id, {"stop_requested": mode})
    ended = {"reason": reason, "message": STOP_MESSAGES.get(reason, "")}
    states = [TrialState.QUEUED] if mode is StopMode.CANCEL else [TrialState.QUEUED, TrialState.RUNNING]
    for trial in books.list_trials(job_id, *states):
        books.move_trial(trial.id, TrialState.CANCELLED, ended)
    if mode is StopMode.KILL:
        for attempt in list(books.attempts.values()):
            if attempt.job_id == job_id and attempt.state is AttemptState.RUNNING:
                lost: dict[str, Any] = ended | {"state": AttemptState.LOST, "ended_at": books.now}
                books.attempts[attempt.id] = replace(attempt, **lost)
    books.settle_job(job_id)
    return books.jobs[job_id]


def take_over(books: Books, trial_id: str, origin: TrialRecord) -> None:
    """Finish a queued trial with what its twin found."""
    trial = books.trials[trial_id]
    values = {"reason": None, "message": "", "reused_from": origin.id, "result": copy.deepcopy(origin.result)}
    books.move_trial(trial_id, TrialState.SUCCEEDED, values)
    for found in list(books.architectures.values()):
        if found.trial_id == origin.id:
            job = books.jobs[trial.job_id]
            fresh: dict[str, Any] = {"id": new_id("arch"), "job_id": job.id, "trial_id": trial_id, "name": trial.name}
            fresh |= {"study_key": job.study_key, "owner": job.owner}
            twin = replace(found, **fresh, created_at=books.now)
            books.copied.add(twin.id)
            books.add_architecture(twin)


def check_same_request(known: Response, key: Idempotency) -> SavedResponse:
    """Return the answer of a key, or raise IdempotencyMismatchError if it answered another request."""
    if known.key != key:
        raise IdempotencyMismatchError
    return known.answer


def cut_page(rows: Iterable[Any], query: JobQuery | ArchitectureQuery) -> list[Any]:
    """Return the page of a list that a query asks for; what is not known comes last, both ways."""
    name, descending = read_sort(query)

    def place(value: Any, row_id: str) -> tuple[Any, str]:
        if name in ("delta_m", "best_delta_m") and value is None:
            value = float("-inf" if descending else "inf")
        if name == "created_at" and isinstance(value, str):
            value = datetime.fromisoformat(value)
        return value, row_id

    def place_of(row: Any) -> tuple[Any, str]:
        return place(getattr(row, name), row.id)

    ordered = sorted(rows, key=place_of, reverse=descending)
    if query.after is not None:
        last = place(*query.after)
        ordered = [row for row in ordered if (place_of(row) < last if descending else place_of(row) > last)]
    return ordered[: query.limit]


def _is_wanted(job: JobRecord, query: JobQuery) -> bool:
    """Return whether a job fulfils what a query asks."""
    label = query.label
    return (
        (query.owner is None or job.owner == query.owner)
        and (not query.kinds or job.kind in query.kinds)
        and (not query.states or job.state in query.states)
        and (label is None or job.labels.get(label[0]) == label[1])
        and (query.task is None or query.task in (job.spec.get("tasks") or ()))
        and (query.dataset is None or job.spec.get("dataset") == query.dataset)
        and (query.backbone is None or job.spec.get("backbone") == query.backbone)
        and (query.study_key is None or job.study_key == query.study_key)
        and (query.architecture_id is None or job.architecture_id == query.architecture_id)
        and (query.name_contains is None or query.name_contains.lower() in job.name.lower())
        and (query.created_after is None or job.created_at > query.created_after)
        and (query.created_before is None or job.created_at < query.created_before)
    )


def _check_limits(books: Books, owner: str, limits: QueueLimits) -> None:
    """Return when one more job is welcome, or raise QueueFullError."""
    owners = [job.owner for job in books.jobs.values() if not job.state.is_terminal]
    if len(owners) >= limits.total or owners.count(owner) >= limits.per_owner:
        raise QueueFullError


def _make_job(books: Books, new: NewJob) -> JobRecord:
    """Return the job just made, its trials that have a twin's result finished."""
    job_id = new_id(new.kind.id_prefix)
    values = {name: value for name, value in vars(new).items() if name not in ("trials", "deadline_seconds")}
    books.jobs[job_id] = JobRecord(
        **values | {"id": job_id, "notes": "", "state": JobState.QUEUED, "reason": None, "message": ""},
        stop_requested=None,
        created_at=books.now,
        started_at=None,
        finished_at=None,
        deadline_at=_find_deadline(books.now, new.deadline_seconds),
        trials_total=len(new.trials),
        trials_done=0,
        progress=0.0,
        best_delta_m=None,
        version=0,
    )
    books.notes[job_id] = Notes(new.deadline_seconds)
    for trial in new.trials:
        record = _make_trial(trial, job_id, books.now)
        books.trials[record.id] = record
        books.notes[job_id].trial_ids.append(record.id)
    books.change_job(job_id, {})
    books.tell_state(job_id)
    _take_over_all(books, job_id)
    books.settle_job(job_id)
    return books.jobs[job_id]


def _make_trial(new: NewTrial, job_id: str, now: datetime) -> TrialRecord:
    """Return a trial that waits."""
    values = vars(new) | {"id": new_id("tria"), "job_id": job_id, "created_at": now, "state": TrialState.QUEUED}
    values |= dict.fromkeys(("reason", "not_before", "reused_from", "result", "started_at", "finished_at"))
    values |= dict.fromkeys(("attempts", "failures", "step", "total_steps"), 0)
    return TrialRecord(**values, message="", stage="")


def _take_over_all(books: Books, job_id: str) -> None:
    """Finish the queued trials whose result a twin has found."""
    for trial in books.list_trials(job_id, TrialState.QUEUED):
        same = [twin for twin in books.trials.values() if twin.reuse_key == trial.reuse_key]
        found = [twin for twin in same if twin.state is TrialState.SUCCEEDED and twin.reused_from is None]
        if trial.reuse_key is not None and found:
            take_over(books, trial.id, found[-1])


def _find_deadline(now: datetime, seconds: float | None) -> datetime | None:
    return None if seconds is None else now + timedelta(seconds=seconds)


def _check_version(job: JobRecord, if_version: int) -> None:
    if job.version != if_version:
        raise StaleVersionError


def _check_action(job: JobRecord, action: str) -> None:
    if job.state not in ALLOWED_ACTIONS[action]:
        raise IllegalMoveError
