"""Two workers share a queue, and one of them is cut off from the network: its work ends on the other."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from service.working.process_sessions import is_alive

if TYPE_CHECKING:
    from tests.acceptance.conftest import Reference, Site


class Link:
    """A network between workers and a server that can be cut: connections stay, and nothing comes through any more.

    Args:
        port: Of the server.
    """

    def __init__(self, port: int) -> None:
        self._upstream = ("127.0.0.1", port)
        self._whole = threading.Event()
        self._whole.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """Let nothing through."""
        self._whole.clear()

    def mend(self) -> None:
        """Let everything through, what was on its way too."""
        self._whole.set()

    def close(self) -> None:
        """Take no more connections."""
        self.mend()
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._upstream)
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._relay, args=pair, daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket) -> None:
        """Pass bytes on in one direction while the link is whole."""
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                self._whole.wait()
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture
def link(site: Site) -> Iterator[Link]:
    """Return a network before the server of a site."""
    link = Link(site.port)
    yield link
    link.close()


def test_what_a_cut_off_worker_held_ends_on_the_other(site: Site, link: Link, reference: Reference) -> None:
    """One result each; the one that was cut off writes nothing late, and works again once it is back."""
    cut_off, other = site.start_worker("--executor", "local", server=link.address), site.start_worker()
    site.wait(lambda: all("works for" in worker.log for worker in site.workers), "both workers")
    jobs = [site.submit(name=name) for name in ("one", "two")]
    site.wait(lambda: any(map(cut_off.driver, jobs)), "a claim")
    held = next(filter(cut_off.driver, jobs))
    site.wait_for_steps(held)
    link.cut()
    zombie = cut_off.trial_process(held)
    site.wait(lambda: not is_alive(zombie), "the end of the zombie", seconds=60)
    attempts = site.check_done_once(held)
    assert [row["state"] for row in attempts] == ["LOST", "SUCCEEDED"]
    assert len({row["worker"] for row in attempts}) == 2
    link.mend()
    other.take_down()
    jobs.append(site.submit(name="three"))
    for job_id in jobs:
        site.check_done_once(job_id)
        assert site.tree(job_id) == reference.tree
