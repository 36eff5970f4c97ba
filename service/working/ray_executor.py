"""Runs the trials of a claim on a Ray cluster, all at once as far as its resources go.

Neighbours: `search.tune` knows Ray, `service.working.trial_process` runs an attempt, and the waiting room holds the
leases of those that wait for resources.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import tempfile
import threading
from collections.abc import Sequence

from db.records.states import Reason
from search import tune
from search.errors import UnschedulableError
from service.logs import configure_logging
from service.working.lease import EXIT_FENCED
from service.working.temporary_folders import remove_leftovers
from service.working.trial_process import EXIT_ENDED, run_attempt
from service.working.waiting_room import WaitingRoom
from service.working.work_orders import AttemptOrder

JOIN_SECONDS = 45.0
EXIT_NO_CLUSTER = 4
_LOG = logging.getLogger(__name__)


def run_on_ray(
    orders: Sequence[AttemptOrder], room: WaitingRoom, stop_requested: threading.Event, address: str
) -> None:
    """Run trials on a cluster until all have ended or, after a request to stop, have given themselves back.

    Args:
        orders: What to run, trials of one job.
        room: Holds those that wait.
        stop_requested: Set to end; trials that run save their state, the others stay in the room.
        address: "host:port" of the cluster.
    """
    with tempfile.TemporaryDirectory(prefix="tune-") as folder:  # in the driver's own, which goes with it
        run = _describe_run(orders[0], address, folder)
        _join(run)
        try:
            _relay_stop(run, stop_requested)
            lines = {order.attempt_id: order.model_dump_json() for order in orders if room.is_waiting(order.attempt_id)}
            if lines:
                tune.run_trials(lines, run_order, _Watcher(room), run)
        except UnschedulableError as error:
            for order in orders:
                room.refuse(order.attempt_id, Reason.UNSCHEDULABLE, str(error))
        finally:
            tune.leave()


def run_order(line: str, stop_requested: threading.Event) -> None:
    """Run the attempt of an order; called by name in a process of the cluster."""
    configure_logging("trial")
    remove_leftovers()  # on machines of a cluster there is no worker that would
    code = run_attempt(AttemptOrder.model_validate_json(line), stop_requested)
    assert code in (EXIT_ENDED, EXIT_FENCED)


class _Watcher:
    """Takes trials out of the room when they run, and gives back those whose processes fell."""

    def __init__(self, room: WaitingRoom) -> None:
        self._room = room

    def began(self, key: str) -> None:
        """Note that an attempt keeps its lease itself from now on."""
        self._room.take(key)

    def fell(self, key: str, message: str) -> None:
        """Give an attempt back."""
        _LOG.warning("Attempt %s: %s", key, message)
        self._room.give_back(key, Reason.WORKER_CRASHED, message)


def _describe_run(order: AttemptOrder, address: str, folder: str) -> tune.TuneRun:
    """Return how the trials of a job run on a cluster."""
    resources = order.job.resources
    variables = {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(max(1, int(resources.cpus)))}
    return tune.TuneRun(
        name=f"{order.job.id}-{secrets.token_hex(4)}",
        address=address,
        folder=folder,
        cpus=resources.cpus,
        gpus=resources.gpus,
        variables=variables if resources.gpus > 0 else {**variables, "CUDA_VISIBLE_DEVICES": ""},
    )


def _join(run: tune.TuneRun) -> None:
    """Join the cluster, or end this process: with a wrong token or address Ray would try for ever."""
    guard = threading.Timer(JOIN_SECONDS, _give_up, (run.address,))
    guard.daemon = True
    guard.start()
    handler = signal.getsignal(signal.SIGTERM)
    tune.join(run)
    guard.cancel()
    signal.signal(signal.SIGTERM, handler)  # Ray's own would end this process without a word


def _give_up(address: str) -> None:
    """End this process: the cluster cannot be joined."""
    _LOG.error(
        "The Ray cluster at %s cannot be joined. Check its address, its version and RAY_AUTH_TOKEN_PATH.", address
    )
    os._exit(EXIT_NO_CLUSTER)


def _relay_stop(run: tune.TuneRun, stop_requested: threading.Event) -> None:
    """Pass a request to stop on to the cluster, from a thread."""

    def relay() -> None:
        """Wait for the request and pass it on."""
        stop_requested.wait()
        tune.ask_to_stop(run)

    threading.Thread(target=relay, name="stop-relay", daemon=True).start()
