"""Stop requests: the first asks, the second stops at once, and the old handlers come back."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from service.commands.interruption import sigterm_as_interrupt, stop_requests


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_request_sets_the_flag_and_the_second_stops(number: signal.Signals) -> None:
    """One signal is announced and noted, another of either kind raises KeyboardInterrupt."""
    said: list[str] = []
    with stop_requests(said.append) as cancelled:
        assert not cancelled()
        os.kill(os.getpid(), number)
        assert cancelled()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert len(said) == 1


def test_old_handlers_come_back() -> None:
    """After the block a signal does what it did before."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="inside"), stop_requests(lambda sentence: None):
        raise ValueError("inside")
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_thread_takes_no_signals() -> None:
    """Outside the main thread nothing is caught, and nothing ever asks to stop."""
    answers: list[bool] = []

    def work() -> None:
        """Ask once."""
        with stop_requests(lambda sentence: None) as cancelled:
            answers.append(cancelled())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [False]


def test_sigterm_can_be_had_as_an_interrupt() -> None:
    """Inside the block SIGTERM raises as Ctrl-C does; afterwards the old handler is back."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), sigterm_as_interrupt():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
