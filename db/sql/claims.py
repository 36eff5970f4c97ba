"""Claims in SQL: who gets which trial, and what workers tell of the attempts they hold.

Order: priority, then the owner with the fewest running trials, then age. Every call after the claim is fenced: it
holds the job, then looks whether the attempt still runs and its lease still counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, or_, select, update

from db.questions import WorkerHello
from db.records.access import WorkerRecord
from db.records.jobs import AttemptRecord, Claim, ClaimedTrial, HeartbeatReply, Progress, Resources, TrialRecord
from db.records.states import AttemptState, Reason, StopMode, TrialState
from db.rules import PROGRESS_EVENT_SECONDS, WORKER_LIST_SECONDS, WORKER_TOUCH_SECONDS, Ending, compute_fraction, new_id
from db.sql import schema
from db.sql.column_types import UtcTime
from db.sql.endings import end_attempt
from db.sql.ledger import Ledger, Row, SqlPart, find_attempt, get_trial_row, hold_lease, require_lease
from db.sql.rows import attempt_record, file_record, job_record, trial_record, worker_record
from db.sql.twins import reuse_lock

_FIRST_PAGE = 8
_LAST_PAGE = 512
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_NOW = bindparam("now", type_=UtcTime)


def _fitting() -> ColumnElement[bool]:
    """Return the condition of jobs that wait for a worker of this size."""
    job = schema.job
    in_time = or_(job.c.deadline_at.is_(None), job.c.deadline_at > _NOW)
    return and_(schema.JOB_WAITS, job.c.cpus <= bindparam("cpus"), job.c.gpus <= bindparam("gpus"), in_time)


def _build_turns() -> Any:
    """Return the query of (priority, owner, id of the oldest job) whose jobs wait, in the order of their turns.

    Each step down the index finds the next priority, or the next owner of one, so that ten thousand waiting jobs of a
    few people cost no more than a few.
    """
    job = schema.job
    highest = select(func.max(job.c.priority).label("priority")).where(schema.JOB_WAITS)
    level = highest.cte("level", recursive=True)
    lower = select(func.max(job.c.priority)).where(schema.JOB_WAITS, job.c.priority < level.c.priority)
    level = level.union_all(select(lower.scalar_subquery()).where(level.c.priority.is_not(None)))
    of_level = select(func.min(job.c.owner)).where(schema.JOB_WAITS, job.c.priority == level.c.priority)
    turns = select(level.c.priority, of_level.scalar_subquery().label("owner")).where(level.c.priority.is_not(None))
    turn = turns.cte("turn", recursive=True)
    same_level = and_(schema.JOB_WAITS, job.c.priority == turn.c.priority)
    following = select(func.min(job.c.owner)).where(same_level, job.c.owner > turn.c.owner)
    turn = turn.union_all(select(turn.c.priority, following.scalar_subquery()).where(turn.c.owner.is_not(None)))
    mine = and_(_fitting(), job.c.priority == turn.c.priority, job.c.owner == turn.c.owner)

    def oldest(column: ColumnElement[Any], name: str) -> ColumnElement[Any]:
        """Return a column of the oldest job of a turn."""
        first = select(column).where(mine).order_by(job.c.created_at, job.c.id).limit(1)
        return first.correlate(turn).scalar_subquery().label(name)

    columns = (turn.c.priority, turn.c.owner, oldest(job.c.created_at, "oldest"), oldest(job.c.id, "first_id"))
    waiting = select(*columns).where(turn.c.owner.is_not(None)).subquery("waiting")
    total = func.sum(job.c.trials_running).label("total")
    running = select(job.c.owner, total).where(schema.JOB_RUNS).group_by(job.c.owner).subquery("running")
    joined = waiting.outerjoin(running, running.c.owner == waiting.c.owner)
    order = (waiting.c.priority.desc(), func.coalesce(running.c.total, 0), waiting.c.oldest, waiting.c.owner)
    query = select(waiting.c.priority, waiting.c.owner, waiting.c.first_id).select_from(joined)
    return query.where(waiting.c.oldest.is_not(None)).order_by(*order)


def _build_page() -> Any:
    """Return the query of the next waiting jobs of one turn by age."""
    job = schema.job
    mine = and_(_fitting(), job.c.priority == bindparam("priority"), job.c.owner == bindparam("owner"))
    after = bindparam("after_at", type_=UtcTime)
    later = or_(job.c.created_at > after, job.c.id > bindparam("after_id"))
    query = select(job.c.id, job.c.created_at).where(mine, job.c.created_at >= after, later)
    return query.order_by(job.c.created_at, job.c.id).limit(bindparam("size"))


def _is_free() -> ColumnElement[bool]:
    """Return the condition of trials that may start now: not pausing, and no twin runs."""
    trial, twin = schema.trial, schema.trial.alias("twin")
    twin_runs = exists().where(twin.c.reuse_key == trial.c.reuse_key, twin.c.state == schema.RUNNING)
    rested = or_(trial.c.not_before.is_(None), trial.c.not_before <= _NOW)
    return and_(schema.TRIAL_WAITS, rested, or_(trial.c.reuse_key.is_(None), ~twin_runs))


# Built once: putting these together takes longer than running them.
_TURNS = _build_turns()
_PAGE = _build_page()
_FREE_JOBS = (
    select(schema.trial.c.job_id)
    .distinct()
    .where(schema.trial.c.job_id.in_(bindparam("job_ids", expanding=True)), _is_free())
)
_FREE_TRIALS = (
    select(schema.trial)
    .where(schema.trial.c.job_id == bindparam("job_id"), _is_free())
    .order_by(schema.trial.c.position)
)


class SqlClaims(SqlPart):
    """The part of the store that workers and their attempts talk to."""

    def claim(self, worker: WorkerHello, *, lease_seconds: float, max_trials: int) -> Claim | None:
        """Hand out waiting trials of one job; see `JobStore.claim`."""

        def work(ledger: Ledger) -> Claim | None:
            trials: list[Row] = []
            for job_id in _hold_candidates(ledger, worker.capacity):
                trials = _list_free_trials(ledger, job_id, max_trials)
                if trials:
                    break
            _note_worker(ledger, worker)
            if not trials:
                return None
            claimed = [_start_attempt(ledger, trial, worker.id, lease_seconds) for trial in trials]
            ledger.settle_job(trials[0]["job_id"])
            return Claim(job_record(ledger.job(trials[0]["job_id"])), _with_files(ledger, claimed))

        return self._change(work)

    def heartbeat(self, attempt_id: str, *, lease_seconds: float, progress: Progress | None) -> HeartbeatReply:
        """Renew a lease and note the progress; raise LeaseLostError or NotFoundError."""

        def work(ledger: Ledger) -> HeartbeatReply:
            row = hold_lease(ledger, attempt_id)
            lease_until = ledger.now + timedelta(seconds=lease_seconds)
            values: Row = {"lease_until": lease_until, "heartbeat_at": ledger.now}
            if progress is not None:
                values |= vars(progress) | {"begun_at": row["begun_at"] or ledger.now}
                _note_progress(ledger, row["trial_id"], progress)
            ledger.tx.update_row(schema.attempt, attempt_id, values)
            _touch_worker(ledger, row["worker_id"])
            asked = ledger.job(row["job_id"])["stop_requested"]
            return HeartbeatReply(lease_until, None if asked is None else StopMode(asked))

        return self._change(work)

    def fail(self, attempt_id: str, reason: Reason, message: str) -> TrialRecord:
        """End an attempt badly; see `JobStore.fail`."""
        return self._end(attempt_id, Ending.FAIL, reason, message)

    def release(self, attempt_id: str, reason: Reason, message: str) -> TrialRecord:
        """Give a trial back; see `JobStore.release`."""
        return self._end(attempt_id, Ending.RELEASE, reason, message)

    def _end(self, attempt_id: str, ending: Ending, reason: Reason, message: str) -> TrialRecord:
        def work(ledger: Ledger) -> TrialRecord:
            row = hold_lease(ledger, attempt_id)
            return trial_record(end_attempt(ledger, row, ending, reason, message))

        return self._change(work)

    def check_lease(self, attempt_id: str) -> AttemptRecord:
        """Return the attempt if it holds its trial now; raise LeaseLostError or NotFoundError."""
        return self._database.read(lambda tx: attempt_record(require_lease(find_attempt(tx, attempt_id), tx.now)))

    def list_workers(self) -> list[WorkerRecord]:
        """Return the workers seen in the last day, the newest first."""
        worker = schema.worker

        def work(tx: Any) -> list[Row]:
            seen_after = tx.now - timedelta(seconds=WORKER_LIST_SECONDS)
            query = select(worker).where(worker.c.last_seen_at > seen_after)
            rows: list[Row] = tx.list_rows(query.order_by(worker.c.last_seen_at.desc(), worker.c.id))
            return rows

        return [worker_record(row) for row in self._database.read(work)]


def _hold_candidates(ledger: Ledger, capacity: Resources) -> Iterator[str]:
    """Yield jobs that have something free, the most deserving first, each held when it is yielded.

    Jobs that someone else holds at the moment are passed over and waited for only when nothing else is left.
    """
    busy: list[str] = []
    for job_id in _list_candidates(ledger, capacity):
        if _hold_waiting(ledger, job_id, skip_locked=True):
            yield job_id
        else:
            busy.append(job_id)
    for job_id in busy if ledger.tx.is_postgres else []:
        if _hold_waiting(ledger, job_id, skip_locked=False):
            yield job_id


def _list_candidates(ledger: Ledger, capacity: Resources) -> Iterator[str]:
    """Yield the ids of jobs with a free trial that fits, in the order they are to be served."""
    wanted = {"cpus": capacity.cpus, "gpus": capacity.gpus, "now": ledger.now}
    for turn in ledger.tx.list_rows(_TURNS, wanted):
        # The oldest is nearly always free, and whoever asked for it looks again anyway.
        first_id = turn.pop("first_id")
        yield first_id
        last: Row = {"created_at": _LONG_AGO, "id": ""}
        size = _FIRST_PAGE
        while True:
            after = {"after_at": last["created_at"], "after_id": last["id"], "size": size}
            page = ledger.tx.list_rows(_PAGE, wanted | turn | after)
            job_ids = [row["id"] for row in page if row["id"] != first_id]
            rows = ledger.tx.list_rows(_FREE_JOBS, {"job_ids": job_ids, "now": ledger.now}) if job_ids else []
            free = {row["job_id"] for row in rows}
            yield from (job_id for job_id in job_ids if job_id in free)
            if len(page) < size:
                break
            last, size = page[-1], min(size * 8, _LAST_PAGE)


def _hold_waiting(ledger: Ledger, job_id: str, *, skip_locked: bool) -> bool:
    """Return whether a job is now held and still waits for workers."""
    row = ledger.tx.find_by_id(schema.job, job_id, lock="skip" if skip_locked else "wait")
    if row is None:
        return False
    job = ledger.adopt_job(row)
    return bool(job["trials_waiting"] > 0 and job["stop_requested"] is None)


def _list_free_trials(ledger: Ledger, job_id: str, max_trials: int) -> list[Row]:
    """Return trials of a held job to start, at most one of the same twins, each twin's key locked."""
    picked: list[Row] = []
    keys: set[str] = set()
    for row in ledger.tx.list_rows(_FREE_TRIALS, {"job_id": job_id, "now": ledger.now}):
        key = row["reuse_key"]
        if len(picked) == max_trials or (key is not None and (key in keys or not _win_key(ledger, key))):
            continue
        keys |= set() if key is None else {key}
        picked.append(row)
    return picked


