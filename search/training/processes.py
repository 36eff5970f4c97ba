"""Several processes that do one piece of work in step, and the one that looks after them.

Each has a seat: its place in the crew, its device, and ports that reach the files and events of the process that
looks after it. The first speaks, the others keep silent. If one falls, or that process goes, all end.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch.multiprocessing import get_context

from search.compute import Compute
from search.errors import CrewLostError, SearchError
from search.ports import ArtifactStore, Cancelled, Event, Reporter, never_cancelled
from search.training.crew import Crew
from search.training.ranks import join_ranks

Order = TypeVar("Order")
Result = TypeVar("Result")
_OTHERS_SECONDS = 2.0  # a process that falls takes the others along within this time; it is the one to name
_END_SECONDS = 5.0


class Outside(Protocol):
    """The ports of the process that looks after the others."""

    @property
    def store(self) -> ArtifactStore:
        """Return where files go."""
        ...

    @property
    def reporter(self) -> Reporter:
        """Return where events go."""
        ...

    @property
    def cancelled(self) -> Cancelled:
        """Return what says whether to stop."""
        ...


@dataclass(frozen=True)
class Seat:
    """What one of the processes works with.

    Attributes:
        crew: Its place among them.
        compute: How it computes, and on which device.
        store: Reads the files outside; those that the first process writes go there, the others' nowhere.
        reporter: Takes the events of the first process outside, the others' nowhere.
        cancelled: The word from outside, heard by the first process only.
    """

    crew: Crew
    compute: Compute
    store: ArtifactStore
    reporter: Reporter
    cancelled: Cancelled


@dataclass(frozen=True)
class _Invitation(Generic[Order, Result]):
    """What a process is handed at its start."""

    work: Callable[[Order, Seat], Result]
    order: Order
    compute: Compute
    num_threads: int
    meeting_point: Path


def run_together(work: Callable[[Order, Seat], Result], order: Order, *, compute: Compute, outside: Outside) -> Result:
    """Return what the first of several processes returns that do a piece of work together.

    Args:
        work: A function of a module, which every process calls; they meet by what their crews offer.
        order: What it is to do; copied to every process, as is what it returns.
        compute: How many processes, and how they compute; on GPUs the Nth process takes the Nth.
        outside: Takes files and events, and says whether to stop.

    Raises:
        CrewLostError: A process fell.
        Exception: What a process raised.
    """
    context = get_context("spawn")  # a GPU that this process uses cannot be used by forked ones
    with tempfile.TemporaryDirectory(prefix="crew-") as folder:
        num_threads = max(1, torch.get_num_threads() // compute.num_processes)
        invitation = _Invitation(work, order, compute, num_threads, Path(folder) / "meeting")
        pipes = [context.Pipe() for _ in range(compute.num_processes)]
        processes = [
            context.Process(target=_take_seat, args=(rank, theirs, invitation), name=f"rank-{rank}", daemon=True)
            for rank, (_, theirs) in enumerate(pipes)
        ]
        try:
            for process in processes:
                process.start()
            for _, theirs in pipes:
                theirs.close()  # the process has its own by now; an end that nobody holds says that it is gone
            results: list[Result] = _attend(processes, [ours for ours, _ in pipes], outside)
            for process in processes:
                process.join(_END_SECONDS)
        finally:
            _end(processes)
    return results[0]


def _attend(processes: Sequence[Any], connections: Sequence[Connection], outside: Outside) -> list[Any]:
    """Return what the processes return, serving them until all have."""
    results: dict[int, Any] = {}
    while len(results) < len(processes):
        open_ranks = [rank for rank in range(len(processes)) if rank not in results]
        for ready in wait([connections[rank] for rank in open_ranks]):
            rank = connections.index(ready)
            try:
                name, arguments = connections[rank].recv()
            except EOFError:
                raise _describe_loss(processes, rank) from None
            match name:
                case "return":
                    results[rank] = arguments
                case "raise":
                    if not isinstance(arguments, SearchError):
                        _raise_if_lost(processes)
                    raise arguments
                case _:
                    _serve(connections[rank], name, arguments, outside)
    return [results[rank] for rank in range(len(processes))]


def _serve(connection: Connection, name: str, arguments: tuple[Any, ...], outside: Outside) -> None:
    """Do for a process what it asks of the ports outside, and answer where it waits for an answer."""
    match name:
        case "emit":
            outside.reporter.emit(*arguments)
        case "cancelled":
            connection.send(outside.cancelled())
        case "write" | "delete":
            getattr(outside.store, name)(*arguments)
            connection.send(None)  # it goes on when the file is there
        case "read" | "exists":
            connection.send(getattr(outside.store, name)(*arguments))


def _raise_if_lost(processes: Sequence[Any]) -> None:
    """Raise CrewLostError if one of the processes was killed, which makes others fail in the middle of a word."""
    deadline = time.monotonic() + _OTHERS_SECONDS
    while time.monotonic() < deadline:
        for rank, process in enumerate(processes):
            if process.exitcode is not None and process.exitcode < 0:
                raise _describe_loss(processes, rank)
        time.sleep(0.05)


def _describe_loss(processes: Sequence[Any], rank: int) -> CrewLostError:
    """Return the sentence for a process that is gone without a word."""
    processes[rank].join(_OTHERS_SECONDS)
    code = processes[rank].exitcode
    how = f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with {code}"
    return CrewLostError(
        f"A network that {len(processes)} processes train needs all of them, but process {rank + 1} {how}; too little "
        "memory is a usual reason. What was saved last is kept: go on with --resume, on fewer GPUs if it happens again."
    )


def _end(processes: Sequence[Any]) -> None:
    """End what still runs of the processes, and wait for all of them."""
    begun = [process for process in processes if process.pid is not None]
    for process in begun:
        process.terminate()
    deadline = time.monotonic() + _END_SECONDS
    for process in begun:
        process.join(max(0.0, deadline - time.monotonic()))
        process.kill()
        process.join()
        process.close()


def _take_seat(rank: int, connection: Connection, invitation: _Invitation[Any, Any]) -> None:
    """Do one process's part of the work, and send what it returns or raises."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the one outside decides
    _end_with_parent()
    torch.set_num_threads(invitation.num_threads)
    try:
        with _seated(rank, connection, invitation) as seat:
            result = invitation.work(invitation.order, seat)
        connection.send(("return", result))
    except Exception as error:
        error.add_note("".join(traceback.format_exception(error)))
        with suppress(OSError):  # nobody listens any more
            connection.send(("raise", error))
        os._exit(1)  # leaving in order would wait for the others


