"""Ends of attempts and of jobs in SQL: complete, and the sweep that ends what nobody else ends.

A result, the state it leads to, its twins' states, the scores it makes possible and the events are one transaction.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import select

from db.errors import NotFoundError
from db.records.jobs import Json, Resources, TrialRecord
from db.records.results import NewArchitecture
from db.records.states import AttemptState, JobState, Reason, StopMode, TrialState
from db.rules import EndedAttempt, Ending, compute_pause_seconds, describe_unfit, fits, judge
from db.sql import schema
from db.sql.engine import Transaction
from db.sql.jobs import stop_held_job
from db.sql.ledger import Ledger, Row, SqlPart, find_attempt, get_trial_row, hold_attempt, require_lease
from db.sql.rows import trial_record
from db.sql.twins import add_architecture, lock_study, score_study, store_result, take_over
from db.stores import Score

_SWEPT_AT_ONCE = 1_000


class SqlEndings(SqlPart):
    """The part of the store by which attempts and jobs end."""

    def complete(
        self, attempt_id: str, result: Json, architecture: NewArchitecture | None, *, score: Score
    ) -> TrialRecord:
        """End an attempt well; see `JobStore.complete`."""

        def work(ledger: Ledger) -> TrialRecord:
            origin = _hold_all_concerned(ledger, attempt_id, architecture)
            attempt = find_attempt(ledger.tx, attempt_id)
            trial = get_trial_row(ledger.tx, attempt["trial_id"])
            if attempt["state"] == AttemptState.SUCCEEDED:
                return trial_record(trial, _read_document(ledger, trial["id"]))
            require_lease(attempt, ledger.now)
            _finish(ledger, attempt, trial, dict(result))
            if architecture is not None:
                add_architecture(ledger, trial, architecture, score)
            ledger.settle_job(trial["job_id"])
            _finish_twins(ledger, trial, dict(result))
            if trial["kind"] == "single":
                score_study(ledger, origin["study_key"], score)
            return trial_record(trial, dict(result))

        return self._change(work)

    def sweep(self) -> int:
        """End attempts whose lease ran out and jobs that cannot go on; each in a transaction of its own."""
        swept = sum(self._change(partial(_lose_attempt, attempt_id=each)) for each in self._list_expired())
        swept += sum(self._change(partial(_stop_late, job_id=each)) for each in self._list_late())
        return swept + sum(self._change(partial(_judge_fit, job_id=each)) for each in self._list_unfit())

    def _list_expired(self) -> list[str]:
        """Return the attempts whose lease ran out."""
        attempt, trial = schema.attempt, schema.trial
        both = attempt.join(trial, trial.c.id == attempt.c.trial_id)

        def work(tx: Transaction) -> list[str]:
            query = select(attempt.c.id).select_from(both).where(schema.ATTEMPT_RUNS, attempt.c.lease_until <= tx.now)
            # Those of one claim have one lease: they end in the order of their trials.
            query = query.order_by(attempt.c.lease_until, trial.c.position)
            return list(tx.execute(query.limit(_SWEPT_AT_ONCE)).scalars())

        return self._database.read(work)

    def _list_late(self) -> list[str]:
        """Return the unfinished jobs whose deadline has passed."""
        job = schema.job

        def work(tx: Transaction) -> list[str]:
            late = schema.JOB_IS_OPEN & job.c.deadline_at.is_not(None) & (job.c.deadline_at <= tx.now)
            return list(tx.execute(select(job.c.id).where(late).order_by(job.c.id).limit(_SWEPT_AT_ONCE)).scalars())

        return self._database.read(work)

    def _list_unfit(self) -> list[str]:
        """Return the waiting jobs that fit no live worker, or that were noted as such, if there is a worker at all."""
        job = schema.job

        def work(tx: Transaction) -> list[str]:
            offered = _list_capacities(tx, self._policy.worker_live_seconds)
            sizes = select(job.c.cpus, job.c.gpus).distinct().where(schema.JOB_WAITS)
            unfit = [row for row in tx.list_rows(sizes) if not fits(Resources(**row), offered)] if offered else []
            concerned = job.c.unfit_since.is_not(None)
            for size in unfit:
                concerned |= (job.c.cpus == size["cpus"]) & (job.c.gpus == size["gpus"])
            query = select(job.c.id).where(schema.JOB_WAITS, concerned).order_by(job.c.created_at)
            return list(tx.execute(query.limit(_SWEPT_AT_ONCE)).scalars())

        return self._database.read(work)


def end_attempt(ledger: Ledger, attempt: Row, ending: Ending, reason: Reason, message: str) -> Row:
    """End an attempt of a held job other than well, and return the row of its trial."""
    job, trial = ledger.job(attempt["job_id"]), get_trial_row(ledger.tx, attempt["trial_id"])
    stop_reason = Reason(job["stop_reason"]) if job["stop_requested"] else None
    has_begun, number = attempt["begun_at"] is not None, attempt["number"]
    failures = trial["failures"]
    end = EndedAttempt(ending, reason, message, failures, job["max_attempts"], stop_reason, has_begun, number)
    verdict = judge(end)
    _close_attempt(ledger, attempt, verdict.attempt_state, reason, message)
    values: Row = {
        "reason": verdict.reason and verdict.reason.value,
        "message": verdict.message,
        "failures": verdict.failures,
    }
    if verdict.pause:
        seconds = compute_pause_seconds(verdict.failures, ledger.policy, random.random())
        values["not_before"] = ledger.now + timedelta(seconds=seconds)
    ledger.move_trial(trial, verdict.trial_state, values)
    ledger.settle_job(job["id"])
    return trial


def _close_attempt(ledger: Ledger, attempt: Row, state: AttemptState, reason: Reason | None, message: str) -> None:
    values = {"state": state.value, "reason": reason and reason.value, "message": message, "ended_at": ledger.now}
    ledger.tx.update_row(schema.attempt, attempt["id"], values)


def _hold_all_concerned(ledger: Ledger, attempt_id: str, architecture: NewArchitecture | None) -> Row:
    """Hold every job that the success of an attempt may change, and return its trial's kind and keys."""
    attempt, trial, job = schema.attempt, schema.trial, schema.job
    joined = attempt.join(trial, trial.c.id == attempt.c.trial_id).join(job, job.c.id == attempt.c.job_id)
    columns = (trial.c.id, trial.c.job_id, trial.c.kind, trial.c.reuse_key, job.c.study_key)
    row = ledger.tx.find_row(select(*columns).select_from(joined).where(attempt.c.id == attempt_id))
    if row is None:
        raise NotFoundError
    scores = row["kind"] == "single"
    study_key = row["study_key"] if scores or architecture is not None else None
    lock_study(ledger, study_key, [row["reuse_key"]] if row["reuse_key"] else [])
    job_ids = {row["job_id"]}
    if row["reuse_key"]:
        job_ids |= set(ledger.tx.execute(_waiting_twins(row, trial.c.job_id)).scalars())
    if scores:
        table = schema.architecture
        unscored = select(table.c.job_id).where(table.c.study_key == study_key, schema.ARCHITECTURE_AWAITS_SCORE)
        job_ids |= set(ledger.tx.execute(unscored.distinct()).scalars())
    ledger.hold_jobs(job_ids)
    return row


