"""A store of each kind on a clock that the test moves, and the words to fill it with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete

from db.memory.store import MemoryStore
from db.questions import QueueLimits, WorkerHello
from db.records.jobs import Claim, ClaimedTrial, JobRecord, Json, NewJob, NewTrial, Resources, TrialRecord
from db.records.results import NewArchitecture
from db.records.states import JobKind
from db.rules import Policy
from db.sql.engine import Database, Transaction, build_engine, parse_url
from db.sql.schema import metadata
from db.sql.store import SqlStore, open_store
from db.stores import Store

if TYPE_CHECKING:
    from tests.conftest import PostgresCluster

LEASE_SECONDS = 90.0


@dataclass
class FakeClock:
    """A clock that stands still until it is moved."""

    time: datetime = field(default_factory=lambda: datetime(2030, 1, 31, 12, 0, 0, 123456, tzinfo=UTC))

    def __call__(self) -> datetime:
        """Return the time."""
        return self.time

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.time += timedelta(seconds=seconds)


@dataclass
class Desk:
    """A store, its clock, and short ways to do what every test does first.

    Attributes:
        store: The one under test.
        clock: Its time.
    """

    store: Store
    clock: FakeClock

    def submit(self, *trials: NewTrial | str, **changes: Any) -> JobRecord:
        """Return a job just submitted; a trial may be given by its name."""
        self.clock.advance(0.001)
        return self.store.submit(self.job(*trials, **changes), limits=QueueLimits())[0]

    def claim(self, worker: str = "w1", *, max_trials: int = 8, cpus: float = 4.0, gpus: float = 1.0) -> Claim | None:
        """Return what a worker gets."""
        self.clock.advance(0.001)
        hello = WorkerHello(worker, worker, "1.0", Resources(cpus=cpus, gpus=gpus))
        return self.store.claim(hello, lease_seconds=LEASE_SECONDS, max_trials=max_trials)

    def take(self, worker: str = "w1") -> ClaimedTrial:
        """Return the one trial that a worker gets, which must be there."""
        claim = self.claim(worker, max_trials=1)
        assert claim is not None
        return claim.trials[0]

    def complete(
        self, attempt_id: str, result: Json | None = None, found: NewArchitecture | None = None
    ) -> TrialRecord:
        """Return the trial of an attempt that ends well."""
        return self.store.complete(attempt_id, result or {"metrics": {}}, found, score=_score)

    def names(self, claim: Claim | None) -> list[str]:
        """Return the names of the trials of a claim."""
        return [] if claim is None else [each.trial.name for each in claim.trials]

    def told(self, job_id: str, kind: str) -> list[Json]:
        """Return what the events of a kind say of a job."""
        return [event.data for event in self.store.list_events(job_id, limit=10_000) if event.kind == kind]

    def job(self, *trials: NewTrial | str, **changes: Any) -> NewJob:
        """Return a job to submit, of one trial unless others are named."""
        named = [self.trial(each) if isinstance(each, str) else each for each in trials or ("t",)]
        job = NewJob(
            kind=JobKind.SEARCH,
            owner="ann",
            name="a search",
            spec={"dataset": "digits", "tasks": ["left", "right"], "backbone": "tiny4"},
            spec_hash="0" * 64,
            study_key="study",
            trials=tuple(named),
        )
        return replace(job, **changes)

    def trial(self, name: str, reuse_key: str | None = None) -> NewTrial:
        """Return a trial to submit; its kind goes by its name."""
        kind = {"single": "single", "shared": "shared"}.get(name.split("-", maxsplit=1)[0], "candidate")
        return NewTrial(kind, name, {"of": name}, reuse_key)

    def found(self, name: str = "60pct-s0", **changes: Any) -> NewArchitecture:
        """Return a network that a trial found."""
        network = NewArchitecture(
            name=name,
            document={"tree": [[0, 0]]},
            fingerprint="f" * 64,
            tasks=("left", "right"),
            backbone="tiny4",
            dataset="digits",
            madds=1000,
            params=100,
            budget_madds=1200,
            seed=0,
            metrics={"left": {"value": 0.5}, "right": {"value": 0.25}},
        )
        return replace(network, **changes)


def _score(metrics: Json, singles: Json) -> float:
    """Return a stand-in for delta_m: the sum of the differences."""
    return float(sum(metrics[task]["value"] - singles[task]["value"] for task in metrics))


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that stands still."""
    return FakeClock()


@pytest.fixture(scope="session")
def shared_postgres(postgres_cluster: PostgresCluster) -> Iterator[Database]:
    """Return a PostgreSQL database for all tests of this folder, one after the other: a new one each takes too long."""
    postgres_cluster.execute("CREATE DATABASE contracts TEMPLATE ready")
    database = Database(build_engine(parse_url(postgres_cluster.url("contracts"))))
    yield database
    database.close()


@pytest.fixture
def cleared_postgres(shared_postgres: Database) -> Database:
    """Return the shared database with its tables emptied."""

    def clear(tx: Transaction) -> None:
        for table in reversed(metadata.sorted_tables):
            tx.execute(delete(table))

    shared_postgres.write(clear)
    return shared_postgres


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, clock: FakeClock) -> Iterator[Store]:
    """Return an empty store, once of each kind."""
    if request.param == "memory":
        yield MemoryStore(clock=clock)
    elif request.param == "sqlite":
        opened = open_store(str(request.getfixturevalue("sqlite_url")), clock=clock)
        yield opened
        opened.close()
    else:
        database: Database = request.getfixturevalue("cleared_postgres")
        yield SqlStore(Database(database.engine, clock), Policy())


@pytest.fixture
def desk(store: Store, clock: FakeClock) -> Desk:
    """Return a desk with an empty store on it."""
    return Desk(store, clock)
