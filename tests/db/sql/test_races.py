"""Many at once on one database: claims, stops, ends of leases, twins, events. Real threads, one store object each."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from db.errors import IdempotencyBusyError, IllegalMoveError, LeaseLostError
from db.questions import Idempotency, QueueLimits, WorkerHello
from db.records.access import SavedResponse
from db.records.jobs import Json, MetricPoint, NewTrial
from db.records.states import JobState, Reason, StopMode, TrialState

if TYPE_CHECKING:
    from db.sql.store import SqlStore
    from tests.db.conftest import Bench

PATIENCE_S = 60


@contextmanager
def open_stores(bench: Bench, number: int, **settings: Any) -> Iterator[list[SqlStore]]:
    """Yield stores on the same database that share nothing else."""
    stores = [bench.open(backoff_seconds=0.001, **settings) for _ in range(number)]
    yield stores
    for store in stores:
        store.close()


def no_score(metrics: Json, singles: Json) -> float:
    """Return 0."""
    return 0.0


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Return what calls begun at the same moment give: their value, or the refusal they met."""
    barrier = threading.Barrier(len(calls), timeout=PATIENCE_S)

    def run(call: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return call()
        except (LeaseLostError, IllegalMoveError, IdempotencyBusyError) as refused:
            return refused

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


RIVALS = ("claim", "complete", "expiry")
ROUNDS = [pytest.param(6, id="short"), pytest.param(500, id="soak", marks=pytest.mark.soak)]


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("rival", RIVALS)
@pytest.mark.parametrize("mode", StopMode)
def test_a_stop_races_with_everything(bench: Bench, rival: str, mode: StopMode, rounds: int) -> None:
    """However a stop meets a claim, a success or the end of a lease, one terminal state follows, and nothing starts."""
    with open_stores(bench, 3) as (stopper, worker, other):
        for _ in range(rounds):
            job = bench.submit(other, "a", "b")
            lease = 0.0 if rival == "expiry" else PATIENCE_S
            taken = None if rival == "claim" else bench.take(other, lease_seconds=lease)
            move = _rival_move(bench, worker, rival, None if taken is None else taken.attempt.id)
            at_once(partial(stopper.stop_job, job.id, mode, Reason.USER_CANCEL), move)
            for trial in other.list_trials(job.id):
                if trial.state is TrialState.RUNNING:
                    attempt = other.list_attempts(trial.id)[-1]
                    other.fail(attempt.id, Reason.USER_CANCEL, "")
            assert other.get_job(job.id).state is JobState.CANCELLED
            assert bench.take(other) is None
            states = [data["state"] for data in _states(other, job.id)]
            assert states.count("CANCELLED") == 1
    assert bench.find_broken() == {}


def _rival_move(bench: Bench, store: SqlStore, rival: str, attempt_id: str | None) -> Callable[[], Any]:
    """Return what happens at the same moment as the stop."""
    if rival == "claim":
        return partial(bench.take, store, lease_seconds=PATIENCE_S)
    if rival == "expiry":
        return store.sweep
    assert attempt_id is not None
    return partial(store.complete, attempt_id, {}, None, score=no_score)


def _states(store: SqlStore, job_id: str) -> list[Any]:
    return [event.data for event in store.list_events(job_id) if event.kind == "state"]


def test_every_trial_is_claimed_once(bench: Bench) -> None:
    """Workers that ask at the same time never get the same trial, and together get all of them."""
    with open_stores(bench, 4) as stores:
        for owner in "abc":
            bench.submit(stores[0], *"uvwxyz", owner=owner)

        def drain(store: SqlStore) -> list[str]:
            return [taken.trial.id for taken in iter(lambda: bench.take(store), None)]

        claimed = at_once(*[partial(drain, store) for store in stores])
    ids = list(itertools.chain.from_iterable(claimed))
    assert len(ids) == len(set(ids)) == 18
    assert bench.find_broken() == {}


def test_twins_are_claimed_by_one(bench: Bench) -> None:
    """Workers that ask for twins of different jobs at the same time: one gets one, the others get nothing."""
    with open_stores(bench, 4) as stores:
        for number in range(4):
            trials = (NewTrial("shared", "shared", {}, f"key{number}"),)
            jobs = [stores[0].submit(_with(bench, trials), limits=QueueLimits())[0] for _ in range(4)]
            taken = at_once(*[partial(bench.take, store) for store in stores])
            (running,) = [each for each in taken if each is not None]
            stores[0].complete(running.attempt.id, {}, None, score=no_score)
            assert {stores[0].get_job(job.id).state for job in jobs} == {JobState.SUCCEEDED}
    assert bench.find_broken() == {}


def test_a_twin_is_submitted_while_its_origin_ends(bench: Bench) -> None:
    """A twin that comes in the moment the result is stored finds it, or is given it, but never waits forever."""
    trials = (NewTrial("shared", "shared", {}, "key"),)
    with open_stores(bench, 2) as (first, second):
        for number in range(10):
            trials = (NewTrial("shared", "shared", {}, f"key{number}"),)
            first.submit(_with(bench, trials), limits=QueueLimits())
            taken = bench.take(first)
            assert taken is not None
            _, (job, _) = at_once(
                partial(first.complete, taken.attempt.id, {}, None, score=no_score),
                partial(second.submit, _with(bench, trials), limits=QueueLimits()),
            )
            assert first.get_job(job.id).state is JobState.SUCCEEDED
    assert bench.find_broken() == {}


def _with(bench: Bench, trials: tuple[NewTrial, ...]) -> Any:
    """Return a job of these trials."""
    return replace(bench.job(), trials=trials)


def test_a_result_is_stored_once(bench: Bench) -> None:
    """An attempt that ends in many ways at the same time ends in one."""
    with open_stores(bench, 3) as stores:
        for _ in range(5):
            job = bench.submit(stores[0])
            taken = bench.take(stores[0])
            assert taken is not None
            attempt = taken.attempt.id
            at_once(
                partial(stores[0].complete, attempt, {"n": 1}, None, score=no_score),
                partial(stores[1].fail, attempt, Reason.DIVERGED, ""),
                partial(stores[2].release, attempt, Reason.WORKER_STOPPED, ""),
            )
            if not stores[0].get_job(job.id).state.is_terminal:
                stores[0].stop_job(job.id, StopMode.KILL, Reason.USER_KILL)
    assert bench.find_broken() == {}


def test_a_repeated_submission_makes_one_job(bench: Bench) -> None:
    """The same request sent many times at once makes one job; some may be told to come back."""
    key = Idempotency("ann", "key-of-sixteen-characters", "POST", "/x", "0" * 64)

    def respond(job: Any) -> SavedResponse:
        return SavedResponse(202, {}, str(job.id).encode())

    with open_stores(bench, 4) as stores:
        made = at_once(
            *[
                partial(store.submit, bench.job(), limits=QueueLimits(), idempotency=key, respond=respond)
                for store in stores
            ]
        )
        ids = {job.id for job, _ in (each for each in made if not isinstance(each, Exception))}
        assert len(ids) == 1
        assert sum(stores[0].count_jobs().values()) == 1


def test_a_follower_misses_no_event(bench: Bench) -> None:
    """Whoever reads on from the last event seen has seen them all in the end, whatever committed in which order."""
    with open_stores(bench, 4) as (follower, *writers):
        jobs = [bench.submit(writers[0]) for _ in writers]
        attempts = [bench.take(writers[0]) for _ in writers]
        done = threading.Event()
        seen: list[tuple[str, int]] = []

        def write(store: SqlStore, attempt_id: str) -> None:
            for step in range(40):
                store.add_metrics(attempt_id, [MetricPoint("loss", step, 1.0)])

        def follow() -> None:
            newest, last_round = 0, False
            while True:
                for event_id, event in follower.list_new_events(newest):
                    newest = event_id
                    seen.append((event.job_id, event.seq))
                if last_round:
                    return
                last_round = done.wait(0.001)

        with ThreadPoolExecutor(4) as pool:
            following = pool.submit(follow)
            pairs = zip(writers, attempts, strict=True)
            work = [pool.submit(write, store, taken.attempt.id) for store, taken in pairs if taken is not None]
            for each in work:
                each.result(PATIENCE_S)
            done.set()
            following.result(PATIENCE_S)
        everything = [(job.id, event.seq) for job in jobs for event in follower.list_events(job.id)]
    assert sorted(seen) == sorted(everything)
    assert bench.find_broken() == {}


def test_dashboards_never_lock_writers_out(sqlite_bench: Bench) -> None:
    """Twenty readers beside four writers on one SQLite file: nobody is told that the database is locked."""
    with open_stores(sqlite_bench, 2) as (server, other):
        job = sqlite_bench.submit(server, *"abcdefgh")
        stop = threading.Event()

        def read() -> int:
            rounds = 0
            while not stop.wait(random.uniform(0.0, 0.1)):
                server.list_new_events(0)
                other.get_job(job.id)
                other.list_trials(job.id)
                rounds += 1
            return rounds

        def write(store: SqlStore) -> None:
            taken = sqlite_bench.take(store)
            assert taken is not None
            for step in range(25):
                store.add_metrics(taken.attempt.id, [MetricPoint("loss", step, 1.0)])
                store.add_logs(taken.attempt.id, ["line"] * 10)
            store.complete(taken.attempt.id, {}, None, score=no_score)

        with ThreadPoolExecutor(24) as pool:
            readers = [pool.submit(read) for _ in range(20)]
            for each in [pool.submit(write, store) for store in (server, other, server, other)]:
                each.result(PATIENCE_S)
            stop.set()
            assert all(reader.result(PATIENCE_S) > 0 for reader in readers)
    assert sqlite_bench.find_broken() == {}


def test_leases_run_out_while_everyone_works(bench: Bench) -> None:
    """With leases far too short every trial still ends exactly once."""
    with open_stores(bench, 4) as stores:
        jobs = [bench.submit(stores[0], "a", "b", max_attempts=1000) for _ in range(5)]
        begun = datetime.now(UTC)

        def work(store: SqlStore, worker: str) -> None:
            rng = random.Random(worker)
            while not all(store.get_job(job.id).state.is_terminal for job in jobs):
                assert datetime.now(UTC) - begun < timedelta(seconds=PATIENCE_S)
                store.sweep()
                hello = WorkerHello(worker, worker, "1")
                claim = store.claim(hello, lease_seconds=rng.choice([0.0, 0.002, 30.0]), max_trials=2)
                for taken in () if claim is None else claim.trials:
                    try:
                        store.complete(taken.attempt.id, {"by": worker}, None, score=no_score)
                    except LeaseLostError:
                        continue

        with ThreadPoolExecutor(4) as pool:
            for each in [pool.submit(work, store, f"w{number}") for number, store in enumerate(stores)]:
                each.result(2 * PATIENCE_S)
        assert {stores[0].get_job(job.id).state for job in jobs} == {JobState.SUCCEEDED}
    assert bench.find_broken() == {}
