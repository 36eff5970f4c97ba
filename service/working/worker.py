"""`bmtas work`: ask the server for work, start a driver per claim, and clean up after drivers that fall.

The worker itself computes nothing and holds no lease; it may be killed at any time. Asked to stop, it has its drivers
save and give back what they run, as long as `RunSettings.stop_seconds` allows.
"""

from __future__ import annotations

import logging
import random
import secrets
import signal
import socket
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from db.records.states import Reason
from service.client_parts.connection import Connection, Patience
from service.errors import ServerAwayError, ServiceProblem
from service.logs import configure_logging
from service.working.driver_handle import DriverHandle, Releases
from service.working.pipe_lines import follow_lines, read_lines
from service.working.ray_head import HEAD_PARENT, RayHead
from service.working.ray_variables import foreign_cluster
from service.working.temporary_folders import remove_leftovers
from service.working.work_orders import ClaimDocument, DriverOrder, RunSettings, split_order
from service.working.worker_client import Hello, WorkerClient

_LOG = logging.getLogger(__name__)
_TICK_SECONDS = 0.2
_AFTER_FAILED_START_SECONDS = 30.0
_REFUSED = {401, 403, 404}


@dataclass(frozen=True)
class Pace:
    """How often the worker asks for work, in seconds, each pause spread by a fifth.

    Attributes:
        first_pause: After an answer that there is none; doubles from there.
        longest_pause: While there is none.
        longest_away: While the server does not answer.
    """

    first_pause: float = 0.5
    longest_pause: float = 2.0
    longest_away: float = 15.0


@dataclass(frozen=True)
class WorkRequest:
    """How a worker works.

    Attributes:
        server: Address of the server.
        token: A worker's token.
        settings: How trials are run.
        slots: Drivers at a time.
        max_trials: Trials of one job that a driver takes at once.
        cpus: Cores that one trial may occupy at most.
        gpus: GPUs that one trial may occupy at most.
        name: What people read of it; this machine's name where it is empty.
        end_with_stdin: Whether the end of stdin asks for a stop, for a worker that a server started.
        pace: How often it asks.
        version: Of the program.
    """

    server: str
    token: str = field(repr=False)
    settings: RunSettings
    version: str
    slots: int = 1
    max_trials: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    name: str = ""
    end_with_stdin: bool = False
    pace: Pace = field(default_factory=Pace)


def run_worker(request: WorkRequest) -> None:
    """Work until the process is asked to stop by SIGTERM, SIGINT or, where wanted, the end of its stdin.

    Raises:
        VersionMismatchError: The server is of another program version.
        ServiceError: The server refuses this worker for another reason, such as a wrong token.
    """
    configure_logging("worker")
    stop_requested = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop_requested.set())
    if request.end_with_stdin:
        follow_lines(read_lines(), lambda line: None, stop_requested.set)
    Worker(request).work(stop_requested)


