"""Stores on real databases by the real clock, and jobs to fill them with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import text

from db.questions import QueueLimits, WorkerHello
from db.records.jobs import ClaimedTrial, JobRecord, NewJob, NewTrial
from db.records.states import JobKind
from db.sql.engine import Database, build_engine, parse_url
from db.sql.store import SqlStore, open_store

BROKEN = {
    "two live leases of one trial": (
        "SELECT trial_id FROM attempt WHERE state = 'RUNNING' GROUP BY trial_id HAVING count(*) > 1"
    ),
    "attempts that are not numbered 1, 2, 3": (
        "SELECT trial_id FROM attempt GROUP BY trial_id HAVING min(number) <> 1 OR max(number) <> count(*)"
    ),
    "a trial that counts its attempts wrong": (
        "SELECT id FROM trial WHERE attempts <> (SELECT count(*) FROM attempt WHERE trial_id = trial.id)"
    ),
    "a running trial without a running attempt, or the other way": (
        "SELECT id FROM trial WHERE (state = 'RUNNING') <> EXISTS "
        "(SELECT 1 FROM attempt WHERE trial_id = trial.id AND state = 'RUNNING')"
    ),
    "a succeeded trial without a result, or the other way": (
        "SELECT id FROM trial WHERE (state = 'SUCCEEDED') <> EXISTS (SELECT 1 FROM result WHERE trial_id = trial.id)"
    ),
    "a result of an attempt that did not succeed": (
        "SELECT result.trial_id FROM result JOIN attempt ON attempt.id = result.attempt_id "
        "WHERE attempt.state <> 'SUCCEEDED' OR attempt.trial_id <> result.trial_id"
    ),
    "events that are not numbered without a gap": (
        "SELECT job_id FROM event GROUP BY job_id HAVING min(seq) <> 1 OR max(seq) <> count(*)"
    ),
    "a job that counts its events wrong": (
        "SELECT id FROM job WHERE last_event <> (SELECT count(*) FROM event WHERE job_id = job.id)"
    ),
    "a job that counts its trials wrong": "SELECT id FROM job WHERE "
    + " OR ".join(
        f"trials_{name} <> (SELECT count(*) FROM trial WHERE job_id = job.id AND state = '{state}')"
        for name, state in (
            ("waiting", "QUEUED"),
            ("running", "RUNNING"),
            ("succeeded", "SUCCEEDED"),
            ("failed", "FAILED"),
            ("cancelled", "CANCELLED"),
        )
    ),
    "twins that run side by side": (
        "SELECT reuse_key FROM trial WHERE state = 'RUNNING' AND reuse_key IS NOT NULL GROUP BY reuse_key "
        "HAVING count(*) > 1"
    ),
    "an attempt begun after its job was cancelled": (
        "SELECT attempt.id FROM attempt JOIN job ON job.id = attempt.job_id "
        "WHERE job.state = 'CANCELLED' AND attempt.started_at > job.finished_at"
    ),
}
"""What must never be found in a database, and the query that finds it."""


@dataclass
class Bench:
    """Opens stores on one database and knows what must hold in it.

    Attributes:
        url: Of the database.
    """

    url: str

    def open(self, **settings: Any) -> SqlStore:
        """Return a store beside others on the same database."""
        return open_store(self.url, exclusive=False, **settings)

    def find_broken(self) -> dict[str, list[Any]]:
        """Return what must not be in the database but is."""
        database = Database(build_engine(parse_url(self.url)))
        try:
            found = database.read(lambda tx: {name: tx.list_tuples(text(sql)) for name, sql in BROKEN.items()})
        finally:
            database.close()
        return {name: rows for name, rows in found.items() if rows}

    def job(self, *names: str, **changes: Any) -> NewJob:
        """Return a job to submit."""
        trials = tuple(NewTrial("candidate", name, {}) for name in names or ("t",))
        values: dict[str, Any] = {"owner": "ann", "name": "n", "spec": {}, "spec_hash": "0" * 64, "study_key": "s"}
        return NewJob(kind=JobKind.SEARCH, trials=trials, **values | changes)

    def submit(self, store: SqlStore, *names: str, **changes: Any) -> JobRecord:
        """Return a job just submitted."""
        return store.submit(self.job(*names, **changes), limits=QueueLimits())[0]

    def take(self, store: SqlStore, worker: str = "w", lease_seconds: float = 60.0) -> ClaimedTrial | None:
        """Return the trial that a worker gets, or None."""
        claim = store.claim(WorkerHello(worker, worker, "1"), lease_seconds=lease_seconds, max_trials=1)
        return None if claim is None else claim.trials[0]


@pytest.fixture
def bench(database_url: str) -> Bench:
    """Return a bench on an empty database, once of each kind."""
    return Bench(database_url)


@pytest.fixture
def sqlite_bench(sqlite_url: str) -> Bench:
    """Return a bench on an empty SQLite file."""
    return Bench(sqlite_url)


@pytest.fixture
def postgres_bench(postgres_url: str) -> Bench:
    """Return a bench on an empty PostgreSQL database."""
    return Bench(postgres_url)


@pytest.fixture
def real_store(bench: Bench) -> Iterator[SqlStore]:
    """Return a store on an empty database, once of each kind."""
    store = bench.open(backoff_seconds=0.01)
    yield store
    store.close()
