"""Jobs in SQL: submit, look up, change, stop, resume, delete; and their trials.

One transaction each. A trial whose result someone else's twin has found already takes it over at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select, update

from db.errors import (
    DbError,
    IdempotencyBusyError,
    IdempotencyMismatchError,
    IllegalMoveError,
    NotFoundError,
    StaleVersionError,
)
from db.questions import Idempotency, JobChanges, QueueLimits
from db.records.access import SavedResponse
from db.records.jobs import AttemptRecord, JobRecord, NewJob, NewTrial, TrialRecord
from db.records.states import ALLOWED_ACTIONS, AttemptState, JobState, Reason, StopMode, TrialState
from db.rules import STOP_MESSAGES, Policy, clean_text, new_id
from db.sql import schema
from db.sql.engine import Database
from db.sql.ledger import Ledger, Row, SqlPart
from db.sql.queue_gauge import QueueGauge
from db.sql.rows import attempt_record, job_record, trial_record
from db.sql.twins import find_origins, lock_study, lock_study_for_submit, take_over


class SqlJobs(SqlPart):
    """The part of the store that people act on."""

    def __init__(self, database: Database, policy: Policy) -> None:
        super().__init__(database, policy)
        self._gauge = QueueGauge()

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

        def work(ledger: Ledger) -> tuple[JobRecord, SavedResponse | None]:
            if idempotency is not None:
                known = _find_submitted(ledger, idempotency)
                if known is not None:
                    return known
            self._gauge.check(ledger, job.owner, limits)
            record = make_job(ledger, job)
            if idempotency is not None:
                answer = SavedResponse(202, {}, b"") if respond is None else respond(record)
                row = response_row(idempotency, answer, ledger, record.id)
                ledger.tx.insert_rows(schema.idempotency_key, [row])
            return record, None

        return self._change(work, durable=True)

    def get_job(self, job_id: str) -> JobRecord:
        """Return a job that is not deleted, or raise NotFoundError."""
        query = select(schema.job).where(schema.job.c.id == job_id, schema.JOB_IS_LISTED)
        row = self._database.read(lambda tx: tx.find_row(query))
        if row is None:
            raise NotFoundError
        return job_record(row)

    def count_jobs(self) -> dict[JobState, int]:
        """Return how many jobs that are not deleted stand in each state."""
        query = select(schema.job.c.state, func.count()).where(schema.JOB_IS_LISTED).group_by(schema.job.c.state)
        counts = dict.fromkeys(JobState, 0)
        rows = self._database.read(lambda tx: tx.list_tuples(query))
        return counts | {JobState(state): number for state, number in rows}

    def update_job(self, job_id: str, changes: JobChanges, *, if_version: int) -> JobRecord:
        """Change a job that still has this version; see `JobStore.update_job`."""

        def work(ledger: Ledger) -> JobRecord:
            job = ledger.hold_job(job_id)
            _check_version(job, if_version)
            values = {name: value for name, value in vars(changes).items() if value is not None}
            if "labels" in values:
                values["labels"] = _clean_labels(values["labels"])
                ledger.tx.execute(delete(schema.job_label).where(schema.job_label.c.job_id == job_id))
                ledger.tx.insert_rows(schema.job_label, _label_rows(job_id, values["labels"]))
            changed = {name: value for name, value in values.items() if job[name] != value}
            if changed:
                ledger.change_job(job_id, changed)
            return job_record(job)

        return self._change(work, durable=True)

    def stop_job(self, job_id: str, mode: StopMode, reason: Reason) -> JobRecord:
        """Ask a job to stop; see `JobStore.stop_job`."""
        return self._change(lambda ledger: job_record(stop_held_job(ledger, job_id, mode, reason)), durable=True)

    def resume_job(self, job_id: str) -> JobRecord:
        """Queue the unfinished trials of an ended job again; see `JobStore.resume_job`."""

        def work(ledger: Ledger) -> JobRecord:
            _lock_twins(ledger, job_id)
            job = ledger.hold_job(job_id)
            _check_action(job, "resume")
            _queue_again(ledger, job)
            return job_record(job)

        return self._change(work, durable=True)

    def delete_job(self, job_id: str, *, if_version: int | None = None) -> None:
        """Hide an ended job from all lists; see `JobStore.delete_job`."""

        def work(ledger: Ledger) -> None:
            job = ledger.hold_job(job_id)
            if if_version is not None:
                _check_version(job, if_version)
            _check_action(job, "delete")
            ledger.change_job(job_id, {"deleted_at": ledger.now})

        self._change(work, durable=True)

    def list_trials(self, job_id: str) -> list[TrialRecord]:
        """Return the trials of a job in the order they were given."""
        query = _trials_with_results().where(schema.trial.c.job_id == job_id).order_by(schema.trial.c.position)
        return [trial_record(row, row["document"]) for row in self._database.read(lambda tx: tx.list_rows(query))]

    def get_trial(self, trial_id: str) -> TrialRecord:
        """Return a trial, or raise NotFoundError."""
        query = _trials_with_results().where(schema.trial.c.id == trial_id)
        row = self._database.read(lambda tx: tx.find_row(query))
        if row is None:
            raise NotFoundError
        return trial_record(row, row["document"])

    def list_attempts(self, trial_id: str) -> list[AttemptRecord]:
        """Return the attempts at a trial, oldest first."""
        query = select(schema.attempt).where(schema.attempt.c.trial_id == trial_id).order_by(schema.attempt.c.number)
        return [attempt_record(row) for row in self._database.read(lambda tx: tx.list_rows(query))]


def stop_held_job(ledger: Ledger, job_id: str, mode: StopMode, reason: Reason) -> Row:
    """Stop a job in the books and return its row; see `JobStore.stop_job`."""
    job = ledger.hold_job(job_id)
    _check_action(job, mode.value)
    asked = job["stop_requested"]
    if JobState(job["state"]).is_terminal or asked in (mode, StopMode.KILL):
        return job
    ledger.change_job(job_id, {"stop_requested": mode.value, "stop_reason": reason.value, "stop_at": ledger.now})
    message = STOP_MESSAGES.get(reason, "")
    ended = {"reason": reason.value, "message": message}
    states = [TrialState.QUEUED] if mode is StopMode.CANCEL else [TrialState.QUEUED, TrialState.RUNNING]
    trial = schema.trial
    query = select(trial).where(trial.c.job_id == job_id, trial.c.state.in_([state.value for state in states]))
    for row in ledger.tx.list_rows(query.order_by(trial.c.position)):
        ledger.move_trial(row, TrialState.CANCELLED, ended)
    if mode is StopMode.KILL:
        lost = ended | {"state": AttemptState.LOST.value, "ended_at": ledger.now}
        running = schema.ATTEMPT_RUNS & (schema.attempt.c.job_id == job_id)
        ledger.tx.execute(update(schema.attempt).where(running).values(lost))
    ledger.settle_job(job_id)
    return job


def response_row(key: Idempotency, answer: SavedResponse, ledger: Ledger, job_id: str | None) -> Row:
    """Return the row that keeps the answer of a key."""
    return vars(key) | {
        "job_id": job_id,
        "status": answer.status,
        "headers": dict(answer.headers),
        "body": answer.body,
        "created_at": ledger.now,
    }


def check_same_request(row: Row, key: Idempotency) -> SavedResponse:
    """Return the answer that a row keeps, or raise IdempotencyMismatchError if it answered another request."""
    if any(row[name] != getattr(key, name) for name in ("method", "path", "body_sha256")):
        raise IdempotencyMismatchError
    return SavedResponse(row["status"], row["headers"], bytes(row["body"]))


def find_key_row(ledger: Ledger, key: Idempotency) -> Row | None:
    """Return the row of an idempotency key, held so that nobody else uses it meanwhile, or None.

    Raises:
        IdempotencyBusyError: Someone else is using it.
    """
    if not ledger.tx.try_lock_name(f"idempotency {key.owner}\n{key.key}"):
        raise IdempotencyBusyError
    table = schema.idempotency_key
    return ledger.tx.find_row(select(table).where(table.c.owner == key.owner, table.c.key == key.key))


def _find_submitted(ledger: Ledger, key: Idempotency) -> tuple[JobRecord, SavedResponse] | None:
    """Return what a key has made before, or None for a new key."""
    row = find_key_row(ledger, key)
    if row is None:
        return None
    answer = check_same_request(row, key)
    job = ledger.tx.find_by_id(schema.job, row["job_id"])
    if job is None:
        raise IdempotencyMismatchError
    return job_record(job), answer


def make_job(ledger: Ledger, new: NewJob) -> JobRecord:
    """Return the job just made, its trials that have a twin's result finished."""
    lock_study_for_submit(ledger, new.study_key, [trial.reuse_key for trial in new.trials if trial.reuse_key])
    job = ledger.insert_job(_job_row(new, ledger))
    ledger.tx.insert_rows(schema.job_label, _label_rows(job["id"], job["labels"]))
    tasks = [clean_text(task) for task in dict.fromkeys(new.spec.get("tasks") or ()) if isinstance(task, str)]
    ledger.tx.insert_rows(schema.job_task, [{"job_id": job["id"], "task": task} for task in tasks])
    trials = [_trial_row(trial, position, job) for position, trial in enumerate(new.trials)]
    ledger.tx.insert_rows(schema.trial, trials)
    _take_over_all(ledger, trials)
    ledger.settle_job(job["id"])
    return job_record(job)


