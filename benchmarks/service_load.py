"""What `benchmarks/service.py` measures, and its table. Neighbours: `service_process.py`, `store.py`.

Latencies are those of a client on the same machine, from the request to the last byte of the answer. Aims are for two
cores that do nothing else; the load average stands beside the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from databases import open_databases
from service_process import Connection, ServerProcess
from store import WORKER, fill, make_study_key, measure_queue, no_op_job, summarise, time_call

from db.questions import QueueLimits
from db.records.jobs import NewTrial
from db.sql.store import open_store

SEARCH = {
    "dataset": "digits",
    "tasks": ["left", "right"],
    "backbone": "tiny4",
    "budgets": ["60%"],
    "seeds": [0],
    "preset": "smoke",
}
VERSION = version("bmtas")  # The server gives work to its own version only.
FEWEST_JOBS, MOST_JOBS = 2_000, 15_000  # Claims must not empty the queue, nor submits fill it.
LISTS = {
    "list jobs, newest first": "searches",
    "list jobs, by name": "searches?sort=name",
    "list jobs, of a state and a label": "searches?state=QUEUED&label=team:red",
    "list jobs, of a name": "searches?name=search%209",
    "list architectures, newest first": "architectures",
    "list architectures, best first": "architectures?sort=-delta_m",
    "list architectures, of a task, cheapest first": "architectures?task=left&sort=madds",
    "list architectures, of a study below a cost": f"architectures?study={make_study_key(0)}&madds_max=1000000",
}
STARTS, LIST_CALLS, FRONT_CALLS = 3, 200, 20
CLAIMS, SUBMITS, SUBMITTERS = 500, 1_000, 8
QUEUE_JOBS = 3_000
QUEUE_AIMS = {"SQLite": 300.0, "PostgreSQL": 150.0}  # Jobs a second.
STREAMS, EVENTS_PER_STREAM, EVENT_PAUSE_SECONDS = 8, 25, 0.6
FLOOD_WRITERS, FLOOD_BATCHES, BATCH_POINTS, PROBE_PAUSE_SECONDS = 4, 25, 500, 0.02


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        name: What was measured.
        unit: Of the figures.
        figures: {"value": ...}, or p50, p95, p99 and max; "cpu" is the server's own CPU time per call, which says what
            a slow call is slow from: the server's work, or waiting for the disk, the database or a busy machine.
        count: How many times it was measured.
        aim: (which of the figures, what it must be below); None where there is no aim.
        at_least: Whether the figure must reach the aim instead.
    """

    name: str
    unit: str
    figures: dict[str, float]
    count: int = 1
    aim: tuple[str, float] | None = None
    at_least: bool = False

    @property
    def is_missed(self) -> bool:
        """Return whether there is an aim and the figure does not reach it."""
        if self.aim is None:
            return False
        figure, bound = self.figures[self.aim[0]], self.aim[1]
        return figure < bound if self.at_least else figure >= bound

    def __str__(self) -> str:
        """Return the line."""
        cells = [self.figures.get("value"), *(self.figures.get(name) for name in ("p50", "p95", "p99", "max", "cpu"))]
        text = "".join(f"{'' if cell is None else f'{cell:.4g}':>9}" for cell in cells)
        line = f"{self.name:<46}{self.count:>6}{text}  {self.unit:<7}"
        if self.aim is None:
            return line.rstrip()
        aim = f"{self.aim[0]} {'>=' if self.at_least else '<'} {self.aim[1]:g}"
        return f"{line}  {aim:<16}{'MISSED' if self.is_missed else 'OK'}"