def _waiting_twins(trial: Row, *columns: Any) -> Any:
    """Return the query of the queued trials that wait for this one."""
    table = schema.trial
    same = table.c.reuse_key == trial["reuse_key"]
    return select(*columns).where(same, schema.TRIAL_WAITS, table.c.id != trial["id"]).order_by(table.c.id)


def _finish(ledger: Ledger, attempt: Row, trial: Row, document: Json) -> None:
    """Store the result of an attempt that holds its trial."""
    _close_attempt(ledger, attempt, AttemptState.SUCCEEDED, None, "")
    store_result(ledger, trial, document, attempt_id=attempt["id"])
    ledger.move_trial(trial, TrialState.SUCCEEDED, {"reason": None, "message": ""})


def _finish_twins(ledger: Ledger, trial: Row, document: Json) -> None:
    """Give the trials that waited for this one its result."""
    if not trial["reuse_key"]:
        return
    own = ledger.tx.find_row(select(schema.architecture).where(schema.architecture.c.trial_id == trial["id"]))
    origin = {"id": trial["id"], "document": document, "architecture": own}
    for twin in ledger.tx.list_rows(_waiting_twins(trial, schema.trial)):
        take_over(ledger, twin, origin)
        ledger.settle_job(twin["job_id"])


def _read_document(ledger: Ledger, trial_id: str) -> Any:
    return ledger.tx.execute(select(schema.result.c.document).where(schema.result.c.trial_id == trial_id)).scalar_one()


