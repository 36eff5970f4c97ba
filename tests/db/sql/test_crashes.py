"""Processes killed at random moments, and files copied while they are written: nothing acknowledged is lost."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from db.records.states import JobState
from db.sql.engine import parse_url

if TYPE_CHECKING:
    from tests.db.conftest import Bench

WORKER = Path(__file__).with_name("crashing_worker.py")
PATIENCE_S = 240
NUM_WORKERS = 3


def start(*arguments: str) -> subprocess.Popen[bytes]:
    """Return a Python process that has the project's modules."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.Popen([sys.executable, *arguments], env=environment, stdout=subprocess.PIPE)


@pytest.mark.parametrize(
    ("num_jobs", "seed"),
    [
        pytest.param(25, 0, id="short"),
        *(pytest.param(300, seed, id=f"soak{seed}", marks=pytest.mark.soak) for seed in range(5)),
    ],
)
def test_workers_that_die_leave_one_result_each(bench: Bench, num_jobs: int, seed: int) -> None:
    """However often workers are killed between any two steps, every job ends with exactly one result per trial."""
    store = bench.open()
    jobs = [bench.submit(store, max_attempts=100) for _ in range(num_jobs)]
    workers = [start(str(WORKER), bench.url, f"{seed} {number}") for number in range(NUM_WORKERS)]
    printed = [worker.communicate(timeout=PATIENCE_S)[0] for worker in workers]
    assert {worker.returncode for worker in workers} == {0}
    assert sum(map(int, printed)) > 0
    states = {store.get_job(job.id).state for job in jobs}
    results = [store.list_trials(job.id)[0].result for job in jobs]
    store.close()
    assert states == {JobState.SUCCEEDED}
    assert None not in results
    assert bench.find_broken() == {}


WRITER = """
import sys
from db.sql.store import open_store
from db.records.jobs import NewJob, NewTrial
from db.records.states import JobKind
from db.questions import QueueLimits
store = open_store(sys.argv[1], exclusive=False)
trials = (NewTrial("candidate", "t", {"filler": "x" * 3000}),)
while True:
    job = NewJob(JobKind.SEARCH, "ann", "n", {}, "0" * 64, "s", trials)
    print(store.submit(job, limits=QueueLimits())[0].id, flush=True)
"""


@pytest.mark.parametrize("rounds", [pytest.param(3, id="short"), pytest.param(20, id="soak", marks=pytest.mark.soak)])
def test_a_killed_writer_loses_nothing_acknowledged(sqlite_bench: Bench, rounds: int) -> None:
    """After kill -9 the file is sound and has every job that was answered, and so is a copy taken before."""
    path = Path(str(parse_url(sqlite_bench.url).database))
    acknowledged: list[str] = []
    for number in range(rounds):
        writer = start("-c", WRITER, sqlite_bench.url)
        assert writer.stdout is not None
        acknowledged.append(writer.stdout.readline().decode().strip())
        time.sleep(random.uniform(0.05, 0.4))
        copy = _copy_files(path, path.with_name(f"copy{number}.db"))
        writer.kill()
        acknowledged += writer.stdout.read().decode().split()
        writer.stdout.close()
        writer.wait(PATIENCE_S)
        for file in (path, copy):
            _assert_sound(file)
        store = sqlite_bench.open()
        assert [job_id for job_id in acknowledged if not store.list_trials(job_id)] == []
        store.close()
    assert sqlite_bench.find_broken() == {}


def _copy_files(path: Path, target: Path) -> Path:
    """Return a copy of a database under way: the file first, then its log, as a snapshot between the two would be."""
    with sqlite3.connect(path) as reader:
        # A reader keeps checkpoints from moving pages between the two copies, as a frozen file system would.
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM job").fetchone()
        for suffix in ("", "-wal"):
            if Path(f"{path}{suffix}").exists():
                shutil.copy(f"{path}{suffix}", f"{target}{suffix}")
    reader.close()
    return target


def _assert_sound(path: Path) -> None:
    """Check pages, indexes and references of a SQLite file."""
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
