"""The books of one transaction: the jobs it holds, how their trials move, and the events that tell of it.

Whoever changes anything of a job holds its row first. So the counts of its trials, its version and the numbers of its
events are plain arithmetic here, written once at the end; the tables check the sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import delete, func, select

from db.errors import LeaseLostError, NotFoundError
from db.records.states import AttemptState, JobState, Reason, TrialState
from db.rules import STOP_MESSAGES, Policy, compute_fraction, roll_up
from db.sql import schema
from db.sql.engine import Database, Transaction

T = TypeVar("T")
Row = dict[str, Any]

COUNTERS: Mapping[TrialState, str] = {
    TrialState.QUEUED: "trials_waiting",
    TrialState.RUNNING: "trials_running",
    TrialState.SUCCEEDED: "trials_succeeded",
    TrialState.FAILED: "trials_failed",
    TrialState.CANCELLED: "trials_cancelled",
}
EVENT_ORDER_LOCK = 0x626D746173
"""Writers of events hold this lock shared while they number and commit them; see `SqlRuns.list_new_events`."""
_PRUNE_EVERY = 1_000


class Ledger:
    """Holds jobs in one transaction, moves their trials and notes the events."""

    def __init__(self, tx: Transaction, policy: Policy) -> None:
        self.tx = tx
        self.policy = policy
        self._jobs: dict[str, Row] = {}
        self._changes: dict[str, Row] = {}
        self._visible: set[str] = set()
        self._events: list[Row] = []

    @property
    def now(self) -> datetime:
        """Return the time of this transaction."""
        return self.tx.now

    def hold_jobs(self, job_ids: Iterable[str]) -> None:
        """Hold these jobs until the end, always in the order of their ids, so that no two wait for each other."""
        wanted = sorted(set(job_ids) - set(self._jobs))
        if len(wanted) == 1:
            row = self.tx.find_by_id(schema.job, wanted[0], lock="wait")
            self._jobs |= {} if row is None else {wanted[0]: row}
        elif wanted:
            query = select(schema.job).where(schema.job.c.id.in_(wanted)).order_by(schema.job.c.id)
            for row in self.tx.list_rows(query.with_for_update(key_share=True)):
                self._jobs[row["id"]] = row

    def hold_job(self, job_id: str) -> Row:
        """Hold one job and return its row, or raise NotFoundError when it is unknown or deleted."""
        if job_id not in self._jobs:
            row = self.tx.find_by_id(schema.job, job_id, lock="wait")
            if row is not None:
                self._jobs[job_id] = row
        job = self._jobs.get(job_id)
        if job is None or job["deleted_at"] is not None:
            raise NotFoundError
        return job

    def adopt_job(self, row: Row) -> Row:
        """Take a row that was locked elsewhere in this transaction."""
        self._jobs[row["id"]] = row
        return row

    def insert_job(self, row: Row) -> Row:
        """Insert a new job, which tells its state at once and keeps its first version in this transaction."""
        self._jobs[row["id"]] = row
        self._visible.add(row["id"])
        self.tell_state(row["id"])
        self.tx.insert_rows(schema.job, [row])
        del self._changes[row["id"]]  # The number of that event is in the row already.
        return row

    def job(self, job_id: str) -> Row:
        """Return the row of a held job, changes included."""
        return self._jobs[job_id]

    def change_job(self, job_id: str, values: Mapping[str, Any], *, visible: bool = True) -> None:
        """Change a held job; its version grows unless the change is for our own use."""
        job, changes = self._jobs[job_id], self._changes.setdefault(job_id, {})
        if visible and job_id not in self._visible:
            self._visible.add(job_id)
            job["version"] = changes["version"] = job["version"] + 1
        job.update(values)
        changes.update(values)

    def add_event(self, job_id: str, kind: str, data: Mapping[str, Any]) -> None:
        """Note an event of a held job, numbered on from its last one."""
        seq = self._jobs[job_id]["last_event"] + 1
        self.change_job(job_id, {"last_event": seq}, visible=False)
        self._events.append({"job_id": job_id, "seq": seq, "kind": kind, "data": data})

    def move_trial(self, trial: Row, state: TrialState, values: Mapping[str, Any]) -> None:
        """Move a trial of a held job to a state, with other values of its row, and note the event."""
        job, before = self._jobs[trial["job_id"]], TrialState(trial["state"])
        fraction = _fraction(trial)
        changed: Row = {"state": state.value, "finished_at": self.now if state.is_terminal else None, **values}
        self.tx.update_row(schema.trial, trial["id"], changed)
        trial.update(changed)
        counts: Row = {COUNTERS[before]: job[COUNTERS[before]] - 1}
        counts[COUNTERS[state]] = {**job, **counts}[COUNTERS[state]] + 1
        progress = job["progress"] + (_fraction(trial) - fraction) / job["trials_total"]
        self.change_job(job["id"], counts | {"progress": progress})
        told = {"trial_id": trial["id"], "name": trial["name"], "state": state.value}
        self.add_event(job["id"], "trial", told | {"attempt": trial["attempts"], "reason": trial["reason"]})

    def settle_job(self, job_id: str, *, message: str = "") -> None:
        """Give a held job the state that follows from its trials, and note the event if it is another one."""
        job = self._jobs[job_id]
        counts = {state: job[counter] for state, counter in COUNTERS.items()}
        started = job["state"] != JobState.QUEUED or counts[TrialState.RUNNING] > 0
        state = roll_up(counts, started=started, stopping=job["stop_requested"] is not None)
        if state == job["state"]:
            return
        values: Row = {"state": state.value, "reason": None, "message": message}
        values["finished_at"] = self.now if state.is_terminal else None
        if state is JobState.RUNNING and job["started_at"] is None:
            values["started_at"] = self.now
        if state is JobState.SUCCEEDED:
            values["progress"] = 1.0
        if state is JobState.CANCELLING:
            values |= {"reason": job["stop_reason"], "message": STOP_MESSAGES.get(Reason(job["stop_reason"]), "")}
        if state in (JobState.FAILED, JobState.CANCELLED):
            values |= self._find_cause(job_id, state)
        self.change_job(job_id, values)
        self.tell_state(job_id)

    def tell_state(self, job_id: str) -> None:
        """Note the event that tells the state of a held job."""
        job = self._jobs[job_id]
        self.add_event(job_id, "state", {name: job[name] for name in ("state", "reason", "message")})

    def save(self) -> None:
        """Write what has changed of the held jobs, then the events."""
        for job_id in sorted(self._changes):
            self.tx.update_row(schema.job, job_id, self._changes[job_id])
        if not self._events:
            return
        rows = [row | {"created_at": self.now} for row in self._events]
        if self.tx.is_postgres:
            self.tx.execute(select(func.pg_advisory_xact_lock_shared(EVENT_ORDER_LOCK)))
        self.tx.insert_rows(schema.event, rows)
        for row in rows:
            if row["seq"] % _PRUNE_EVERY == 0:
                old = schema.event.c.seq <= row["seq"] - self.policy.events_kept
                self.tx.execute(delete(schema.event).where(schema.event.c.job_id == row["job_id"], old))

    def _find_cause(self, job_id: str, state: JobState) -> Row:
        """Return reason and message of the first trial that ended as its job does."""
        trial = schema.trial
        query = select(trial.c.reason, trial.c.message).where(trial.c.job_id == job_id, trial.c.state == state.value)
        return self.tx.find_row(query.order_by(trial.c.position).limit(1)) or {}


def _fraction(trial: Row) -> float:
    return compute_fraction(TrialState(trial["state"]), trial["step"], trial["total_steps"])


class SqlPart:
    """What every part of the SQL store stands on: a database and the rules it is patient by."""

    def __init__(self, database: Database, policy: Policy) -> None:
        self._database = database
        self._policy = policy

    def _change(self, work: Callable[[Ledger], T], *, durable: bool = False) -> T:
        """Return what some work on the books gives, all of it committed or nothing."""

        def whole(tx: Transaction) -> T:
            ledger = Ledger(tx, self._policy)
            result = work(ledger)
            ledger.save()
            return result

        return self._database.write(whole, durable=durable)


def find_attempt(tx: Transaction, attempt_id: str) -> Row:
    """Return the row of an attempt, or raise NotFoundError."""
    row = tx.find_by_id(schema.attempt, attempt_id)
    if row is None:
        raise NotFoundError
    return row


def get_trial_row(tx: Transaction, trial_id: str) -> Row:
    """Return the row of a trial, or raise NotFoundError."""
    row = tx.find_by_id(schema.trial, trial_id)
    if row is None:
        raise NotFoundError
    return row


def hold_attempt(ledger: Ledger, attempt_id: str) -> Row:
    """Hold the job of an attempt and return the attempt's row, which nothing can change from now on.

    Raises:
        NotFoundError: No such attempt.
    """
    row = find_attempt(ledger.tx, attempt_id)
    ledger.hold_jobs([row["job_id"]])
    # In PostgreSQL it may have changed while we waited for its job.
    return find_attempt(ledger.tx, attempt_id) if ledger.tx.is_postgres else row


def require_lease(row: Row, now: datetime) -> Row:
    """Return the row of an attempt that holds its trial now, or raise LeaseLostError."""
    if row["state"] != AttemptState.RUNNING or row["lease_until"] <= now:
        raise LeaseLostError
    return row


def hold_lease(ledger: Ledger, attempt_id: str) -> Row:
    """Hold the job of an attempt that holds its trial now, and return the attempt's row.

    Raises:
        NotFoundError: No such attempt.
        LeaseLostError: Its lease ran out, or it has ended.
    """
    return require_lease(hold_attempt(ledger, attempt_id), ledger.now)
