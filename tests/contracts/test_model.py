"""Random histories on a real database, step by step the same as on the in-memory twin."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from sqlalchemy import delete

from db.errors import DbError
from db.memory.store import MemoryStore
from db.questions import JobChanges, JobQuery, QueueLimits, WorkerHello
from db.records.jobs import Json, MetricPoint, NewJob, NewTrial, Progress, Resources
from db.records.results import NewArchitecture
from db.records.states import JobKind, Reason, StopMode
from db.rules import Policy
from db.sql.engine import Database, Transaction
from db.sql.schema import metadata
from db.sql.store import SqlStore, open_store
from db.stores import Store

IDS = ("id", "job_id", "trial_id", "reused_from")
REUSED_NAMES = ("single-left", "single-right", "shared")
reasons = st.sampled_from(
    [
        Reason.INTERNAL,
        Reason.WORKER_STOPPED,
        Reason.WORKER_CRASHED,
        Reason.DIVERGED,
        Reason.USER_CANCEL,
        Reason.DEADLINE,
    ]
)


class Histories(RuleBasedStateMachine):
    """Does the same to a store and to its twin, and compares what both say."""

    open_real: Callable[[Callable[[], datetime]], SqlStore]
    close_real: Callable[[SqlStore], None]

    def __init__(self) -> None:
        super().__init__()
        self.time = datetime(2030, 1, 1, tzinfo=UTC)
        self.real: Store = type(self).open_real(lambda: self.time)
        self.twin: Store = MemoryStore(backoff_jitter=0.0, clock=lambda: self.time)
        self.names: dict[str, str] = {}
        self.jobs: list[tuple[str, str]] = []
        self.attempts: list[tuple[str, str]] = []

    def teardown(self) -> None:
        """Compare everything that is left, and let the database go."""
        try:
            self._compare_everything()
        finally:
            type(self).close_real(self.real)  # type: ignore[arg-type]

    @rule(
        owner=st.sampled_from("ab"),
        names=st.lists(st.sampled_from([*REUSED_NAMES, "c1", "c2"]), min_size=1, max_size=4, unique=True),
        priority=st.integers(-1, 1),
        deadline_seconds=st.none() | st.sampled_from([30.0, 300.0]),
        max_attempts=st.integers(1, 3),
        cpus=st.sampled_from([1.0, 1.0, 1.0, 8.0]),
    )
    def submit(self, names: list[str], cpus: float, **values: Any) -> None:
        """A person asks for a job."""
        trials = tuple(
            NewTrial(name.split("-")[0], name, {}, f"key {name}" if name in REUSED_NAMES else None) for name in names
        )
        same: dict[str, Any] = {"name": "n", "spec": {}, "spec_hash": "0", "study_key": "s"}
        job = NewJob(JobKind.SEARCH, trials=trials, resources=Resources(cpus, 0.0), **same | values)
        self.jobs.append(self._both(lambda store: store.submit(job, limits=QueueLimits())[0]))

    @rule(cpus=st.sampled_from([1.0, 8.0]), max_trials=st.integers(1, 3), lease_seconds=st.sampled_from([20.0, 90.0]))
    def claim(self, cpus: float, max_trials: int, lease_seconds: float) -> None:
        """A worker asks for work."""
        hello = WorkerHello("w", "w", "1", Resources(cpus, 0.0))
        real, twin = self._apart(lambda store: store.claim(hello, lease_seconds=lease_seconds, max_trials=max_trials))
        assert (real is None) == (twin is None)
        if real is not None:
            assert len(real.trials) == len(twin.trials)
            for mine, other in zip(real.trials, twin.trials, strict=True):
                self._same_id(mine.attempt.id, other.attempt.id)
                self.attempts.append((mine.attempt.id, other.attempt.id))
        self._compare(real, twin)

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), step=st.integers(0, 4))
    def heartbeat(self, data: st.DataObject, step: int) -> None:
        """An attempt lives, and may be one that should not."""
        progress = Progress("s", step, 4) if step else None
        self._attempt(data, lambda store, key: store.heartbeat(key, lease_seconds=60.0, progress=progress))

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), value=st.integers(1, 4), finds=st.booleans())
    def complete(self, data: st.DataObject, value: int, finds: bool) -> None:
        """An attempt ends well, or believes so."""
        values: Json = {task: {"value": value} for task in ("left", "right")}
        found = NewArchitecture("a", {}, "f", ("left", "right"), "b", "d", value, 1, None, 0, values) if finds else None
        result = {"metrics": values}
        self._attempt(data, lambda store, key: store.complete(key, result, found, score=_score))

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), reason=reasons, gives_back=st.booleans())
    def end_badly(self, data: st.DataObject, reason: Reason, gives_back: bool) -> None:
        """An attempt fails or is given back."""
        self._attempt(data, lambda store, key: (store.release if gives_back else store.fail)(key, reason, "why"))

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), step=st.integers(0, 3))
    def report(self, data: st.DataObject, step: int) -> None:
        """An attempt tells figures, lines and a file."""
        self._attempt(data, lambda store, key: store.add_metrics(key, [MetricPoint("loss", step, 1.0)]))
        self._attempt(data, lambda store, key: store.add_logs(key, ["line"]))
        self._attempt(data, lambda store, key: store.put_file(key, f"f{step}", "p", "0", step))

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), mode=st.sampled_from(StopMode))
    def stop(self, data: st.DataObject, mode: StopMode) -> None:
        """A person stops a job."""
        self._job(data, lambda store, key: store.stop_job(key, mode, Reason.USER_CANCEL))

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), action=st.sampled_from(["resume", "resume", "delete", "change"]))
    def act(self, data: st.DataObject, action: str) -> None:
        """A person resumes, deletes or changes a job."""
        if action == "resume":
            self._job(data, lambda store, key: store.resume_job(key))
        elif action == "delete":
            self._job(data, lambda store, key: store.delete_job(key))
        else:
            changes = JobChanges(priority=5)
            self._job(data, lambda store, key: store.update_job(key, changes, if_version=store.get_job(key).version))

    @rule(seconds=st.sampled_from([1.0, 11.0, 25.0, 100.0, 700.0]))
    def sweep_later(self, seconds: float) -> None:
        """Time passes, and the sweep comes round."""
        self.time += timedelta(seconds=seconds)
        self._both(lambda store: store.sweep())

    def _attempt(self, data: st.DataObject, call: Callable[[Store, str], Any]) -> None:
        """Do the same with an attempt in both stores; late ones matter as much as new ones."""
        real, twin = data.draw(st.sampled_from(self.attempts))
        self._both(lambda store: call(store, real if store is self.real else twin))

    def _job(self, data: st.DataObject, call: Callable[[Store, str], Any]) -> None:
        """Do the same with a job in both stores."""
        real, twin = data.draw(st.sampled_from(self.jobs))
        self._both(lambda store: call(store, real if store is self.real else twin))

    def _apart(self, call: Callable[[Store], Any]) -> tuple[Any, Any]:
        """Return what both stores say to a call, refusals included."""
        self.time += timedelta(milliseconds=1)
        said = []
        for store in (self.real, self.twin):
            try:
                said.append(call(store))
            except DbError as refused:
                said.append(type(refused))
        return said[0], said[1]

    def _both(self, call: Callable[[Store], Any]) -> tuple[str, str]:
        """Check that both stores say the same to a call, and return the ids of what they made."""
        real, twin = self._apart(call)
        self._compare(real, twin)
        return getattr(real, "id", ""), getattr(twin, "id", "")

    def _same_id(self, real: str, twin: str) -> None:
        """Note that two ids mean the same."""
        assert self.names.setdefault(real, twin) == twin

    def _compare(self, real: Any, twin: Any) -> None:
        """Check that two answers are alike but for their ids, which must always match the same way."""
        if hasattr(real, "__dataclass_fields__"):
            assert type(real) is type(twin)
            self._compare(vars(real), vars(twin))
        elif isinstance(real, dict):
            assert real.keys() == twin.keys()
            for name, value in real.items():
                if name in (*IDS, "architecture_id") and value is not None and twin[name] is not None:
                    self._same_id(value, twin[name])
                else:
                    self._compare(value, twin[name])
        elif isinstance(real, list | tuple):
            assert len(real) == len(twin)
            for mine, other in zip(real, twin, strict=True):
                self._compare(mine, other)
        else:
            assert real == (pytest.approx(twin) if isinstance(twin, float) else twin)

    def _compare_everything(self) -> None:
        """Compare all that can be asked of jobs, trials, attempts, events, files, figures and networks."""
        self._both(lambda store: store.list_jobs(JobQuery(sort="created_at", limit=1000)))
        self._both(lambda store: {state.value: number for state, number in store.count_jobs().items()})
        self._both(lambda store: dict(store.list_baselines("s")))
        for real, twin in self.jobs:
            self._compare(self.real.list_trials(real), self.twin.list_trials(twin))
            self._compare(self.real.list_events(real, limit=10_000), self.twin.list_events(twin, limit=10_000))
            self._compare(self.real.list_logs(real), self.twin.list_logs(twin))
            for mine, other in zip(self.real.list_trials(real), self.twin.list_trials(twin), strict=True):
                self._compare(self.real.list_attempts(mine.id), self.twin.list_attempts(other.id))
                self._compare(self.real.list_files(mine.id), self.twin.list_files(other.id))
            mine_found = {row.trial_id: row for row in self.real.list_front_rows(job_id=real, study_key=None)}
            others_found = {row.trial_id: row for row in self.twin.list_front_rows(job_id=twin, study_key=None)}
            assert {self.names[trial_id] for trial_id in mine_found} == set(others_found)
            for trial_id, row in mine_found.items():
                self._compare(row._asdict(), others_found[self.names[trial_id]]._asdict())


def _score(metrics: Json, singles: Json) -> float:
    return float(sum(metrics[task]["value"] - singles[task]["value"] for task in metrics))


LENGTHS = [
    pytest.param(12, 30, id="short"),
    pytest.param(200, 50, id="soak", marks=pytest.mark.soak),
]


def run(open_real: Any, close_real: Any, examples: int, steps: int) -> None:
    """Run histories on stores that are opened and closed like this."""
    doors = {"open_real": staticmethod(open_real), "close_real": staticmethod(close_real)}
    machine = type("Machine", (Histories,), doors)
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=steps))


@pytest.mark.parametrize(("examples", "steps"), LENGTHS)
def test_sqlite_does_as_its_twin(ready_sqlite_file: Path, examples: int, steps: int) -> None:
    """Whatever happens in whatever order, SQLite and memory tell the same story."""
    with tempfile.TemporaryDirectory() as folder:

        def open_real(clock: Callable[[], datetime]) -> SqlStore:
            path = shutil.copy(ready_sqlite_file, Path(tempfile.mkdtemp(dir=folder)) / "x.db")
            return open_store(f"sqlite:///{path}", backoff_jitter=0.0, clock=clock)

        run(open_real, lambda store: store.close(), examples, steps)


@pytest.mark.parametrize(("examples", "steps"), LENGTHS)
def test_postgres_does_as_its_twin(shared_postgres: Database, examples: int, steps: int) -> None:
    """Whatever happens in whatever order, PostgreSQL and memory tell the same story."""

    def clear(tx: Transaction) -> None:
        for table in reversed(metadata.sorted_tables):
            tx.execute(delete(table))

    def open_real(clock: Callable[[], datetime]) -> SqlStore:
        shared_postgres.write(clear)
        return SqlStore(Database(shared_postgres.engine, clock), Policy(backoff_jitter=0.0))

    run(open_real, lambda store: None, examples, steps)
