"""Runs the trials of a claim as child processes, one after another, without Ray.

A child that falls gives its trial back and does not stop the others. Its order travels on its stdin, which stays open:
when it closes, the child knows that it is alone.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Sequence

from db.records.states import Reason
from service.settings import child_environment
from service.working.lease import EXIT_FENCED
from service.working.machine import count_gpus
from service.working.trial_process import EXIT_ENDED
from service.working.waiting_room import WaitingRoom
from service.working.work_orders import AttemptOrder

_LOG = logging.getLogger(__name__)
_MARGIN_SECONDS = 0.5  # left of a worker's time to stop when a child that does not end is killed
_POLL_SECONDS = 0.1


def run_locally(orders: Sequence[AttemptOrder], room: WaitingRoom, stop_requested: threading.Event) -> None:
    """Run trials one after another until all have ended or a stop is asked for.

    Args:
        orders: What to run.
        room: Holds those that wait.
        stop_requested: Set to end; the trial that runs saves its state, the others stay in the room.
    """
    for order in orders:
        if stop_requested.is_set():
            return
        if order.job.resources.gpus > count_gpus():
            room.refuse(order.attempt_id, Reason.UNSCHEDULABLE, _describe_lack(order))
        elif room.take(order.attempt_id):
            _run_child(order, room, stop_requested)


def _describe_lack(order: AttemptOrder) -> str:
    """Return the sentence for a trial whose GPUs are not there; on a CPU it would run for weeks unnoticed."""
    return (
        f"A trial must fit on its machine, but it asks for {order.job.resources.gpus:g} GPUs and this one has "
        f"{count_gpus()}. Ask for less, or add a machine."
    )


def _run_child(order: AttemptOrder, room: WaitingRoom, stop_requested: threading.Event) -> None:
    """Run one trial in a child, and give it back if the child falls."""
    child = subprocess.Popen(
        [sys.executable, "-m", "service.working.trial_process"],
        stdin=subprocess.PIPE,
        env=child_environment(_variables(order)),
    )
    assert child.stdin is not None
    _LOG.info("Trial %s of %s: process %d.", order.claimed.trial.name, order.job.id, child.pid)
    try:
        child.stdin.write(order.to_line())
        child.stdin.flush()
    except BrokenPipeError:
        pass  # it fell at once, which its exit code says
    code = _wait(child, stop_requested, order.settings.stop_seconds - _MARGIN_SECONDS)
    child.stdin.close()
    if code not in (EXIT_ENDED, EXIT_FENCED):
        _LOG.warning(
            "Trial %s of %s: process %d fell with %d.", order.claimed.trial.name, order.job.id, child.pid, code
        )
        reason = Reason.WORKER_STOPPED if stop_requested.is_set() else Reason.WORKER_CRASHED
        room.give_back(order.attempt_id, reason, f"The trial's process ended with {code}.")


def _wait(child: subprocess.Popen[bytes], stop_requested: threading.Event, stop_seconds: float) -> int:
    """Return the exit code of a child; after a request to stop it gets a signal, and in the end is killed."""
    while True:
        try:
            return child.wait(timeout=_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if not stop_requested.is_set():
                continue
        child.terminate()
        try:
            return child.wait(timeout=max(0.0, stop_seconds))
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()


def _variables(order: AttemptOrder) -> dict[str, str]:
    """Return what the environment tells libraries of the resources that a trial may use."""
    resources = order.job.resources
    threads = {"OMP_NUM_THREADS": str(max(1, int(resources.cpus)))}
    return threads if resources.gpus > 0 else {**threads, "CUDA_VISIBLE_DEVICES": ""}