def _lose_attempt(ledger: Ledger, attempt_id: str) -> int:
    """Return 1 after ending an attempt whose lease has run out, 0 if it was renewed or ended meanwhile."""
    attempt = hold_attempt(ledger, attempt_id)
    if attempt["state"] != AttemptState.RUNNING or attempt["lease_until"] > ledger.now:
        return 0
    message = "Its worker was not heard of for longer than its lease."
    end_attempt(ledger, attempt, Ending.LOSE, Reason.LEASE_LOST, message)
    return 1


def _stop_late(ledger: Ledger, job_id: str) -> int:
    """Return 1 after asking a job past its deadline to stop, or ending it when it has not stopped in time."""
    job = ledger.hold_job(job_id)
    if JobState(job["state"]).is_terminal or job["deadline_at"] is None or job["deadline_at"] > ledger.now:
        return 0
    if job["stop_requested"] is None:
        stop_held_job(ledger, job_id, StopMode.CANCEL, Reason.DEADLINE)
        return 1
    if ledger.now < max(job["stop_at"], job["deadline_at"]) + timedelta(seconds=ledger.policy.stop_grace_seconds):
        return 0
    stop_held_job(ledger, job_id, StopMode.KILL, Reason.DEADLINE)
    return 1


def _judge_fit(ledger: Ledger, job_id: str) -> int:
    """Return 1 after failing the waiting trials of a job that has fitted no live worker for too long, else 0."""
    job = ledger.hold_job(job_id)
    wanted = Resources(cpus=job["cpus"], gpus=job["gpus"])
    offered = _list_capacities(ledger.tx, ledger.policy.worker_live_seconds)
    since = job["unfit_since"]
    if not offered or fits(wanted, offered) or not job["trials_waiting"]:
        if since is not None:
            ledger.change_job(job_id, {"unfit_since": None}, visible=False)
        return 0
    if since is None:
        ledger.change_job(job_id, {"unfit_since": ledger.now}, visible=False)
        return 0
    if ledger.now - since < timedelta(seconds=ledger.policy.unschedulable_seconds):
        return 0
    values = {"reason": Reason.UNSCHEDULABLE.value, "message": describe_unfit(wanted)}
    for trial in _list_waiting(ledger, job_id):
        ledger.move_trial(trial, TrialState.FAILED, values)
    ledger.settle_job(job_id)
    return 1


def _list_waiting(ledger: Ledger, job_id: str) -> Iterator[Row]:
    query = select(schema.trial).where(schema.trial.c.job_id == job_id, schema.TRIAL_WAITS)
    yield from ledger.tx.list_rows(query.order_by(schema.trial.c.position))


def _list_capacities(tx: Transaction, live_seconds: float) -> list[Resources]:
    """Return what the live workers offer to one trial."""
    worker = schema.worker
    live = worker.c.last_seen_at > tx.now - timedelta(seconds=live_seconds)
    return [Resources(**row) for row in tx.list_rows(select(worker.c.cpus, worker.c.gpus).where(live).distinct())]