def _take_over_all(ledger: Ledger, trials: Iterable[Row]) -> None:
    """Finish the queued trials whose result a twin has found."""
    queued = [trial for trial in trials if trial["reuse_key"]]
    origins = find_origins(ledger, [trial["reuse_key"] for trial in queued])
    for trial in queued:
        if trial["reuse_key"] in origins:
            take_over(ledger, trial, origins[trial["reuse_key"]])


def _job_row(new: NewJob, ledger: Ledger) -> Row:
    """Return the row of a new job."""
    seconds, now = new.deadline_seconds, ledger.now
    names = "owner name notes spec_hash study_key priority max_attempts retry_of architecture_id".split()
    spec = dict(new.spec)
    row: Row = dict.fromkeys(schema.job.c.keys())
    row |= {name: getattr(new, name, "") for name in names}
    row |= dict.fromkeys([name for name in row if name.startswith("trials_")], 0)
    row |= {"id": new_id(new.kind.id_prefix), "kind": new.kind.value, "spec": spec, "state": JobState.QUEUED.value}
    row |= {"labels": _clean_labels(new.labels), "message": "", "created_at": now, "progress": 0.0, "version": 1}
    row |= {name: spec[name] for name in ("dataset", "backbone") if isinstance(spec.get(name), str)}
    row |= {"cpus": new.resources.cpus, "gpus": new.resources.gpus, "deadline_seconds": seconds}
    row |= {"deadline_at": None if seconds is None else now + timedelta(seconds=seconds)}
    row |= {"trials_total": len(new.trials), "trials_waiting": len(new.trials), "last_event": 0, "last_log": 0}
    return row


