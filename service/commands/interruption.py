"""Ctrl-C and SIGTERM: the first asks a run to stop at its next step, the second stops it at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_requests(announce: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether this process was asked to stop; the old handlers come back at the end.

    Outside the main thread, where Python takes no signals, nothing is caught.

    Args:
        announce: Gets the sentence for the person when the first request arrives.

    Raises:
        KeyboardInterrupt: At the second request.
    """
    requests: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        """Count one request."""
        requests.append(number)
        if len(requests) > 1:
            raise KeyboardInterrupt
        with contextlib.suppress(RuntimeError):  # the signal may have come in the middle of another line
            announce("Stopping after this step and saving the state. Once more stops at once.")

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    previous = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield lambda: bool(requests)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Have SIGTERM end the block as Ctrl-C does, by KeyboardInterrupt; outside the main thread nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