class Worker:
    """Asks for work and looks after the drivers that do it.

    Args:
        request: How it works.
        client: Asks the server; its own connection when None.
    """

    def __init__(self, request: WorkRequest, client: WorkerClient | None = None) -> None:
        self._request = request
        self._client = client or WorkerClient(Connection(request.server, request.token, patience=Patience(seconds=0.0)))
        self._hello = Hello(
            id=f"wrk_{secrets.token_hex(8)}",
            name=request.name or socket.gethostname(),
            version=request.version,
            cpus=request.cpus,
            gpus=request.gpus,
        )
        self._drivers: list[DriverHandle] = []
        self._releases = Releases()
        self._head: RayHead | None = None
        self._ask_at = 0.0
        self._pause = request.pace.first_pause

    def work(self, stop_requested: threading.Event) -> None:
        """Work until a stop is asked for; then have everything given back."""
        remove_leftovers(Path(tempfile.gettempdir()), HEAD_PARENT)
        _LOG.info("Worker %s of %s works for %s.", self._hello.id, self._hello.name, self._request.server)
        try:
            while not stop_requested.is_set():
                self._tend_head()
                self._tend()
                if len(self._drivers) < self._request.slots and time.monotonic() >= self._ask_at:
                    self._ask()
                stop_requested.wait(_TICK_SECONDS)
        finally:
            self._stop_drivers()
            self._client.close()
        _LOG.info("Worker %s has stopped.", self._hello.id)

    def _ask(self) -> None:
        """Ask for work once, and note when to ask again."""
        pace = self._request.pace
        try:
            claim = self._client.claim(self._hello, self._request.max_trials)
        except (ServerAwayError, ServiceProblem) as error:
            if isinstance(error, ServiceProblem) and error.status in _REFUSED:
                raise
            _LOG.warning("No work to be had: %s", error)
            self._wait_before_next(pace.longest_away)
            return
        if claim is None:
            self._wait_before_next(pace.longest_pause)
            return
        self._pause = pace.first_pause
        self._start_driver(claim)

    def _prepare_ray(self) -> dict[str, str]:
        """Return the environment of a driver; where it needs a Ray of this machine's own, see to it that one starts."""
        settings = self._request.settings
        if settings.executor != "ray":
            return {}
        if settings.ray_address is not None:
            return foreign_cluster()
        if self._head is None:
            self._head = RayHead(with_gpus=self._request.gpus > 0)
            _LOG.info("Starting a local Ray: process %d in %s.", self._head.pid, self._head.folder)
        return self._head.variables

    def _tend_head(self) -> None:
        """Tell drivers where the local Ray is once it is there; end them with it when it has fallen."""
        if self._head is None:
            return
        if self._head.is_sound:
            if self._head.address is not None:
                for driver in self._drivers:
                    driver.tell_cluster(self._head.address)
            return
        never_started = self._head.address is None
        _LOG.warning("The local Ray %d %s.", self._head.pid, "did not start" if never_started else "has fallen")
        for driver in self._drivers:
            driver.end()  # it would find out only after Ray's own patience
            self._bury(driver, was_asked=never_started)
        self._drivers = []
        self._head.end()
        self._head = None
        if never_started:  # nor will the next one, most likely, and the trials are not to blame
            self._ask_at = time.monotonic() + _AFTER_FAILED_START_SECONDS

    def _wait_before_next(self, longest: float) -> None:
        """Ask again after a pause that grows up to the longest and differs between workers."""
        self._ask_at = time.monotonic() + self._pause * random.uniform(0.8, 1.2)
        self._pause = min(2 * self._pause, longest)

    def _start_driver(self, claim: ClaimDocument) -> None:
        """Start a driver for a claim."""
        order = DriverOrder(server=self._request.server, claim=claim, settings=self._request.settings)
        driver = DriverHandle(order, self._prepare_ray())
        self._drivers.append(driver)
        _LOG.info("Claimed %d trials of %s: driver %d.", len(claim.trials), claim.job.id, driver.pid)

    def _tend(self) -> None:
        """Clean up after drivers that ended, and give back what fallen ones left."""
        for driver in [driver for driver in self._drivers if driver.code is not None]:
            self._drivers.remove(driver)
            self._bury(driver)
            self._ask_at, self._pause = 0.0, self._request.pace.first_pause
        self._releases.try_all()

    def _bury(self, driver: DriverHandle, *, was_asked: bool = False) -> None:
        """End what a driver left running; of one that fell, give the attempts back."""
        code, begun = driver.code, driver.begun
        driver.end()
        if code == 0:
            return
        _LOG.warning("Driver %d of %s ended with %s.", driver.pid, driver.order.claim.job.id, code)
        if was_asked:  # too early for it to know how, or too late: nobody's failure
            self._releases.add(split_order(driver.order), Reason.WORKER_STOPPED, "The worker was stopped.")
        else:
            self._releases.add_fallen(driver.order, begun, f"The worker's driver process ended with {code}")

    def _stop_drivers(self) -> None:
        """Have all drivers give back what they run; end those that do not come to it."""
        stop_at = time.monotonic() + self._request.settings.stop_seconds
        for driver in self._drivers:
            driver.ask_to_stop()
        while time.monotonic() < stop_at and any(driver.code is None for driver in self._drivers):
            time.sleep(_TICK_SECONDS / 2)
        for driver in self._drivers:
            self._bury(driver, was_asked=True)
        self._drivers = []
        self._releases.try_all()
        if self._head is not None:
            self._head.end()
