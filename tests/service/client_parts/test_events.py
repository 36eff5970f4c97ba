"""Events of a job as a client reads them: whole, once each, over lost connections."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.client_parts.connection import Clock, Connection
from service.client_parts.events import read_frames, stream_events
from service.errors import ServerAwayError, ServiceProblem


class Body(httpx.SyncByteStream):
    """A body that may break off."""

    def __init__(self, pieces: Sequence[bytes], breaks: bool) -> None:
        self._pieces = pieces
        self._breaks = breaks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        if self._breaks:
            raise httpx.ReadError("reset")


def frame(seq: int, kind: str = "log") -> bytes:
    """Return an event on the wire."""
    return f"id: {seq}\nevent: {kind}\ndata: {json.dumps({'n': seq})}\n\n".encode()


def connect(answer: Callable[[httpx.Request], httpx.Response]) -> Connection:
    """Return a connection to a server that answers by a function, on a clock that only waiting moves."""
    seconds = [0.0]
    clock = Clock(lambda: seconds[0], lambda pause: seconds.__setitem__(0, seconds[0] + pause))
    return Connection("http://127.0.0.1:1", "t", transport=httpx.MockTransport(answer), clock=clock)


def never_ended() -> bool:
    """Return that the job goes on."""
    return False


def test_frames_follow_the_standard() -> None:
    """Fields may lack the space after the colon, data may have several lines, comments and rests are passed over."""
    lines = [": ping", "", "retry: 2000", "", "id:7", "event: x", "data: a", "data:b", "", "data: lost"]
    (only,) = read_frames(lines)
    assert (only.id, only.event, only.data) == ("7", "x", "a\nb")


@given(st.lists(st.integers(1, 6), min_size=1, max_size=8))
def test_lost_connections_lose_no_event_and_double_none(portions: list[int]) -> None:
    """Wherever the stream breaks, each event comes once and in order, although the server repeats the last one."""
    total, asked = 12, []

    def answer(request: httpx.Request) -> httpx.Response:
        """Send some events from the one before the last known on, and break off until all were sent."""
        after = int(request.headers.get("Last-Event-ID", "0"))
        asked.append(after)
        portion = portions.pop(0) if portions else total
        upto = min(after + portion, total)
        pieces = [frame(seq) for seq in range(max(after, 1), upto + 1)]
        return httpx.Response(200, stream=Body([*pieces, b"id: 99\nda"], breaks=upto < total))

    events = list(stream_events(connect(answer), "/e", 0, lambda: True))
    assert [event.seq for event in events] == list(range(1, total + 1))
    assert asked == sorted(asked)


def test_the_end_of_the_stream_is_the_end_of_the_job_only_if_it_is() -> None:
    """A server that restarts ends its streams; the client comes back until the job has ended."""
    ended = iter([False, False, True])
    answers = iter([frame(1), b"", frame(2)])
    connection = connect(lambda request: httpx.Response(200, stream=Body([next(answers)], breaks=False)))
    assert [event.seq for event in stream_events(connection, "/e", 0, lambda: next(ended))] == [1, 2]


@pytest.mark.parametrize("status", [503, 429])
def test_a_server_that_is_starting_is_waited_for(status: int) -> None:
    """Passing refusals do not end the stream."""
    answers = iter([httpx.Response(status, json={}), httpx.Response(200, stream=Body([frame(1)], breaks=False))])
    connection = connect(lambda request: next(answers))
    assert len(list(stream_events(connection, "/e", 0, lambda: True))) == 1


def test_a_refusal_ends_the_stream() -> None:
    """A job that is not there is no reason to come back."""
    connection = connect(lambda request: httpx.Response(404, json={"detail": "There is nothing."}))
    with pytest.raises(ServiceProblem, match="There is nothing"):
        next(stream_events(connection, "/e", 0, never_ended))


def test_a_server_that_stays_away_ends_the_stream() -> None:
    """After two minutes without an answer the client gives up with a sentence."""

    def refuse(request: httpx.Request) -> httpx.Response:
        """Refuse the connection."""
        raise httpx.ConnectError("refused")

    with pytest.raises(ServerAwayError, match="does not answer"):
        next(stream_events(connect(refuse), "/e", 0, never_ended))
