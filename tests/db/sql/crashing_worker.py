"""A worker that kills itself at random moments and is born again: `crashing_worker.py URL SEED`, run by `test_crashes`.

Prints how often it was killed.
"""

import os
import random
import signal
import sys
import time

from db.errors import LeaseLostError
from db.questions import WorkerHello
from db.records.jobs import Json, MetricPoint, Progress
from db.records.states import JobState
from db.sql.store import open_store

LEASE_SECONDS = 0.5


def no_score(metrics: Json, singles: Json) -> float:
    """Return 0."""
    return 0.0


def main() -> None:
    """Live until a life has seen every job ended."""
    url, seed = sys.argv[1:]
    kills = 0
    while _live_once(url, f"{seed} {kills}") != 0:
        kills += 1
    sys.stdout.write(str(kills))


def _live_once(url: str, seed: str) -> int:
    """Return the exit code of one life, lived in a child process: Python need not be loaded anew for it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work(url, seed)
            code = 0
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, -signal.SIGKILL):
        sys.exit(status)
    return status


def work(url: str, seed: str) -> None:
    """Work until every job has ended, if it lives that long."""
    rng = random.Random(seed)

    def maybe_die(chance: float) -> None:
        if rng.random() < chance:
            os.kill(os.getpid(), signal.SIGKILL)

    store = open_store(url, exclusive=False, backoff_seconds=0.001)
    hello = WorkerHello(str(os.getpid()), "crashing", "1")
    while sum(number for state, number in store.count_jobs().items() if not JobState(state).is_terminal):
        store.sweep()
        claim = store.claim(hello, lease_seconds=LEASE_SECONDS, max_trials=1)
        if claim is None:
            time.sleep(0.02)
            continue
        attempt = claim.trials[0].attempt.id
        try:
            store.heartbeat(attempt, lease_seconds=LEASE_SECONDS, progress=Progress("work", 1, 2))
            maybe_die(0.06)
            store.add_metrics(attempt, [MetricPoint("loss", 1, rng.random())])
            if rng.random() < 0.05:
                time.sleep(LEASE_SECONDS * 1.3)
            maybe_die(0.04)
            store.complete(attempt, {"worker": hello.id}, None, score=no_score)
            maybe_die(0.04)
        except LeaseLostError:
            continue


if __name__ == "__main__":
    main()
