"""What running attempts leave, in SQL: files, figures, lines; and the events that everyone follows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import delete, exists, func, or_, select

from db.records.jobs import EventRecord, FileRecord, LogLine, MetricPoint
from db.rules import LOG_LINE_LENGTH, LOG_LINES_KEPT, clean_text
from db.sql import schema
from db.sql.engine import Transaction
from db.sql.ledger import EVENT_ORDER_LOCK, Ledger, Row, SqlPart, hold_lease
from db.sql.rows import event_record, file_record, log_line


class SqlRuns(SqlPart):
    """The part of the store that running attempts write to; writers must hold their lease."""

    def put_file(self, attempt_id: str, name: str, path: str, sha256: str, num_bytes: int) -> FileRecord:
        """Note a file, replacing the one of that name; raise LeaseLostError."""

        def work(ledger: Ledger) -> FileRecord:
            attempt = hold_lease(ledger, attempt_id)
            row: Row = {"trial_id": attempt["trial_id"], "name": name, "path": path, "sha256": sha256}
            row |= {"num_bytes": num_bytes, "attempt": attempt["number"], "created_at": ledger.now}
            ledger.tx.upsert(schema.file, [row])
            return file_record(row)

        return self._change(work)

    def delete_file(self, attempt_id: str, name: str) -> None:
        """Forget a file; a name that is not there is no error. Raises LeaseLostError."""
        file = schema.file

        def work(ledger: Ledger) -> None:
            trial_id = hold_lease(ledger, attempt_id)["trial_id"]
            ledger.tx.execute(delete(file).where(file.c.trial_id == trial_id, file.c.name == name))

        self._change(work)

    def list_files(self, trial_id: str) -> list[FileRecord]:
        """Return the files of a trial by name (those of the trial it was reused from, if it was)."""
        file, trial = schema.file, schema.trial
        origin = select(func.coalesce(trial.c.reused_from, trial.c.id)).where(trial.c.id == trial_id).scalar_subquery()
        query = select(file).where(file.c.trial_id == origin).order_by(file.c.name)
        return [file_record(row) for row in self._database.read(lambda tx: tx.list_rows(query))]

    def list_paths(self) -> set[str]:
        """Return the paths of all files that rows point at."""
        return set(self._database.read(lambda tx: list(tx.execute(select(schema.file.c.path)).scalars())))

    def add_metrics(self, attempt_id: str, points: Sequence[MetricPoint]) -> int:
        """Store the figures that are finite, the last one winning per (trial, name, step); return how many."""
        finite = {(point.name, point.step): float(point.value) for point in points if math.isfinite(point.value)}

        def work(ledger: Ledger) -> int:
            attempt = hold_lease(ledger, attempt_id)
            if not finite:
                return 0
            same = {"trial_id": attempt["trial_id"], "job_id": attempt["job_id"], "attempt": attempt["number"]}
            told = [{"name": name, "step": step, "value": value} for (name, step), value in finite.items()]
            ledger.tx.upsert(schema.metric, [same | point for point in told])
            ledger.add_event(attempt["job_id"], "metric", {"trial_id": attempt["trial_id"], "points": told})
            return len(told)

        return self._change(work)

    def list_metrics(
        self, job_id: str, *, name: str | None = None, trial_id: str | None = None, after_step: int = -1
    ) -> Mapping[tuple[str, str], list[tuple[int, float]]]:
        """Return {(trial id, name): [(step, value), ...] by step}."""
        metric = schema.metric
        query = select(metric.c.trial_id, metric.c.name, metric.c.step, metric.c.value)
        query = query.where(metric.c.job_id == job_id, metric.c.step > after_step)
        query = query if name is None else query.where(metric.c.name == name)
        query = query if trial_id is None else query.where(metric.c.trial_id == trial_id)
        rows = self._database.read(lambda tx: tx.list_tuples(query.order_by(*metric.primary_key)))
        series: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for trial, figure, step, value in rows:
            series.setdefault((trial, figure), []).append((step, value))
        return series

    def add_logs(self, attempt_id: str, lines: Sequence[str]) -> None:
        """Append lines, cut and as many as are kept; raise LeaseLostError."""
        texts = [clean_text(line[:LOG_LINE_LENGTH]) for line in lines]

        def work(ledger: Ledger) -> None:
            attempt = hold_lease(ledger, attempt_id)
            if not texts:
                return
            job_id, seq = attempt["job_id"], ledger.job(attempt["job_id"])["last_log"]
            same = {"job_id": job_id, "trial_id": attempt["trial_id"], "attempt": attempt["number"]}
            same["created_at"] = ledger.now
            told = [{"seq": seq + place, "text": text} for place, text in enumerate(texts, start=1)]
            ledger.tx.insert_rows(schema.log, [same | line for line in told])
            last = seq + len(texts)
            old = schema.log.c.seq <= last - LOG_LINES_KEPT
            if last > LOG_LINES_KEPT:
                ledger.tx.execute(delete(schema.log).where(schema.log.c.job_id == job_id, old))
            ledger.change_job(job_id, {"last_log": last}, visible=False)
            ledger.add_event(job_id, "log", {"trial_id": attempt["trial_id"], "lines": told})

        self._change(work)

    def list_logs(self, job_id: str, *, after: int = 0, limit: int = 500) -> list[LogLine]:
        """Return lines with seq above `after`."""
        log = schema.log
        query = select(log).where(log.c.job_id == job_id, log.c.seq > after).order_by(log.c.seq).limit(limit)
        return [log_line(row) for row in self._database.read(lambda tx: tx.list_rows(query))]

    def list_events(
        self, job_id: str, *, after: int = 0, limit: int = 500, kind: str | None = None
    ) -> list[EventRecord]:
        """Return events with seq above `after`, of one kind or of all."""
        event = schema.event
        query = select(event).where(event.c.job_id == job_id, event.c.seq > after).order_by(event.c.seq).limit(limit)
        query = query if kind is None else query.where(event.c.kind == kind)
        return [event_record(row) for row in self._database.read(lambda tx: tx.list_rows(query))]

    def purge_history(self, older_than_seconds: float) -> int:
        """Forget lines and events of jobs that ended so long ago, all but the last event; return how many."""
        seconds = timedelta(seconds=older_than_seconds)
        job, event, log = schema.job, schema.event, schema.log
        has_events = exists().where(event.c.job_id == job.c.id, event.c.seq < job.c.last_event)
        has_lines = exists().where(log.c.job_id == job.c.id)

        def list_old(tx: Transaction) -> list[str]:
            old = (schema.JOB_HAS_ENDED, job.c.finished_at <= tx.now - seconds, or_(has_events, has_lines))
            return list(tx.execute(select(job.c.id).where(*old).order_by(job.c.finished_at)).scalars())

        return sum(self._change(partial(_forget, job_id=each, age=seconds)) for each in self._database.read(list_old))

    def list_new_events(self, after_id: int, limit: int = 1000) -> list[tuple[int, EventRecord]]:
        """Return (global id, event) above a global id, in order and never one that a later call would slip in before.

        PostgreSQL hands out ids before the commit, so a reader could see 7 while 6 is still being written, and then
        miss it. The lock waits for the writers under way; what has an id afterwards is committed or never comes.
        """
        event = schema.event
        query = select(event).where(event.c.id > after_id).order_by(event.c.id).limit(limit)

        def work(tx: Transaction) -> list[Row]:
            if tx.is_postgres:
                tx.execute(select(func.pg_advisory_xact_lock(EVENT_ORDER_LOCK)))
            return tx.list_rows(query)

        return [(row["id"], event_record(row)) for row in self._database.read(work)]

    def get_last_event(self, job_id: str) -> tuple[int, int]:
        """Return (oldest kept seq, newest seq) of a job; (1, 0) where there is none."""
        event = schema.event
        query: Any = select(func.min(event.c.seq), func.max(event.c.seq)).where(event.c.job_id == job_id)
        [(oldest, newest)] = self._database.read(lambda tx: tx.list_tuples(query))
        return (1, 0) if newest is None else (oldest, newest)

    def get_newest_event_id(self) -> int:
        """Return the global id of the newest event, 0 where there is none."""

        def work(tx: Transaction) -> int:
            if tx.is_postgres:
                tx.execute(select(func.pg_advisory_xact_lock(EVENT_ORDER_LOCK)))
            return tx.execute(select(func.max(schema.event.c.id))).scalar() or 0

        return self._database.read(work)


def _forget(ledger: Ledger, job_id: str, age: timedelta) -> int:
    """Delete the lines and all but the last event of a job; return how many, 0 if it was resumed meanwhile."""
    ledger.hold_jobs([job_id])
    job = ledger.job(job_id)
    if job["finished_at"] is None or job["finished_at"] > ledger.now - age:
        return 0
    event, log = schema.event, schema.log
    events = delete(event).where(event.c.job_id == job_id, event.c.seq < job["last_event"])
    lines = delete(log).where(log.c.job_id == job_id)
    return ledger.tx.execute(events).rowcount + ledger.tx.execute(lines).rowcount