def _win_key(ledger: Ledger, reuse_key: str) -> bool:
    """Return whether a trial with this key may start: nobody else is about to start or finish a twin."""
    if not ledger.tx.is_postgres:
        return True
    if not ledger.tx.try_lock_name(reuse_lock(reuse_key)):
        return False
    # A twin may have started between the look at the trials and the lock.
    twin = select(schema.trial.c.id).where(schema.trial.c.reuse_key == reuse_key, schema.TRIAL_RUNS).limit(1)
    return ledger.tx.find_row(twin) is None


def _start_attempt(ledger: Ledger, trial: Row, worker_id: str, lease_seconds: float) -> tuple[Row, Row]:
    """Return a trial of a held job, running now, and the attempt that holds it."""
    now = ledger.now
    row: Row = {"id": new_id("attm"), "trial_id": trial["id"], "job_id": trial["job_id"], "worker_id": worker_id}
    row |= {"number": trial["attempts"] + 1, "state": AttemptState.RUNNING.value, "reason": None, "message": ""}
    row |= {"lease_until": now + timedelta(seconds=lease_seconds), "heartbeat_at": now, "started_at": now}
    row |= {"ended_at": None, "stage": "", "step": 0, "total_steps": 0, "begun_at": None}
    ledger.tx.insert_rows(schema.attempt, [row])
    values = {"attempts": row["number"], "started_at": trial["started_at"] or now, "not_before": None}
    ledger.move_trial(trial, TrialState.RUNNING, values | {"reason": None, "message": ""})
    return trial, row


