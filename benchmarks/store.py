"""How fast the store is: the queue under four workers; claims and lists with 10,000 jobs and 10,000 architectures.

`python benchmarks/store.py [--database URL]`; without a URL it measures a SQLite file in a temporary folder.
`benchmarks/service.py` fills its database by `fill` too, and measures the same over HTTP.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import select

from db.questions import ArchitectureQuery, JobQuery, QueueLimits, WorkerHello
from db.records.jobs import Json, NewJob, NewTrial
from db.records.states import JobKind, JobState
from db.rules import Policy
from db.sql import schema
from db.sql.engine import Database, Transaction, build_engine, parse_url
from db.sql.jobs import make_job
from db.sql.ledger import Ledger
from db.sql.store import open_store
from db.sql.twins import insert_architecture
from db.stores import Store

CHUNK = 500
WORKER = WorkerHello("bench", "bench", "1.0")
JOB_LISTS = {
    "newest first": JobQuery(),
    "by name": JobQuery(sort="name"),
    "by state": JobQuery(sort="state"),
    "by priority": JobQuery(sort="-priority"),
    "of an owner": JobQuery(owner="owner1"),
    "of a label": JobQuery(label=("team", "red")),
    "of a task": JobQuery(task="left"),
    "of a dataset": JobQuery(dataset="digits"),
    "of a name": JobQuery(name_contains="search 9"),
    "of a name that is not there": JobQuery(name_contains="nothing"),
    "that run": JobQuery(states=(JobState.RUNNING,)),
    "from the middle": JobQuery(sort="name", after=("search 5", "x")),
}
ARCHITECTURE_LISTS = {
    "newest first": ArchitectureQuery(),
    "best first": ArchitectureQuery(sort="-delta_m"),
    "cheapest first": ArchitectureQuery(sort="madds"),
    "of a study": ArchitectureQuery(study_key=f"{3:064x}", sort="-delta_m"),
    "of a task": ArchitectureQuery(task="left"),
    "below a cost": ArchitectureQuery(madds_max=10**6),
}


@dataclass(frozen=True)
class Timing:
    """How long the same call took, over and over, in milliseconds."""

    name: str
    calls: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float

    def __str__(self) -> str:
        """Return one line of the table."""
        figures = " ".join(f"{value:9.2f}" for value in (self.p50_ms, self.p95_ms, self.p99_ms, self.max_ms))
        return f"{self.name:44} {self.calls:6} {figures}"


def summarise(name: str, taken_ms: Sequence[float]) -> Timing:
    """Return the quantiles of what the same call took, at least two times."""
    cuts = statistics.quantiles(taken_ms, n=100, method="inclusive")
    return Timing(name, len(taken_ms), cuts[49], cuts[94], cuts[98], max(taken_ms))


def measure(name: str, calls: Iterable[Callable[[], object]]) -> Timing:
    """Return how long some calls took, one after the other."""
    return summarise(name, [time_call(call) for call in calls])


def time_call(call: Callable[[], object]) -> float:
    """Return how many milliseconds a call took."""
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1000


def make_study_key(number: int) -> str:
    """Return the key of a study."""
    return f"{number:064x}"


def no_op_job(number: int, *, owners: int = 5, studies: int = 10) -> NewJob:
    """Return a job of one trial that does nothing."""
    rng = random.Random(number)
    return NewJob(
        kind=JobKind.SEARCH,
        owner=f"owner{number % owners}",
        name=f"search {number}",
        spec={"dataset": rng.choice(["digits", "scenes"]), "tasks": ["left", "right"], "backbone": "tiny4"},
        spec_hash=f"{number:064x}",
        study_key=make_study_key(number % studies),
        trials=(NewTrial("candidate", "c0", {}),),
        labels={"team": rng.choice(["red", "blue"])},
        priority=rng.choice([-1, 0, 0, 0, 1]),
    )


def fill(url: str, num_jobs: int, *, with_architectures: bool = True, studies: int = 10, first: int = 0) -> None:
    """Make queued jobs, each with an architecture, a chunk per transaction: nobody wants to wait for 10,000 syncs."""
    open_store(url, exclusive=False).close()
    database = Database(build_engine(parse_url(url)))
    jobs = [no_op_job(number, studies=studies) for number in range(first, first + num_jobs)]
    for start in range(0, num_jobs, CHUNK):
        database.write(partial(_make, jobs=jobs[start : start + CHUNK], with_architectures=with_architectures))
    database.close()


def _make(tx: Transaction, jobs: Sequence[NewJob], with_architectures: bool) -> None:
    """Make some jobs in one transaction."""
    for job in jobs:
        ledger = Ledger(tx, Policy())
        record = make_job(ledger, job)
        if with_architectures:
            query = select(schema.trial).where(schema.trial.c.job_id == record.id).limit(1)
            insert_architecture(ledger, tx.list_rows(query)[0], _architecture(job))
        ledger.save()


def _architecture(job: NewJob) -> dict[str, Any]:
    """Return the values of a made-up network, as large as a real one."""
    rng = random.Random(job.name)
    metrics = {
        task: {"metric": "accuracy", "value": rng.random(), "higher_is_better": True} for task in ("left", "right")
    }
    values: dict[str, Any] = {"name": job.trials[0].name, "document": {"layers": [[0, 0]] * 20}, "copied_from": None}
    values |= {"fingerprint": job.spec_hash, "tasks": ["left", "right"], "backbone": "tiny4"}
    values |= {"dataset": job.spec["dataset"], "madds": rng.randrange(10**9), "params": rng.randrange(10**7)}
    return values | {"budget_madds": None, "seed": 0, "metrics": metrics, "delta_m": rng.uniform(-20, 20)}


def _no_score(metrics: Json, singles: Json) -> float:
    return 0.0


def _drain(store: Store, worker: str) -> None:
    """Claim and complete until nothing waits."""
    hello = WorkerHello(worker, worker, "1.0")
    while (claim := store.claim(hello, lease_seconds=90.0, max_trials=1)) is not None:
        store.complete(claim.trials[0].attempt.id, {"metrics": {}}, None, score=_no_score)


def measure_queue(url: str, *, num_jobs: int = 3_000, num_workers: int = 4) -> float:
    """Return how many no-op jobs a second are claimed and completed, by threads of one process, as in the server."""
    fill(url, num_jobs, with_architectures=False)
    store = open_store(url)
    begun = time.perf_counter()
    with ThreadPoolExecutor(num_workers) as workers:
        list(workers.map(partial(_drain, store), [f"w{number}" for number in range(num_workers)]))
    seconds = time.perf_counter() - begun
    done = store.count_jobs()[JobState.SUCCEEDED]
    store.close()
    assert done == num_jobs, f"{done} of {num_jobs} jobs succeeded"
    return num_jobs / seconds


def measure_calls(url: str, *, num_calls: int = 300) -> list[Timing]:
    """Return how long submitting, claiming, beating, completing and listing take in a store that `fill` has filled."""
    store = open_store(url, exclusive=False)
    claimed: list[str] = []

    def claim() -> None:
        taken = store.claim(WORKER, lease_seconds=900.0, max_trials=1)
        assert taken is not None
        claimed.append(taken.trials[0].attempt.id)

    limits = QueueLimits(10**6, 10**6)
    timings = [
        measure("submit", [partial(store.submit, no_op_job(10**6 + n), limits=limits) for n in range(num_calls)]),
        measure("claim", [claim] * num_calls),
        measure("heartbeat", [partial(store.heartbeat, a, lease_seconds=900.0, progress=None) for a in claimed]),
        measure("complete", [partial(store.complete, a, {}, None, score=_no_score) for a in claimed]),
    ]
    for name, query in JOB_LISTS.items():
        timings.append(measure(f"list jobs, {name}", [partial(store.list_jobs, query)] * 100))
    for name, wanted in ARCHITECTURE_LISTS.items():
        timings.append(measure(f"list architectures, {name}", [partial(store.list_architectures, wanted)] * 100))
    front = partial(store.list_front_rows, job_id=None, study_key=None)
    timings.append(measure("front rows of everything", [front] * 10))
    store.close()
    return timings


def main() -> None:
    """Print one table of timings and the throughput of the queue."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", help="URL of an empty database")
    parser.add_argument("--queue-database", help="URL of another empty one, for the queue")
    parser.add_argument("--jobs", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.database or f"sqlite:///{Path(folder) / 'lists.db'}"
        queue_url = options.queue_database or f"sqlite:///{Path(folder) / 'queue.db'}"
        print(f"queue: {measure_queue(queue_url):.0f} jobs a second, 4 workers")
        fill(url, options.jobs)
        print(f"{'with ' + str(options.jobs) + ' jobs and architectures, ms':44} {'calls':>6}", end="")
        print("".join(f"{head:>10}" for head in ("p50", "p95", "p99", "max")))
        for timing in measure_calls(url):
            print(timing)


if __name__ == "__main__":
    main()
