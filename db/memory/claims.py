"""Claims and endings in memory: who gets which trial, what attempts tell, how they and their jobs end."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

from db.memory.books import Books, MemoryPart
from db.memory.jobs import stop_job, take_over
from db.questions import WorkerHello
from db.records.access import WorkerRecord
from db.records.jobs import (
    AttemptRecord,
    Claim,
    ClaimedTrial,
    HeartbeatReply,
    JobRecord,
    Json,
    Progress,
    Resources,
    TrialRecord,
)
from db.records.results import ArchitectureRecord, NewArchitecture
from db.records.states import AttemptState, Reason, StopMode, TrialState
from db.rules import (
    PROGRESS_EVENT_SECONDS,
    WORKER_LIST_SECONDS,
    WORKER_TOUCH_SECONDS,
    EndedAttempt,
    Ending,
    compute_pause_seconds,
    describe_unfit,
    find_delta_m,
    fits,
    judge,
    merge_single_metrics,
    new_id,
)
from db.stores import Score


class MemoryClaims(MemoryPart):
    """The part of the store that workers and their attempts talk to."""

    def claim(self, worker: WorkerHello, *, lease_seconds: float, max_trials: int) -> Claim | None:
        """Hand out waiting trials of one job; see `JobStore.claim`."""
        with self._books.call():
            _note_worker(self._books, worker)
            for job in _list_candidates(self._books, worker.capacity):
                trials = list(_list_free_trials(self._books, job.id))[:max_trials]
                if trials:
                    claimed = [_start_attempt(self._books, trial, worker.id, lease_seconds) for trial in trials]
                    self._books.settle_job(job.id)
                    return copy.deepcopy(Claim(self._books.jobs[job.id], tuple(claimed)))
            return None

    def heartbeat(self, attempt_id: str, *, lease_seconds: float, progress: Progress | None) -> HeartbeatReply:
        """Renew a lease and note the progress; raise LeaseLostError or NotFoundError."""
        with self._books.call() as now:
            attempt = self._books.get_lease(attempt_id)
            lease_until = now + timedelta(seconds=lease_seconds)
            told = {} if progress is None else vars(progress) | {"begun_at": attempt.begun_at or now}
            self._books.attempts[attempt_id] = replace(attempt, lease_until=lease_until, heartbeat_at=now, **told)
            if progress is not None:
                _note_progress(self._books, attempt.trial_id, progress)
            worker = self._books.workers.get(attempt.worker_id)
            if worker is not None and self._books.is_older(worker.last_seen_at, WORKER_TOUCH_SECONDS):
                self._books.workers[worker.id] = replace(worker, last_seen_at=now)
            return HeartbeatReply(lease_until, self._books.jobs[attempt.job_id].stop_requested)

    def complete(
        self, attempt_id: str, result: Json, architecture: NewArchitecture | None, *, score: Score
    ) -> TrialRecord:
        """End an attempt well; see `JobStore.complete`."""
        with self._books.call() as now:
            attempt = self._books.attempts.get(attempt_id)
            if attempt is not None and attempt.state is AttemptState.SUCCEEDED:
                return copy.deepcopy(self._books.trials[attempt.trial_id])
            attempt = self._books.get_lease(attempt_id)
            self._books.attempts[attempt_id] = replace(attempt, state=AttemptState.SUCCEEDED, ended_at=now)
            values = {"reason": None, "message": "", "result": copy.deepcopy(dict(result))}
            self._books.move_trial(attempt.trial_id, TrialState.SUCCEEDED, values)
            trial = self._books.trials[attempt.trial_id]
            if architecture is not None:
                _add_architecture(self._books, trial, copy.deepcopy(architecture), score)
            self._books.settle_job(trial.job_id)
            for twin in list(self._books.trials.values()):
                if trial.reuse_key is not None and twin.reuse_key == trial.reuse_key and not twin.state.is_terminal:
                    take_over(self._books, twin.id, trial)
                    self._books.settle_job(twin.job_id)
            if trial.kind == "single":
                _score_study(self._books, self._books.jobs[trial.job_id].study_key, score)
            return copy.deepcopy(trial)

    def fail(self, attempt_id: str, reason: Reason, message: str) -> TrialRecord:
        """End an attempt badly; see `JobStore.fail`."""
        with self._books.call():
            return _end(self._books, self._books.get_lease(attempt_id), Ending.FAIL, (reason, message))

    def release(self, attempt_id: str, reason: Reason, message: str) -> TrialRecord:
        """Give a trial back; see `JobStore.release`."""
        with self._books.call():
            return _end(self._books, self._books.get_lease(attempt_id), Ending.RELEASE, (reason, message))

    def check_lease(self, attempt_id: str) -> AttemptRecord:
        """Return the attempt if it holds its trial now; raise LeaseLostError or NotFoundError."""
        with self._books.call():
            return self._books.get_lease(attempt_id)

    def sweep(self) -> int:
        """End attempts whose lease ran out and jobs that cannot go on."""
        with self._books.call() as now:
            running = [each for each in self._books.attempts.values() if each.state is AttemptState.RUNNING]
            expired = [attempt for attempt in running if attempt.lease_until <= now]
            for attempt in sorted(expired, key=lambda each: each.lease_until):
                self._books.next_transaction()
                message = "Its worker was not heard of for longer than its lease."
                _end(self._books, attempt, Ending.LOSE, (Reason.LEASE_LOST, message))
            jobs = [job.id for job in self._books.jobs.values() if not job.state.is_terminal]
            late = sum(_stop_late(self._books, job_id) for job_id in jobs)
            return len(expired) + late + sum(_judge_fit(self._books, job_id) for job_id in jobs)

    def list_workers(self) -> list[WorkerRecord]:
        """Return the workers seen in the last day, the newest first."""
        with self._books.call():
            seen = [
                worker
                for worker in self._books.workers.values()
                if not self._books.is_older(worker.last_seen_at, WORKER_LIST_SECONDS)
            ]
            return sorted(sorted(seen, key=lambda each: each.id), key=lambda each: each.last_seen_at, reverse=True)


def _list_candidates(books: Books, capacity: Resources) -> list[JobRecord]:
    """Return the jobs that may be worked at, in the order they are to be served."""
    running: dict[str, int] = {}
    for trial in books.trials.values():
        owner = books.jobs[trial.job_id].owner
        running[owner] = running.get(owner, 0) + (trial.state is TrialState.RUNNING)
    waiting = [
        job
        for job in books.jobs.values()
        if books.list_trials(job.id, TrialState.QUEUED)
        and job.stop_requested is None
        and (job.deadline_at is None or job.deadline_at > books.now)
        and fits(job.resources, [capacity])
    ]
    oldest: dict[tuple[int, str], Any] = {}
    for job in waiting:
        turn = (job.priority, job.owner)
        oldest[turn] = min(oldest.get(turn, job.created_at), job.created_at)

    def turn_of(job: JobRecord) -> tuple[Any, ...]:
        since = oldest[job.priority, job.owner]
        return -job.priority, running[job.owner], since, job.owner, job.created_at, job.id

    return sorted(waiting, key=turn_of)


def _list_free_trials(books: Books, job_id: str) -> Iterator[TrialRecord]:
    """Yield the trials of a job that may start now, at most one of the same twins."""
    busy = {trial.reuse_key for trial in books.trials.values() if trial.state is TrialState.RUNNING}
    for trial in books.list_trials(job_id, TrialState.QUEUED):
        rested = trial.not_before is None or trial.not_before <= books.now
        if rested and (trial.reuse_key is None or trial.reuse_key not in busy):
            busy.add(trial.reuse_key)
            yield trial


def _start_attempt(books: Books, trial: TrialRecord, worker_id: str, lease_seconds: float) -> ClaimedTrial:
    """Return a trial, running now, and the attempt that holds it."""
    now = books.now
    attempt = AttemptRecord(
        id=new_id("attm"),
        trial_id=trial.id,
        job_id=trial.job_id,
        number=trial.attempts + 1,
        worker_id=worker_id,
        state=AttemptState.RUNNING,
        reason=None,
        message="",
        lease_until=now + timedelta(seconds=lease_seconds),
        heartbeat_at=now,
        started_at=now,
        ended_at=None,
        stage="",
        step=0,
        total_steps=0,
    )
    books.attempts[attempt.id] = attempt
    values = {"attempts": attempt.number, "started_at": trial.started_at or now, "not_before": None}
    books.move_trial(trial.id, TrialState.RUNNING, values | {"reason": None, "message": ""})
    files = sorted((file for file in books.files.values() if file.trial_id == trial.id), key=lambda file: file.name)
    return ClaimedTrial(books.trials[trial.id], attempt, tuple(files))


def _note_worker(books: Books, worker: WorkerHello) -> None:
    known = books.workers.get(worker.id)
    first_seen_at = books.now if known is None else known.first_seen_at
    size = worker.capacity
    record = WorkerRecord(worker.id, worker.name, worker.version, size.cpus, size.gpus, first_seen_at, books.now)
    is_same = known is not None and replace(known, last_seen_at=books.now) == record
    if known is None or not is_same or books.is_older(known.last_seen_at, WORKER_TOUCH_SECONDS):
        books.workers[worker.id] = record


def _note_progress(books: Books, trial_id: str, progress: Progress) -> None:
    """Store how far a trial is, and tell of it at most once a second."""
    trial, told = books.trials[trial_id], vars(progress)
    if all(getattr(trial, name) == value for name, value in told.items()):
        return
    books.trials[trial_id] = replace(trial, **told)
    books.recount(trial.job_id)
    last = books.progress_at.get(trial_id)
    if last is None or books.is_older(last, PROGRESS_EVENT_SECONDS):
        books.progress_at[trial_id] = books.now
        share = books.jobs[trial.job_id].progress
        books.add_event(trial.job_id, "progress", {"trial_id": trial_id, **told, "progress": share})


def _end(books: Books, attempt: AttemptRecord, ending: Ending, cause: tuple[Reason, str]) -> TrialRecord:
    """End an attempt other than well, and return its trial."""
    job, trial = books.jobs[attempt.job_id], books.trials[attempt.trial_id]
    stop_reason = books.notes[job.id].stop_reason if job.stop_requested else None
    has_begun, number = attempt.begun_at is not None, attempt.number
    end = EndedAttempt(ending, *cause, trial.failures, job.max_attempts, stop_reason, has_begun, number)
    verdict = judge(end)
    ended = replace(attempt, state=verdict.attempt_state, reason=cause[0], message=cause[1], ended_at=books.now)
    books.attempts[attempt.id] = ended
    values: dict[str, Any] = {name: getattr(verdict, name) for name in ("reason", "message", "failures")}
    if verdict.pause:
        seconds = compute_pause_seconds(verdict.failures, books.policy, random.random())
        values["not_before"] = books.now + timedelta(seconds=seconds)
    books.move_trial(trial.id, verdict.trial_state, values)
    books.settle_job(job.id)
    return copy.deepcopy(books.trials[trial.id])


def _add_architecture(books: Books, trial: TrialRecord, new: NewArchitecture, score: Score) -> None:
    """Keep the network that a trial found, scored if its study has the baselines."""
    job = books.jobs[trial.job_id]
    values: dict[str, Any] = dict(vars(new)) | {"id": new_id("arch"), "job_id": job.id, "trial_id": trial.id}
    if new.delta_m is None and new.metrics:
        values["delta_m"] = find_delta_m(new.metrics, _read_singles(books, job.study_key), new.tasks, score)
    record = ArchitectureRecord(**values, study_key=job.study_key, owner=job.owner, created_at=books.now)
    books.add_architecture(record)


def _score_study(books: Books, study_key: str, score: Score) -> None:
    """Give the networks of a study the delta_m that can be known now."""
    singles = _read_singles(books, study_key)
    for found in list(books.architectures.values()):
        if found.study_key == study_key and found.delta_m is None and found.metrics is not None:
            delta_m = find_delta_m(found.metrics, singles, found.tasks, score)
            if delta_m is not None:
                books.add_architecture(replace(found, delta_m=delta_m))


def _read_singles(books: Books, study_key: str) -> dict[str, Any]:
    """Return {task: metric} of the single-task networks of a study."""
    singles = [
        trial
        for trial in books.trials.values()
        if trial.kind == "single" and trial.result is not None and trial.reused_from is None
    ]
    mine = [trial for trial in singles if books.jobs[trial.job_id].study_key == study_key]
    mine.sort(key=lambda trial: (trial.finished_at, trial.id))
    return merge_single_metrics(trial.result for trial in mine if trial.result is not None)


def _stop_late(books: Books, job_id: str) -> int:
    """Return 1 after asking a job past its deadline to stop, or ending it when it has not stopped in time."""
    books.next_transaction()
    job, stop_at = books.jobs[job_id], books.notes[job_id].stop_at
    if job.state.is_terminal or job.deadline_at is None or job.deadline_at > books.now:
        return 0
    if stop_at is None:
        stop_job(books, job_id, StopMode.CANCEL, Reason.DEADLINE)
        return 1
    if not books.is_older(max(stop_at, job.deadline_at), books.policy.stop_grace_seconds):
        return 0
    stop_job(books, job_id, StopMode.KILL, Reason.DEADLINE)
    return 1


def _judge_fit(books: Books, job_id: str) -> int:
    """Return 1 after failing the waiting trials of a job that has fitted no live worker for too long, else 0."""
    books.next_transaction()
    job, notes = books.jobs[job_id], books.notes[job_id]
    waiting = books.list_trials(job_id, TrialState.QUEUED)
    patience = books.policy.worker_live_seconds
    live = [worker for worker in books.workers.values() if not books.is_older(worker.last_seen_at, patience)]
    offered = [Resources(cpus=worker.cpus, gpus=worker.gpus) for worker in live]
    if not offered or not waiting or fits(job.resources, offered):
        notes.unfit_since = None
        return 0
    notes.unfit_since = notes.unfit_since or books.now
    if not books.is_older(notes.unfit_since, books.policy.unschedulable_seconds):
        return 0
    for trial in waiting:
        values = {"reason": Reason.UNSCHEDULABLE, "message": describe_unfit(job.resources)}
        books.move_trial(trial.id, TrialState.FAILED, values)
    books.settle_job(job_id)
    return 1
