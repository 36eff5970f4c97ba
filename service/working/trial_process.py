"""One attempt at a trial, from first heartbeat to last word: completed, failed, released, or silent when fenced.

`run_attempt` does it in the process that calls it: a child of the local executor (which runs this file, the order on
stdin) or a Ray actor. Only this process writes for the attempt, and only while it holds the lease.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from db.records.states import Reason
from search.data.shelf import DatasetShelf
from search.errors import ResumeError, RunCancelledError, StateFileError
from search.ports import Surroundings
from search.trial_plan import parse_trial_spec
from search.weights_shelf import WeightsShelf
from service.errors import AttemptLostError, ServerAwayError, ServiceError
from service.logs import configure_logging
from service.settings import prepare_process
from service.working.attempt_reasons import classify
from service.working.lease import EXIT_FENCED, Guard, Heart, Lease
from service.working.pipe_lines import follow_lines, read_lines
from service.working.remote_reporter import RemoteReporter
from service.working.remote_store import RemoteStore
from service.working.storage import InputFiles, Storage
from service.working.temporary_folders import TemporaryFolder, keep_current_folder
from service.working.work_orders import AttemptOrder
from service.working.worker_client import open_attempt

EXIT_ENDED = 0
_LOG = logging.getLogger(__name__)
_FLUSH_SECONDS = 1.0
_LAST_REPORTS_SECONDS = 10.0
_HEARTBEAT_PATIENCE_SECONDS = 0.0
_MARGIN_SECONDS = 1.5  # left of a worker's time to stop when a run that does not stop is ended
_SAVES = {"candidate", "retrain"}  # kinds of trials whose network is kept as an architecture


def run_attempt(
    order: AttemptOrder, stop_requested: threading.Event, exit_process: Callable[[int], None] = os._exit
) -> int:
    """Run an attempt to its end and tell the server how it ended; return `EXIT_ENDED`, or `EXIT_FENCED`.

    Args:
        order: What to run.
        stop_requested: Set to have the run save its state and give the trial back.
        exit_process: Ends this process at once, when the run does not stop in time.
    """
    return _Attempt(order, stop_requested, exit_process).run()


class _Attempt:
    """The parts of one attempt: its clients, its lease and the threads that keep it."""

    def __init__(
        self, order: AttemptOrder, stop_requested: threading.Event, exit_process: Callable[[int], None]
    ) -> None:
        self._order = order
        self._stop_requested = stop_requested
        self._exit_process = exit_process
        self._lease = Lease(order.lease_seconds)
        self._client = open_attempt(order, order.lease_seconds)
        self._pulse_client = open_attempt(order, _HEARTBEAT_PATIENCE_SECONDS)
        self._spill_folder = TemporaryFolder()
        self._reporter = RemoteReporter(self._pulse_client, self._spill_folder.path / "spill.jsonl")
        self._heart = Heart(
            self._pulse_client, self._lease, seconds=order.heartbeat_seconds, progress=lambda: self._reporter.progress
        )
        stop_seconds = max(0.0, order.settings.stop_seconds - _MARGIN_SECONDS)
        self._guard = Guard(self._lease, stop_requested, self._end_now, stop_seconds=stop_seconds)

    def run(self) -> int:
        """Run to the end."""
        name = f"{self._order.job.id} {self._order.claimed.trial.name} attempt {self._order.claimed.attempt.number}"
        _LOG.info("Trial %s runs in process %d.", name, os.getpid())
        try:
            with self._kept_alive():
                self._say_end(*self._work())
        except (AttemptLostError, ServerAwayError) as error:
            _LOG.warning("Trial %s stops without a word: %s", name, error)
            return EXIT_FENCED
        finally:
            self._close()
        _LOG.info("Trial %s has ended.", name)
        return EXIT_ENDED

    @contextmanager
    def _kept_alive(self) -> Iterator[None]:
        """Hold the lease, and send what the reporter has every second, while the block runs."""
        self._heart.beat()  # at once: a driver may have waited long before it came to this trial
        self._lease.check_held()
        finished = threading.Event()
        sender = threading.Thread(target=self._send_reports, args=(finished,), name="reports", daemon=True)
        for thread in (self._heart, self._guard, sender):
            thread.start()
        try:
            yield
        finally:
            finished.set()
            self._guard.stop()
            self._heart.stop()

    def _send_reports(self, finished: threading.Event) -> None:
        """Send reports until the run has ended."""
        while not finished.wait(_FLUSH_SECONDS):
            try:
                self._reporter.flush()
            except AttemptLostError:
                self._lease.lose()
                return

    def _work(self) -> tuple[Callable[..., None], tuple[Any, ...]]:
        """Run the trial and return the last word of the attempt with what belongs to it."""
        try:
            result = self._run_trial()
        except (AttemptLostError, ServerAwayError):
            raise
        except RunCancelledError:
            return self._describe_stop()
        except Exception as error:
            self._lease.check_held()  # what a fenced attempt trips over is nobody's business
            reason, message = classify(error)
            self._reporter.log(f"The trial failed ({reason.value}): {message}")
            self._reporter.log(traceback.format_exc())
            _LOG.exception("Trial %s failed with %s.", self._order.claimed.trial.name, reason.value)
            return self._client.fail, (reason, message)
        return self._client.complete, (result, self._describe_architecture(result))

    def _run_trial(self) -> dict[str, Any]:
        """Return the result of the trial, begun anew where files of earlier attempts cannot be gone on from."""
        # Imports torch, which takes seconds: the lease is kept by then.
        from search.trials import run_trial  # noqa: PLC0415

        order, claimed = self._order, self._order.claimed
        storage = Storage(order.storage_root)
        store = RemoteStore(
            self._client,
            storage,
            folder=f"trials/{claimed.trial.id}/{claimed.attempt.number}",
            files=claimed.files,
            check_held=self._lease.check_held,
        )
        if damaged := store.drop_damaged():
            self._reporter.log(f"Begins anew: {', '.join(damaged)} of an earlier attempt is damaged or gone.")
        surroundings = Surroundings(
            store=store,
            reporter=self._reporter,
            cancelled=self._is_cancelled,
            device=order.settings.device,
            cache_dir=Path(order.settings.cache_dir),
            cache_bytes=order.settings.cache_bytes,
            now=lambda: datetime.now(UTC),
            gpus=max(1, int(order.job.resources.gpus)),
            datasets=DatasetShelf(_as_path(order.settings.datasets_dir)),
            weights=WeightsShelf(_as_path(order.settings.weights_dir)),
            seconds_between_saves=order.settings.seconds_between_saves,
        )
        spec, inputs = parse_trial_spec(claimed.trial.spec), InputFiles(storage, claimed.inputs)
        try:
            result = run_trial(spec, inputs, surroundings)
        except (StateFileError, ResumeError) as error:  # such as one that another program version wrote
            self._reporter.log(f"Begins anew: {error}")
            store.drop_all()
            result = run_trial(spec, inputs, surroundings)
        return result | ({"path": store.path_of(result["file"])} if "file" in result else {})

    def _is_cancelled(self) -> bool:
        """Return whether to stop at this step and save; raise AttemptLostError where saving is not allowed any more."""
        self._lease.check_held()
        return self._lease.cancel_requested.is_set() or self._stop_requested.is_set()

    def _describe_stop(self) -> tuple[Callable[..., None], tuple[Any, ...]]:
        """Return the last word of an attempt that stopped as it was told: by the server, or else by the worker."""
        if not self._lease.cancel_requested.is_set():
            return self._client.release, (Reason.WORKER_STOPPED, "The worker was stopped; the trial goes on elsewhere.")
        deadline = self._order.job.deadline_at
        if deadline is not None and datetime.now(UTC) >= deadline:
            return self._client.fail, (Reason.DEADLINE, "The deadline of the job has passed.")
        return self._client.fail, (Reason.USER_CANCEL, "Cancelled; the last checkpoint is kept.")

    def _describe_architecture(self, result: dict[str, Any]) -> dict[str, Any] | None:
        """Return the document of the network that this trial found; None where it is no network of its own."""
        return result["architecture"] if self._order.claimed.trial.kind in _SAVES else None

    def _say_end(self, last_word: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        """Send what is left of the reports, then the last word, once or again until the server has heard it."""
        patience_ends = time.monotonic() + _LAST_REPORTS_SECONDS
        self._lease.check_held()
        while not self._reporter.flush() and time.monotonic() < patience_ends:
            time.sleep(_FLUSH_SECONDS / 2)
            self._lease.check_held()
        last_word(*arguments)

    def _end_now(self, why: str) -> None:
        """End the process: the run did not stop in time, or is fenced. What can still be said is said."""
        _LOG.warning("Process %d ends at once: %s.", os.getpid(), why)
        try:
            if why == "stop":
                self._pulse_client.release(
                    Reason.WORKER_STOPPED, "The worker was stopped in the middle of a long step."
                )
            elif why == "cancel":
                last_word, arguments = self._describe_stop()
                last_word(*arguments)
        except ServiceError as error:
            _LOG.warning("The server was not told: %s", error)
        self._spill_folder.remove()
        self._exit_process(EXIT_FENCED if why == "lost" else EXIT_ENDED)

    def _close(self) -> None:
        """Let go of connections and files."""
        self._reporter.close()
        self._spill_folder.remove()
        for client in (self._client, self._pulse_client):
            client.close()


def _as_path(folder: str | None) -> Path | None:
    """Return a folder as a path, None for none."""
    return None if folder is None else Path(folder)


def main() -> int:
    """Run the attempt whose order stands on stdin; SIGTERM and the end of stdin ask it to stop."""
    prepare_process()
    keep_current_folder()
    configure_logging("trial")
    stop_requested = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop_requested.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; whoever started it passes it on
    lines = read_lines()
    order = AttemptOrder.model_validate_json(next(lines))
    follow_lines(lines, lambda line: None, stop_requested.set)
    return run_attempt(order, stop_requested)


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    os._exit(code)  # everything is said and stored; taking torch down in order can take seconds on a busy machine
