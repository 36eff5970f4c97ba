"""A long queue: worked off by several at once, and asked while it is long. `benchmarks/service.py` has the figures."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from db.questions import JobQuery, WorkerHello
from db.records.jobs import NewJob
from db.records.states import JobState
from db.rules import Policy
from db.sql.engine import Database, Transaction, build_engine, parse_url
from db.sql.jobs import make_job
from db.sql.ledger import Ledger
from db.sql.store import SqlStore

if TYPE_CHECKING:
    from tests.db.conftest import Bench

CHUNK = 250
LONG = pytest.mark.soak


def fill(bench: Bench, num_jobs: int) -> None:
    """Queue jobs of a few owners, many in one transaction: each by itself would take longer than all the rest."""
    database = Database(build_engine(parse_url(bench.url)))
    jobs = [bench.job(owner=f"owner{number % 5}", name=f"job {number}") for number in range(num_jobs)]
    for start in range(0, num_jobs, CHUNK):
        database.write(partial(_make, jobs=jobs[start : start + CHUNK]))
    database.close()


def _make(tx: Transaction, jobs: list[NewJob]) -> None:
    """Queue some jobs in a transaction."""
    for job in jobs:
        ledger = Ledger(tx, Policy())
        make_job(ledger, job)
        ledger.save()


def drain(store: SqlStore, worker: str) -> int:
    """Return how many trials a worker has ended until nothing waited any more."""
    hello, ended = WorkerHello(worker, worker, "1"), 0
    while (claim := store.claim(hello, lease_seconds=600.0, max_trials=1)) is not None:
        store.complete(claim.trials[0].attempt.id, {"metrics": {}}, None, score=lambda *_: 0.0)
        ended += 1
    return ended


def time_ms(call: Callable[[], object], times: int) -> float:
    """Return the median of what a call takes, in milliseconds."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


@pytest.mark.parametrize("num_jobs", [200, pytest.param(3_000, marks=LONG)])
def test_four_workers_end_a_queue(bench: Bench, num_jobs: int) -> None:
    """Each job ends once, and on a busy machine too they come to tens a second (A18)."""
    fill(bench, num_jobs)
    store = bench.open()
    began = time.perf_counter()
    with ThreadPoolExecutor(4) as workers:
        ended = list(workers.map(partial(drain, store), ["w1", "w2", "w3", "w4"]))
    seconds = time.perf_counter() - began
    assert sum(ended) == store.count_jobs()[JobState.SUCCEEDED] == num_jobs
    assert num_jobs / seconds > 10
    store.close()
    assert bench.find_broken() == {}


@pytest.mark.parametrize("num_jobs", [1_000, pytest.param(10_000, marks=LONG)])
def test_a_long_queue_is_asked_quickly(bench: Bench, num_jobs: int) -> None:
    """Lists and claims take no longer for what waits behind what they give (F4)."""
    fill(bench, num_jobs)
    store = bench.open()
    for query in (JobQuery(), JobQuery(sort="name"), JobQuery(states=(JobState.QUEUED,), owner="owner1")):
        assert len(store.list_jobs(query)) == query.limit
        assert time_ms(partial(store.list_jobs, query), 20) < 300
    claim = partial(store.claim, WorkerHello("w", "w", "1"), lease_seconds=600.0, max_trials=1)
    assert time_ms(claim, 40) < 50
    store.close()
