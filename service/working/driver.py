"""One claim, driven to its end: `python -m service.working.driver`, its order as a line of JSON on stdin.

For Ray a second line names the cluster, which may still be starting while the driver holds the leases.
SIGTERM, or the end of its stdin because the worker is gone, has running trials save their state and gives all back.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from db.records.states import Reason
from service.logs import configure_logging
from service.settings import prepare_process
from service.working.local_executor import run_locally
from service.working.pipe_lines import follow_lines, read_lines
from service.working.temporary_folders import keep_current_folder
from service.working.waiting_room import WaitingRoom
from service.working.work_orders import AttemptOrder, DriverOrder, split_order

_LOG = logging.getLogger(__name__)


def drive(order: DriverOrder, stop_requested: threading.Event, find_cluster: Callable[[], str | None]) -> None:
    """Run all trials of a claim to their ends, or give back what a request to stop left over.

    Args:
        order: What to run and how.
        stop_requested: Set to stop.
        find_cluster: Waits for the address of the Ray cluster to join; None when a stop came first.
    """
    orders = split_order(order)
    room = WaitingRoom(orders, _begun_list(order.begun_path))
    try:
        if order.settings.executor == "local":
            run_locally(orders, room, stop_requested)
        else:
            _drive_on_ray(orders, room, stop_requested, order.settings.ray_address or find_cluster())
        room.give_back_all(Reason.WORKER_STOPPED, "The worker was stopped before this trial began.")
    finally:
        room.close()


def _begun_list(path: str | None) -> Callable[[str], None]:
    """Return what adds an attempt to the list of those that began, for a worker that outlives this process."""

    def note(attempt_id: str) -> None:
        """Add a line."""
        if path is not None:
            with Path(path).open("a", encoding="ascii") as stream:
                stream.write(f"{attempt_id}\n")

    return note


def _drive_on_ray(
    orders: Sequence[AttemptOrder], room: WaitingRoom, stop_requested: threading.Event, address: str | None
) -> None:
    """Run the trials on a Ray cluster, if there is one."""
    if address is None:
        return
    from service.working.ray_executor import run_on_ray  # noqa: PLC0415 - imports Ray

    run_on_ray(orders, room, stop_requested, address)


def main() -> int:
    """Drive the claim that stands on stdin and return 0 when nothing is left to be given back."""
    prepare_process()
    keep_current_folder()
    configure_logging("driver")
    stop_requested = threading.Event()
    addresses: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def note_stop(number: int, frame: FrameType | None) -> None:
        """Stop, also where the cluster is still waited for."""
        stop_requested.set()
        addresses.put(None)

    signal.signal(signal.SIGTERM, note_stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the worker passes it on
    lines = read_lines()
    order = DriverOrder.model_validate_json(next(lines))
    follow_lines(lines, lambda line: addresses.put(line.decode()), lambda: note_stop(0, None))
    trials = ", ".join(claimed.trial.name for claimed in order.claim.trials)
    _LOG.info("Driver of %s in process %d: %s.", order.claim.job.id, os.getpid(), trials)
    drive(order, stop_requested, addresses.get)
    return 0


if __name__ == "__main__":
    sys.exit(main())