def _with_files(ledger: Ledger, claimed: list[tuple[Row, Row]]) -> tuple[ClaimedTrial, ...]:
    """Return claimed trials with the files that earlier attempts left."""
    file = schema.file
    ids = [trial["id"] for trial, _ in claimed if trial["attempts"] > 1]
    rows = ledger.tx.list_rows(select(file).where(file.c.trial_id.in_(ids)).order_by(file.c.name)) if ids else []
    return tuple(
        ClaimedTrial(
            trial_record(trial),
            attempt_record(attempt),
            tuple(file_record(row) for row in rows if row["trial_id"] == trial["id"]),
        )
        for trial, attempt in claimed
    )


def _note_progress(ledger: Ledger, trial_id: str, progress: Progress) -> None:
    """Store how far a trial is, and tell of it at most once a second."""
    trial = get_trial_row(ledger.tx, trial_id)
    told = vars(progress)
    if all(trial[name] == value for name, value in told.items()):
        return
    job = ledger.job(trial["job_id"])
    before = compute_fraction(TrialState.RUNNING, trial["step"], trial["total_steps"])
    after = compute_fraction(TrialState.RUNNING, progress.step, progress.total_steps)
    ledger.change_job(job["id"], {"progress": job["progress"] + (after - before) / job["trials_total"]})
    values: Row = dict(told)
    last = trial["progress_at"]
    if last is None or ledger.now - last >= timedelta(seconds=PROGRESS_EVENT_SECONDS):
        values["progress_at"] = ledger.now
        ledger.add_event(job["id"], "progress", {"trial_id": trial_id, **told, "progress": job["progress"]})
    ledger.tx.update_row(schema.trial, trial_id, values)


def _note_worker(ledger: Ledger, worker: WorkerHello) -> None:
    """Note that a worker asked for work, now and then: claims at the same moment must not wait for this row."""
    row: Row = {name: getattr(worker, name) for name in ("id", "name", "version")}
    row |= {"cpus": worker.capacity.cpus, "gpus": worker.capacity.gpus}
    known = ledger.tx.find_by_id(schema.worker, worker.id)
    fresh_since = ledger.now - timedelta(seconds=WORKER_TOUCH_SECONDS)
    if known is not None and row.items() <= known.items() and known["last_seen_at"] > fresh_since:
        return
    row |= {"first_seen_at": ledger.now, "last_seen_at": ledger.now}
    ledger.tx.upsert(schema.worker, [row], keep=("first_seen_at",))


def _touch_worker(ledger: Ledger, worker_id: str) -> None:
    """Note that a worker lives, now and then: one that runs a long trial asks for nothing else."""
    worker = schema.worker
    stale = worker.c.last_seen_at < ledger.now - timedelta(seconds=WORKER_TOUCH_SECONDS)
    ledger.tx.execute(update(worker).where(worker.c.id == worker_id, stale).values(last_seen_at=ledger.now))