def _trial_row(new: NewTrial, position: int, job: Row) -> Row:
    """Return the row of a new trial."""
    row: Row = dict.fromkeys(schema.trial.c.keys())
    row |= vars(new) | {"spec": dict(new.spec), "id": new_id("tria"), "job_id": job["id"], "position": position}
    row |= {"state": TrialState.QUEUED.value, "message": "", "stage": "", "created_at": job["created_at"]}
    row |= dict.fromkeys(("attempts", "failures", "step", "total_steps"), 0)
    return row


def _queue_again(ledger: Ledger, job: Row) -> None:
    """Put the unfinished trials of an ended job back into the queue, as if they had never failed."""
    seconds = job["deadline_seconds"]
    fresh: Row = dict.fromkeys(("stop_requested", "stop_reason", "stop_at", "unfit_since", "finished_at", "reason"))
    fresh |= {"state": JobState.QUEUED.value, "message": ""}
    fresh["deadline_at"] = None if seconds is None else ledger.now + timedelta(seconds=seconds)
    ledger.change_job(job["id"], fresh)
    ledger.tell_state(job["id"])
    trial = schema.trial
    query = select(trial).where(trial.c.job_id == job["id"], trial.c.state != TrialState.SUCCEEDED.value)
    unfinished = ledger.tx.list_rows(query.order_by(trial.c.position))
    for row in unfinished:
        values = {"reason": None, "message": "", "failures": 0, "not_before": None}
        ledger.move_trial(row, TrialState.QUEUED, values)
    _take_over_all(ledger, unfinished)
    ledger.settle_job(job["id"])


def _lock_twins(ledger: Ledger, job_id: str) -> None:
    """Lock the study of a job and the reuse keys of its trials; they never change, so the job need not be held yet."""
    trial = schema.trial
    keys = select(trial.c.reuse_key).where(trial.c.job_id == job_id, trial.c.reuse_key.is_not(None))
    study_key = ledger.tx.execute(select(schema.job.c.study_key).where(schema.job.c.id == job_id)).scalar()
    lock_study(ledger, study_key, ledger.tx.execute(keys).scalars())


def _check_version(job: Row, if_version: int) -> None:
    if job["version"] != if_version:
        raise StaleVersionError


def _check_action(job: Row, action: str) -> None:
    """Return when the state of a job allows an action, or raise IllegalMoveError."""
    state = JobState(job["state"])
    if state not in ALLOWED_ACTIONS[action]:
        allowed = ", ".join(name for name, states in ALLOWED_ACTIONS.items() if state in states)
        raise IllegalMoveError(f"A job that is {state.value} does not allow {action}. It allows: {allowed}.")


def _clean_labels(labels: Any) -> dict[str, str]:
    return {clean_text(name): clean_text(value) for name, value in labels.items()}


def _label_rows(job_id: str, labels: dict[str, str]) -> list[Row]:
    return [{"job_id": job_id, "name": name, "value": value} for name, value in labels.items()]


def _trials_with_results() -> Any:
    """Return the query of trials with the documents of their results."""
    joined = schema.trial.outerjoin(schema.result, schema.result.c.trial_id == schema.trial.c.id)
    return select(schema.trial, schema.result.c.document).select_from(joined)
