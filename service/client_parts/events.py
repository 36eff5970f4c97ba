"""Events of a job as they come: server-sent events read line by line, and taken up again where the connection broke."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import httpx

from service.client_parts.connection import BUSY_STATUSES, Connection, Request
from service.client_parts.records import ServerEvent
from service.errors import ServerAwayError, ServiceProblem

_SILENCE_SECONDS = 45.0  # the server sends a ping every 15
_RECONNECT_SECONDS = 120.0


@dataclass(frozen=True)
class Frame:
    """One server-sent event as it came: its id, kind and data, "" where the field was not there."""

    id: str
    event: str
    data: str


def read_frames(lines: Iterable[str]) -> Iterator[Frame]:
    """Yield the events of a stream; comments and unknown fields are passed over, a last one without its end is lost.

    Source: WHATWG HTML, 9.2.6 "Interpreting an event stream".
    """
    fields: dict[str, str] = {}
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield Frame(fields.get("id", ""), fields.get("event", "message"), "\n".join(data))
            fields, data = {}, []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name:
            fields[name] = value


def stream_events(
    connection: Connection, path: str, after: int, has_ended: Callable[[], bool]
) -> Iterator[ServerEvent]:
    """Yield the events of a job above `after` until it has ended; a lost connection is made again, nothing comes twice.

    Args:
        connection: To the server.
        path: Of the stream.
        after: Last number that is already known.
        has_ended: Asked when the server closed the stream, which it does at the end of a job and when it stops itself.

    Raises:
        ServiceProblem: The server refused, e.g. because the job is not there.
        ServerAwayError: Nobody answered for two minutes.
    """
    last, clock, lost_at = after, connection.clock, None
    pauses = connection.patience.pauses()
    while True:
        try:
            known = {"Last-Event-ID": str(last)} if last else {}  # without one, the oldest that is kept comes first
            request = Request("GET", path, headers={"Accept": "text/event-stream", **known})
            with connection.stream(request, _SILENCE_SECONDS) as response:
                lost_at = None
                for frame in read_frames(response.iter_lines()):
                    if frame.id.isdigit() and int(frame.id) > last:
                        last, pauses = int(frame.id), connection.patience.pauses()
                        yield ServerEvent(last, frame.event, json.loads(frame.data))
            if has_ended():
                return
        except (httpx.TransportError, ServerAwayError) as error:
            lost_at = clock.now() if lost_at is None else lost_at
            if clock.now() > lost_at + _RECONNECT_SECONDS:
                raise connection.away(error) from None
        except ServiceProblem as problem:
            lost_at = clock.now() if lost_at is None else lost_at
            if problem.status not in BUSY_STATUSES or clock.now() > lost_at + _RECONNECT_SECONDS:
                raise
        clock.sleep(next(pauses))
