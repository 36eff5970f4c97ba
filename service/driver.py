"""One claim, driven to its end: `python -m service.driver`, its order as a line of JSON on stdin.

The driver holds the leases of trials that wait and has an executor run them. It lives in a process group of its own.
SIGTERM, or the end of its stdin because the worker is gone, has running trials save their state and gives all back.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence

from db.records import Reason
from service.local_executor import run_locally
from service.logs import configure_logging
from service.settings import prepare_process
from service.waiting_room import WaitingRoom
from service.work_orders import AttemptOrder, DriverOrder, split_order

_LOG = logging.getLogger(__name__)


def drive(order: DriverOrder, stop_requested: threading.Event) -> None:
    """Run all trials of a claim to their ends, or give back what a request to stop left over."""
    orders = split_order(order)
    room = WaitingRoom(orders)
    try:
        _choose_executor(order, orders, room, stop_requested)
        room.give_back_all(Reason.WORKER_STOPPED, "The worker was stopped before this trial began.")
    finally:
        room.close()


def _choose_executor(
    order: DriverOrder, orders: Sequence[AttemptOrder], room: WaitingRoom, stop_requested: threading.Event
) -> None:
    """Run the trials by the executor of the order."""
    if order.settings.executor == "local":
        run_locally(orders, room, stop_requested)
        return
    from service.ray_executor import run_on_ray  # noqa: PLC0415 - imports Ray

    run_on_ray(orders, room, stop_requested)


def main() -> int:
    """Drive the claim that stands on stdin and return 0 when nothing is left to be given back."""
    prepare_process()
    configure_logging("driver")
    stop_requested = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop_requested.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    order = DriverOrder.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_wait_for_end_of_stdin, args=(stop_requested,), daemon=True).start()
    _LOG.info(
        "Driver of %s in process %d: %s.",
        order.claim.job.id,
        os.getpid(),
        ", ".join(claimed.trial.name for claimed in order.claim.trials),
    )
    drive(order, stop_requested)
    return 0


def _wait_for_end_of_stdin(stop_requested: threading.Event) -> None:
    """Ask for a stop when the worker is gone."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    stop_requested.set()


if __name__ == "__main__":
    sys.exit(main())
