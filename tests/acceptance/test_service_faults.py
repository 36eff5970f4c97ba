"""The service as a whole while things are killed around it: every job ends with one result per trial, the right tree.

Trials run as child processes here, so that no test needs a Ray; test_ray_faults.py kills Ray's processes.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import httpx
import pytest

from service.client_parts.connection import Connection, Patience
from service.errors import AttemptLostError
from service.serving.server_files import ServerFiles
from service.web.token_format import make_attempt_token
from service.working.process_sessions import is_alive
from service.working.worker_client import AttemptClient

if TYPE_CHECKING:
    from tests.acceptance.conftest import Reference, Site, WorkerProcess
    from tests.conftest import PostgresCluster

BACKOFF_SECONDS = 0.2  # of a site


def test_a_search_over_http_finds_what_the_command_line_finds(postgres_site: Site, reference: Reference) -> None:
    """The whole chain: submitted, run by a worker, its network and its figures are those of `bmtas search`."""
    postgres_site.start_worker()
    job_id = postgres_site.submit(retrain=True)
    postgres_site.check_done_once(job_id)
    assert postgres_site.document(job_id) == reference.document
    front, (expected,) = postgres_site.client.get_front(job_id), reference.results["candidates"]
    assert postgres_site.figures(job_id) == (expected["metrics"], expected["delta_m"])
    assert front.front == {point.id for point in front.points}


def test_a_worker_stopped_in_mid_search_hands_on_what_it_did(any_site: Site, reference: Reference) -> None:
    """A12, A17: SIGTERM saves and gives back; the next worker goes on there and finds the undisturbed tree."""
    worker = any_site.start_worker()
    job_id = any_site.submit()
    any_site.wait_for_steps(job_id)
    code, seconds = worker.end(signal.SIGTERM)
    assert (code, seconds < 8) == (0, True), seconds
    assert worker.living() == []
    any_site.start_worker()
    attempts = any_site.check_done_once(job_id)
    assert [(row["state"], row["reason"]) for row in attempts] == [("RELEASED", "worker_stopped"), ("SUCCEEDED", None)]
    assert any("goes on at step" in line for line in any_site.lines(job_id))
    assert any_site.tree(job_id) == reference.tree


def test_a_search_cancelled_and_resumed_over_http_ends_alike(postgres_site: Site, reference: Reference) -> None:
    """It stops soon, keeps its checkpoint, goes on there when it is resumed, and finds the undisturbed tree."""
    postgres_site.start_worker()
    job_id = postgres_site.submit()
    postgres_site.wait_for_steps(job_id)
    postgres_site.client.cancel(job_id)
    job = postgres_site.wait_for_end(job_id)
    assert (job.state, job.reason) == ("CANCELLED", "user_cancel")
    postgres_site.client.resume(job_id)
    attempts = postgres_site.check_done_once(job_id)
    assert [row["state"] for row in attempts] == ["RELEASED", "SUCCEEDED"]
    assert any("goes on at step" in line for line in postgres_site.lines(job_id))
    assert postgres_site.tree(job_id) == reference.tree


def test_a_worker_goes_on_while_its_server_is_killed(steady_site: Site, reference: Reference) -> None:
    """Nothing is done twice: the attempt outlives the server and ends once another one listens."""
    worker = steady_site.start_worker()
    job_id = steady_site.submit()
    steady_site.wait_for_steps(job_id)
    steady_site.kill_server()
    assert is_alive(worker.trial_process(job_id))
    steady_site.start_server()
    attempts = steady_site.check_done_once(job_id)
    assert len(attempts) == 1
    assert worker.process.poll() is None
    assert steady_site.tree(job_id) == reference.tree


def crash_workers(site: Site, num_jobs: int, num_kills: int, reference: Reference) -> None:
    """Run searches while their workers are killed at random moments, alone or with all that they started."""
    jobs = [site.submit(name=f"search {number}") for number in range(num_jobs)]
    for number in range(num_kills):
        worker = site.start_worker("--executor", "local", "--slots", "2")
        site.wait(lambda worker=worker: "Claimed" in worker.log, "a claim")  # type: ignore[misc]
        time.sleep(random.uniform(0.0, 5.0))
        if number % 2:
            worker.end(signal.SIGKILL)
        else:
            worker.send_all(signal.SIGKILL)
    site.start_worker("--executor", "local", "--slots", "2")
    for job_id in jobs:
        site.check_done_once(job_id)
        assert site.tree(job_id) == reference.tree


def test_workers_killed_at_random_lose_no_search(site: Site, reference: Reference) -> None:
    """A1: whatever died when, each search ends with one result."""
    crash_workers(site, num_jobs=3, num_kills=2, reference=reference)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_workers_killed_for_minutes_lose_no_search(any_site: Site, reference: Reference) -> None:
    """The long form of A1."""
    crash_workers(any_site, num_jobs=20, num_kills=20, reference=reference)


def test_a_worker_frozen_for_longer_than_its_lease_changes_nothing(site: Site, reference: Reference) -> None:
    """A2: its trial ends elsewhere; what it says late is refused, and woken it ends within seconds."""
    frozen = site.start_worker()
    job_id = site.submit()
    site.wait_for_steps(job_id)
    frozen.send_all(signal.SIGSTOP)
    other = site.start_worker()
    site.wait(lambda: other.trial_process(job_id, 2), "the second attempt")
    stale = site.attempts(job_id)[0]
    assert (stale["state"], stale["reason"]) == ("LOST", "lease_lost")
    token = make_attempt_token(stale["id"], ServerFiles(site.folder / "data").load_secret())
    with closing(AttemptClient(Connection(site.address, token, patience=Patience(10.0)), stale["id"])) as late:
        with pytest.raises(AttemptLostError):
            late.complete({}, None)
    frozen.send_all(signal.SIGCONT)
    site.wait(lambda: not is_alive(frozen.trial_process(job_id)), "the end of the zombie", seconds=8)
    attempts = site.check_done_once(job_id)
    assert attempts[-1]["worker"] != stale["worker"]
    assert site.tree(job_id) == reference.tree


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_long_search_stopped_ten_times_ends_alike(any_site: Site) -> None:
    """The long form of A12 and A17: asked to stop, killed and cancelled in turn, it finds what its calm twin finds."""
    any_site.patience_s, words = 1800, {"preset": "quick"}
    job_id = any_site.submit(**words)
    for number in range(1, 11):
        worker = any_site.start_worker()
        any_site.wait_for_steps(job_id, number)
        if number % 3 == 0:
            any_site.client.cancel(job_id)
            any_site.wait_for_end(job_id)
        worker.end(signal.SIGTERM if number % 2 else signal.SIGKILL)
        if number % 3 == 0:
            any_site.client.resume(job_id)
    any_site.start_worker("--executor", "local", "--slots", "2")
    calm = any_site.submit(**words)
    any_site.check_done_once(job_id)
    any_site.check_done_once(calm)
    assert any_site.tree(job_id) == any_site.tree(calm)


def is_ready(site: Site) -> bool:
    """Return whether a server says that it is ready."""
    return httpx.get(f"{site.address}/readyz", trust_env=False, timeout=30).status_code == 200


def drop_database(falling_site: tuple[Site, PostgresCluster], num_falls: int, reference: Reference) -> None:
    """Stop PostgreSQL at once in the midst of each of so many searches, and start it again."""
    site, cluster = falling_site
    site.start_worker()
    jobs = [site.submit(name=f"search {number}") for number in range(num_falls)]
    for job_id in jobs:
        site.wait_for_steps(job_id)
        cluster.stop(signal.SIGQUIT)
        site.wait(lambda: not is_ready(site), "the server's notice")
        cluster.start()
        assert site.wait(lambda: is_ready(site), "the server's return") < 10
    for job_id in jobs:
        site.check_done_once(job_id)
        assert site.tree(job_id) == reference.tree


def test_a_database_that_falls_costs_no_result(
    falling_site: tuple[Site, PostgresCluster], reference: Reference
) -> None:
    """A5: the server is ready again soon after its database, and each search has one result."""
    drop_database(falling_site, 2, reference)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_database_that_falls_again_and_again_costs_no_result(
    falling_site: tuple[Site, PostgresCluster], reference: Reference
) -> None:
    """The long form of A5."""
    drop_database(falling_site, 15, reference)


@contextmanager
def killing_all_trials(worker: WorkerProcess, job_id: str) -> Iterator[None]:
    """Kill every process that runs a trial of a job, as if the trial crashed it."""
    ended = threading.Event()

    def kill() -> None:
        """Kill until told to stop."""
        attempt = 1
        while not ended.wait(0.05):
            if pid := worker.trial_process(job_id, attempt):
                os.kill(pid, signal.SIGKILL)
                attempt += 1

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_search_that_always_crashes_harms_no_other(site: Site, reference: Reference) -> None:
    """A10: it fails after its third attempt, each after a longer rest, and the searches beside it end well."""
    worker = site.start_worker("--executor", "local", "--slots", "2")
    poison, good = site.submit(max_attempts=3), site.submit()
    with killing_all_trials(worker, poison):
        job = site.wait_for_end(poison)
    assert (job.state, job.reason) == ("FAILED", "max_attempts")
    assert "3 of 3 times" in job.message
    attempts = site.attempts(poison)
    assert [row["reason"] for row in attempts] == ["worker_crashed"] * 3
    times = [[datetime.fromisoformat(row[name]) for name in ("started_at", "ended_at")] for row in attempts]
    rests = [(later[0] - earlier[1]).total_seconds() for earlier, later in pairwise(times)]
    assert all(rest >= 0.8 * BACKOFF_SECONDS * 2**number for number, rest in enumerate(rests))
    site.check_done_once(good)
    assert site.tree(good) == reference.tree


def test_a_search_whose_dataset_vanished_says_so_and_can_be_resumed(site: Site) -> None:
    """Its samples cannot be had: it fails at once with that reason; mended and resumed it prepares them again."""
    cache = site.folder / "vanishing"
    cache.mkdir()
    (cache / "scenes").write_text("no folder any more")
    site.start_worker(variables={"BMTAS_CACHE": str(cache)})
    job_id = site.submit(dataset="scenes", tasks=["semseg", "depth"], input_size=(64, 64), budgets=["90%"])
    job = site.wait_for_end(job_id)
    assert (job.state, job.reason, len(site.attempts(job_id))) == ("FAILED", "bad_dataset", 1)
    assert "cache folder" in job.message
    (cache / "scenes").unlink()
    site.client.resume(job_id)
    site.wait(lambda: site.attempts(job_id)[-1]["step"] > 0, "progress of the second attempt")
    site.client.kill(job_id)  # to the end it would take a minute
    assert site.wait_for_end(job_id).state == "CANCELLED"