@contextmanager
def _seated(rank: int, connection: Connection, invitation: _Invitation[Any, Any]) -> Iterator[Seat]:
    """Yield the seat of a process."""
    compute, speaks = invitation.compute, rank == 0
    if compute.device.type == "cuda":
        compute = replace(compute, device=torch.device("cuda", rank))
        # As in the process outside, whose settings a fresh process does not have.
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]  # its stub is behind
    line = _Line(connection, speaks=speaks)
    with join_ranks(rank, compute.num_processes, compute.device, invitation.meeting_point) as crew:
        yield Seat(crew, compute, line, line, line.cancelled if speaks else never_cancelled)


def _end_with_parent() -> None:
    """End this process at once when the one that started it is gone, however it went."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        """Wait for its end."""
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


class _Line:
    """Store and reporter of a process: a line to the ones outside.

    Args:
        connection: Leads there.
        speaks: Whether what it writes and reports is passed on.
    """

    def __init__(self, connection: Connection, *, speaks: bool) -> None:
        self._connection, self._speaks = connection, speaks

    def emit(self, event: Event) -> None:
        """Report an event."""
        if self._speaks:
            self._connection.send(("emit", (event,)))

    def write(self, name: str, content: bytes) -> None:
        """Store content under a name."""
        if self._speaks:
            self._ask("write", name, content)

    def read(self, name: str) -> bytes:
        """Return the content of a name, which exists."""
        content: bytes = self._ask("read", name)
        return content

    def exists(self, name: str) -> bool:
        """Return whether something is stored under a name."""
        return bool(self._ask("exists", name))

    def delete(self, name: str) -> None:
        """Forget a name."""
        if self._speaks:
            self._ask("delete", name)

    def cancelled(self) -> bool:
        """Return whether to stop."""
        return bool(self._ask("cancelled"))

    def _ask(self, name: str, *arguments: object) -> Any:
        """Return the answer to a question."""
        self._connection.send((name, arguments))
        return self._connection.recv()