def main() -> int:
    """Return 0 if every aim is reached, else 1, after printing the table."""
    parser = argparse.ArgumentParser(description="Measure the service.")
    parser.add_argument(
        "--database",
        default="sqlite",
        help="sqlite, postgresql (one is started for the measurement, if it is installed) or the URL of an empty "
        "PostgreSQL database; sqlite without it",
    )
    parser.add_argument(
        "--jobs", type=int, default=10_000, help=f"jobs and architectures, {FEWEST_JOBS} to {MOST_JOBS}"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    if not FEWEST_JOBS <= options.jobs <= MOST_JOBS:
        parser.error(f"--jobs must be between {FEWEST_JOBS} and {MOST_JOBS}, got {options.jobs}.")
    load = os.getloadavg()[0]
    kind = "SQLite" if options.database == "sqlite" else "PostgreSQL"
    with tempfile.TemporaryDirectory() as folder, open_databases(options.database) as (url, queue_url):
        server = ServerProcess(Path(folder) / "data", url)
        try:
            rows = measure_service(server, options.jobs)
        finally:
            server.stop()
        if queue_url is not None:
            rows.append(measure_no_op_queue(queue_url, QUEUE_AIMS[kind]))
    loads = [round(load, 1), round(os.getloadavg()[0], 1)]
    if options.json:
        described = [asdict(row) | {"missed": row.is_missed} for row in rows]
        print(json.dumps({"database": kind, "jobs": options.jobs, "load": loads, "rows": described}))
    else:
        print(f"{kind}, {options.jobs} jobs; load average {loads[0]} before, {loads[1]} after, {os.cpu_count()} cores")
        print(f"{'':<46}{'times':>6}{'value':>9}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}{'cpu':>9}  unit     aim")
        print("\n".join(str(row) for row in rows))
        missed = [row.name.strip() for row in rows if row.is_missed]
        aims = sum(row.aim is not None for row in rows)
        print(f"{aims - len(missed)} of {aims} aims reached" + (f"; missed: {', '.join(missed)}" if missed else ""))
    return int(any(row.is_missed for row in rows))


def measure_service(server: ServerProcess, num_jobs: int) -> list[Row]:
    """Return all figures of a server that does not run yet, on an empty database."""
    rows = [Row("start, empty database", "s", {"value": server.start()}, aim=("value", 2.0))]
    rows.append(Row("  CPU time of it", "s", {"value": server.cpu_seconds}))
    rows.append(Row("memory after it", "MB", {"value": server.resident_mb}))
    server.stop()
    began = time.perf_counter()
    add_baselines(server.database_url)
    fill(server.database_url, num_jobs, studies=1)
    rows.append(Row(f"filling in {num_jobs} jobs, no HTTP", "s", {"value": time.perf_counter() - began}))
    rows.append(measure_starts(server))
    rows.append(Row("memory after start", "MB", {"value": server.resident_mb}, aim=("value", 150.0)))
    rows += measure_lists(server, num_jobs)
    rows += measure_claims(server)
    attempts = [claim(connection) for connection in [server.connect("worker")] for _ in range(STREAMS)]
    rows.append(measure_events(server, attempts))
    rows += measure_flood(server, attempts[:FLOOD_WRITERS])
    rows += measure_submits(server)
    rows.append(Row("memory at the end", "MB", {"value": server.resident_mb}, aim=("value", 150.0)))
    return rows


def measure_no_op_queue(url: str, aim: float) -> Row:
    """Return how many no-op jobs a second are claimed and completed by four workers on an empty database, no HTTP."""
    figures = {"value": measure_queue(url, num_jobs=QUEUE_JOBS)}
    return Row("queue, 4 workers, no HTTP", "per s", figures, QUEUE_JOBS, ("value", aim), at_least=True)


def add_baselines(url: str) -> None:
    """Finish the baselines of the study, so that its front comes with its area and its references."""
    store = open_store(url)
    names = {"single-left": ["left"], "single-right": ["right"], "shared": ["left", "right"]}
    trials = tuple(NewTrial(name.partition("-")[0], name, {}) for name in names)
    store.submit(replace(no_op_job(0, studies=1), trials=trials), limits=QueueLimits())
    taken = store.claim(WORKER, lease_seconds=900.0, max_trials=len(names))
    assert taken is not None
    for claimed in taken.trials:
        metrics = {
            task: {"metric": "accuracy", "value": 0.5, "higher_is_better": True} for task in names[claimed.trial.name]
        }
        result = {"metrics": metrics, "madds": 500_000_000, "params": 5_000_000}
        store.complete(claimed.attempt.id, result, None, score=lambda *_: 0.0)
    store.close()


def measure_starts(server: ServerProcess) -> Row:
    """Return how long starts on a full database take; the last server runs on."""
    seconds = [server.start()]
    for _ in range(STARTS - 1):
        server.stop()
        seconds.append(server.start())
    figures = {"value": statistics.median(seconds), "max": max(seconds)}
    return Row("start, full database, median", "s", figures, STARTS, ("value", 2.0))


def measure_lists(server: ServerProcess, num_jobs: int) -> list[Row]:
    """Return how long the first pages of lists and the front of everything take."""
    reader = server.connect("viewer")
    rows = []
    for name, path in LISTS.items():
        measured = _Watch(server)
        taken = [time_call(partial(reader.get, f"/api/v1/{path}")) for _ in range(LIST_CALLS)]
        rows.append(measured.row(name, taken, ("p95", 50.0)))
    path = f"/api/v1/pareto?study={make_study_key(0)}"
    front = reader.get(path)
    assert len(front["points"]) == num_jobs, f"the front has {len(front['points'])} points, not {num_jobs}"
    assert front["hypervolume"] is not None, "the front has no area"
    rows += _measure_fronts(server, reader, num_jobs)
    reader.close()
    return rows


def _measure_fronts(server: ServerProcess, reader: Connection, num_jobs: int) -> list[Row]:
    """Return how long a front takes when it is asked for again, and when something was found since."""
    path = f"/api/v1/pareto?study={make_study_key(0)}"
    # The bytes alone: to decode megabytes is the client's own work.
    ask = partial(_read_bytes, reader, path)
    name = f"front of {num_jobs} points"
    measured = _Watch(server)
    taken = [time_call(ask) for _ in range(FRONT_CALLS)]
    again = measured.row(f"{name}, nothing new", taken, ("p50", 100.0))
    taken, seconds = [], 0.0
    for number in range(FRONT_CALLS):
        fill(server.database_url, 1, studies=1, first=num_jobs + number)
        measured = _Watch(server)
        taken.append(time_call(ask))
        seconds += measured.cpu_seconds
    fresh = _in_ms(f"{name}, one of them new", taken, ("p50", 100.0))
    cpu = {"cpu": seconds * 1000 / FRONT_CALLS}
    return [again, replace(fresh, figures={**fresh.figures, **cpu})]


def _read_bytes(reader: Connection, path: str) -> bytes:
    """Return the body of an answer."""
    return reader.open("GET", path).read()


def measure_claims(server: ServerProcess) -> list[Row]:
    """Return how long claims take, of one worker and of several at a time."""
    workers = [server.connect("worker") for _ in range(4)]
    measured = _Watch(server)
    taken = [time_call(partial(claim, workers[0])) for _ in range(CLAIMS)]
    rows = [measured.row("claim", taken, ("p99", 50.0))]
    measured = _Watch(server)
    together = _side_by_side([partial(_time_claims, worker, CLAIMS // 4) for worker in workers])
    rows.append(measured.row("claim, 4 workers at once", together))
    return rows


def claim(worker: Connection) -> dict[str, Any]:
    """Return the one trial that a worker is given."""
    hello = {"id": "benchmark", "name": "benchmark", "version": VERSION}
    answer = worker.post("/api/v1/worker/claims", {"worker": hello, "max_trials": 1})
    assert answer is not None, "the queue is empty"
    trial: dict[str, Any] = answer["trials"][0] | {"job_id": answer["job"]["id"]}
    return trial


def measure_events(server: ServerProcess, attempts: Sequence[dict[str, Any]]) -> Row:
    """Return how long lines of a log take from before they are sent to the server to those who follow the job.

    So the time to the commit is in it: what is asked for, from commit to client, is less.
    """
    followers = [partial(_follow, server.connect("viewer"), attempt["job_id"]) for attempt in attempts]
    writers = [partial(_write_lines, server.port, attempt) for attempt in attempts]
    measured = _Watch(server)
    taken = _side_by_side([*followers, *writers])
    return measured.row(f"event from write to client, {len(attempts)} streams", taken, ("p95", 1000.0))


def _follow(viewer: Connection, job_id: str) -> list[float]:
    """Return the milliseconds by which lines come later than they say that they were written."""
    taken: list[float] = []
    response = viewer.open("GET", f"/api/v1/searches/{job_id}/events")
    while len(taken) < EVENTS_PER_STREAM:
        line = response.readline()
        assert line, "the stream has ended"
        if line.startswith(b"data: ") and b'"lines"' in line:
            arrived = time.perf_counter()
            taken += [(arrived - float(entry["text"])) * 1000 for entry in json.loads(line[6:])["lines"]]
    viewer.close()
    return taken


def _write_lines(port: int, attempt: dict[str, Any]) -> list[float]:
    """Write lines that say when, at random times; nothing is returned for the table."""
    connection = Connection(port, attempt["attempt"]["token"])
    pauses = random.Random(attempt["job_id"])
    path = f"/api/v1/worker/attempts/{attempt['attempt']['id']}/logs"
    for _ in range(EVENTS_PER_STREAM):
        time.sleep(pauses.uniform(0, EVENT_PAUSE_SECONDS))
        connection.post(path, {"lines": [repr(time.perf_counter())]})
    connection.close()
    return []


def measure_flood(server: ServerProcess, attempts: Sequence[dict[str, Any]]) -> list[Row]:
    """Return how long many figures take to be stored, and how long others wait meanwhile."""
    over = threading.Event()
    measured = _Watch(server)
    with ThreadPoolExecutor(1) as prober:
        probing = prober.submit(_probe, server, attempts[0]["job_id"], over)
        began = time.perf_counter()
        try:
            batches = _side_by_side([partial(_flood, server.port, attempt) for attempt in attempts])
            seconds = time.perf_counter() - began
        finally:
            over.set()
        probes = probing.result()
    num_points = len(batches) * BATCH_POINTS
    return [
        Row(f"flood of {num_points} figures, {len(attempts)} writers", "s", {"value": seconds}),
        measured.row(f"  a batch of {BATCH_POINTS} in it", batches),
        _in_ms("  other requests meanwhile", probes),
    ]


def _flood(port: int, attempt: dict[str, Any]) -> list[float]:
    """Return the milliseconds that batches of figures took."""
    connection = Connection(port, attempt["attempt"]["token"])
    path = f"/api/v1/worker/attempts/{attempt['attempt']['id']}/metrics"
    taken = []
    for batch in range(FLOOD_BATCHES):
        steps = range(batch * BATCH_POINTS, (batch + 1) * BATCH_POINTS)
        points = [{"name": f"loss/{step % 5}", "step": step // 5, "value": step / 7} for step in steps]
        taken.append(time_call(partial(connection.post, path, {"points": points})))
    connection.close()
    return taken


def _probe(server: ServerProcess, job_id: str, over: threading.Event) -> list[float]:
    """Return the milliseconds that a reader waited while others wrote."""
    reader = server.connect("viewer")
    taken = []
    while not over.is_set():
        for path in ("searches", f"searches/{job_id}", f"searches/{job_id}/trials"):
            taken.append(time_call(partial(reader.get, f"/api/v1/{path}")))
            time.sleep(PROBE_PAUSE_SECONDS)
    reader.close()
    return taken


def measure_submits(server: ServerProcess) -> list[Row]:
    """Return how many searches a second several people can submit, into a queue that is long already."""
    people = [server.connect("operator") for _ in range(SUBMITTERS)]
    people[0].post("/api/v1/searches", SEARCH)  # The first one measures the costs of its networks.
    measured, began = _Watch(server), time.perf_counter()
    taken = _side_by_side([partial(_submit, person, SUBMITS // SUBMITTERS) for person in people])
    per_second = len(taken) / (time.perf_counter() - began)
    return [
        Row(f"submits, {SUBMITTERS} connections", "per s", {"value": per_second}, len(taken)),
        measured.row("  one of them", taken),
    ]


def _submit(person: Connection, times: int) -> list[float]:
    """Return the milliseconds that submits took, one after the other."""
    return [time_call(partial(person.post, "/api/v1/searches", SEARCH)) for _ in range(times)]


def _time_claims(worker: Connection, times: int) -> list[float]:
    """Return the milliseconds that claims took, one after the other."""
    return [time_call(partial(claim, worker)) for _ in range(times)]


def _side_by_side(calls: Sequence[Callable[[], list[float]]]) -> list[float]:
    """Return what calls in threads of their own return, put together."""
    with ThreadPoolExecutor(len(calls)) as threads:
        waiting = [threads.submit(call) for call in calls]
        return [value for future in waiting for value in future.result()]


class _Watch:
    """Reads the server's CPU time from now on."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._begun = server.cpu_seconds

    @property
    def cpu_seconds(self) -> float:
        """Return the CPU time that the server has used since."""
        return self._server.cpu_seconds - self._begun

    def row(self, name: str, taken_ms: Sequence[float], aim: tuple[str, float] | None = None) -> Row:
        """Return a line of latencies with the CPU time per call."""
        cpu_ms = self.cpu_seconds * 1000 / len(taken_ms)
        row = _in_ms(name, taken_ms, aim)
        return replace(row, figures={**row.figures, "cpu": cpu_ms})


def _in_ms(name: str, taken_ms: Sequence[float], aim: tuple[str, float] | None = None) -> Row:
    """Return the quantiles of some latencies as a line."""
    timing = summarise(name, taken_ms)
    figures = {"p50": timing.p50_ms, "p95": timing.p95_ms, "p99": timing.p99_ms, "max": timing.max_ms}
    return Row(name, "ms", figures, timing.calls, aim)
