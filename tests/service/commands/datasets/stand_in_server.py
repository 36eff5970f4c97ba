"""A web server on this machine whose answers a test decides request by request."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Answer:
    """What the server sends; `cut` ends the connection after so many bytes of the body."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None


Respond = Callable[[str, dict[str, str]], Answer]
"""From the path and the headers (names in lower case) of a request to the answer."""


@dataclass
class StandIn:
    """A running server.

    Attributes:
        url: Of its root, without a slash at the end.
        requests: Path and headers of all requests so far.
    """

    url: str
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@contextmanager
def serve(respond: Respond) -> Iterator[StandIn]:
    """Yield a server that answers as told."""
    stand_in = StandIn("")

    class Handler(BaseHTTPRequestHandler):
        """Answers as told."""

        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            stand_in.requests.append((self.path, headers))
            answer = respond(self.path, headers)
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body))}.items() | answer.headers.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body[: answer.cut])
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stand_in.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def serve_ranges(content: bytes, *, cuts: list[int] | None = None, mark: str = '"one"') -> Respond:
    """Return answers of a good server for one file, which breaks off after so many bytes of each next answer."""
    left = list(cuts or [])

    def respond(path: str, headers: dict[str, str]) -> Answer:
        start = 0
        if "range" in headers and headers.get("if-range", mark) == mark:
            start = int(headers["range"].removeprefix("bytes=").removesuffix("-"))
        if start >= len(content) > 0:
            return Answer(416)
        cut = left.pop(0) if left else None
        told = {"ETag": mark}
        if start:
            told["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return Answer(206 if start else 200, told, content[start:], cut)

    return respond
