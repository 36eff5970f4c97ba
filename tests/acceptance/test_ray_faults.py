"""The service on a real Ray, whose processes are killed: every search ends with one result per trial and its tree."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from service.working.process_sessions import is_alive, list_session

if TYPE_CHECKING:
    from tests.acceptance.conftest import Reference, Site

LEASE_SECONDS = 30.0  # of the site
LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
"""127.0.0.1, ::1 and 127.0.0.1 as an IPv6 address, as /proc writes them."""


def list_listeners(pid: int) -> list[str]:
    """Return the addresses, as /proc writes them, on which a process waits for TCP connections."""
    sockets: set[str] = set()
    with contextlib.suppress(OSError):  # it may end while we look
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                sockets.add(str(entry.readlink()))
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return [row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets]


def test_two_searches_at_once_on_one_cluster(ray_site: Site, reference: Reference) -> None:
    """B4, and the whole chain on Ray: each ends with its own configuration, and as on the command line."""
    site, worker = ray_site, ray_site.worker
    whole, plain = site.submit(retrain=True), site.submit()
    site.wait(lambda: worker.driver(whole) and worker.driver(plain), "both drivers")
    assert all(is_alive(worker.driver(job_id)) for job_id in (whole, plain))
    for job_id in (whole, plain):
        ends = [(row["attempt"], row["state"], row["message"]) for row in site.check_done_once(job_id)]
        assert ends == [(1, "SUCCEEDED", "")] * len(site.client.list_trials(job_id)), worker.log
    assert site.document(whole) == reference.document
    assert site.tree(plain) == reference.tree
    assert site.document(plain)["provenance"] != reference.document["provenance"]
    (expected,) = reference.results["candidates"]
    assert site.figures(whole) == (expected["metrics"], expected["delta_m"])


def test_a_killed_trial_process_costs_one_attempt(ray_site: Site, reference: Reference) -> None:
    """B1: the actor dies, its attempt is given back at once, and the next one ends the search."""
    site, worker = ray_site, ray_site.worker
    job_id = site.submit()
    site.wait_for_steps(job_id)
    os.kill(worker.trial_process(job_id), signal.SIGKILL)
    site.wait(lambda: worker.trial_process(job_id, 2), "the second attempt", seconds=60)
    attempts = site.check_done_once(job_id)
    assert [(row["state"], row["reason"]) for row in attempts] == [("RELEASED", "worker_crashed"), ("SUCCEEDED", None)]
    assert site.tree(job_id) == reference.tree


def test_a_killed_driver_leaves_nothing_behind(ray_site: Site, reference: Reference) -> None:
    """B2: what it ran is gone within ten seconds, and a new driver ends the search."""
    site, worker = ray_site, ray_site.worker
    job_id = site.submit()
    site.wait_for_steps(job_id)
    driver, trial = worker.driver(job_id), worker.trial_process(job_id)
    os.kill(driver, signal.SIGKILL)
    assert site.wait(lambda: not is_alive(trial) and not list_session(driver), "the end of its processes") < 10
    site.wait(lambda: worker.driver(job_id) != driver, "a new driver", seconds=60)
    attempts = site.check_done_once(job_id)
    assert len(attempts) == 2
    assert attempts[0]["reason"] in ("worker_crashed", "worker_stopped")  # whoever spoke first
    assert site.tree(job_id) == reference.tree


def kill_part_of_the_head(ray_site: Site, part: str, reference: Reference) -> None:
    """Kill a process of the local Ray in the midst of a search, which then ends on another Ray."""
    site, worker = ray_site, ray_site.worker
    job_id = site.submit()
    site.wait_for_steps(job_id)
    head, trial = worker.head, worker.trial_process(job_id)
    killed_at = time.monotonic()
    os.kill(next(entry.pid for entry in list_session(head) if part in entry.command), signal.SIGKILL)
    site.wait(lambda: not is_alive(trial) and not list_session(head), "the end of the cluster", seconds=30)
    site.wait(lambda: worker.trial_process(job_id, 2), "the second attempt")
    assert time.monotonic() - killed_at < LEASE_SECONDS + 60
    attempts = site.check_done_once(job_id)
    assert worker.head != head
    assert len(attempts) == 2
    assert site.tree(job_id) == reference.tree


def test_a_killed_ray_head_is_replaced(ray_site: Site, reference: Reference) -> None:
    """B3: without its gcs_server the cluster is ended with all that it ran; another one ends the search."""
    kill_part_of_the_head(ray_site, "gcs_server", reference)


@pytest.mark.soak
@pytest.mark.parametrize("part", ["raylet/raylet", "service.working.ray_head"])
def test_a_ray_that_loses_another_part_is_replaced(ray_site: Site, part: str, reference: Reference) -> None:
    """The long form of B3: the same for its other vital processes."""
    kill_part_of_the_head(ray_site, part, reference)


def test_a_killed_worker_takes_its_ray_along(ray_site: Site, reference: Reference) -> None:
    """What ran could save; nothing of it is left, neither process nor file; another worker ends the search."""
    site, worker = ray_site, ray_site.worker
    job_id = site.submit()
    site.wait_for_steps(job_id)
    head, driver = worker.head, worker.driver(job_id)
    worker.end(signal.SIGKILL)
    site.wait(lambda: not list_session(head) and not list_session(driver), "the end of its processes", seconds=30)
    assert not worker.head_folder.exists()
    other = site.start_worker("--executor", "ray", "--slots", "2")
    attempts = site.check_done_once(job_id)
    assert [(row["state"], row["reason"]) for row in attempts] == [("RELEASED", "worker_stopped"), ("SUCCEEDED", None)]
    assert any("goes on at step" in line for line in site.lines(job_id))
    assert site.tree(job_id) == reference.tree
    assert other.end(signal.SIGTERM)[0] == 0
    assert not list(site.folder.glob("bmtas-*"))


def test_a_local_ray_listens_on_this_machine_alone(ray_site: Site) -> None:
    """B8: no port of the cluster, its agents or its trials is open to other machines, but the one named below."""
    site = ray_site
    site.start_worker("--executor", "ray")
    job_id = site.submit()
    site.wait_for_steps(job_id)
    worker = next(one for one in site.workers if one.driver(job_id))
    sessions = (worker.head, worker.driver(job_id))
    open_to_all = {
        (entry.command.split()[0], address)
        for session in sessions
        for entry in list_session(session)
        for address in list_listeners(entry.pid)
        if address not in LOOPBACK
    }
    assert open_to_all == set()
    site.check_done_once(job_id)
