"""What surrounds every request: its id, the host it names, security headers, one line in the log, a count.

The outermost ASGI layer. Whatever goes wrong inside becomes a problem document here, with nothing of it but an id.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Sequence

from fastapi.responses import Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.web.monitoring import Monitor
from service.web.problems import ProblemError, problem_of_error, problem_response

_LOG = logging.getLogger("service.requests")
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Of every answer; a page that shows something brings its own Content-Security-Policy."""


class _HeadEndsError(OSError):
    """All of the answer to a HEAD has been sent; of a kind that answers in parts take for a client that has gone."""


class RequestFrame:
    """The outermost layer of the application.

    Args:
        app: What is inside.
        monitor: Counts the answers.
        allowed_hosts: Names under which the server may be addressed, without port; "*" for any.
    """

    def __init__(self, app: ASGIApp, monitor: Monitor, allowed_hosts: Sequence[str]) -> None:
        self._app = app
        self._monitor = monitor
        self._allowed_hosts = frozenset(name.lower() for name in allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # What answers GET answers HEAD, without the body: one rule here instead of a second method for every route.
        inner = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        answering = _Answering(inner, send, method=scope["method"])
        try:
            self._check_host(inner)
            await self._app(inner, receive, answering.send)
        except (ClientDisconnect, _HeadEndsError):
            _LOG.debug("request=%s the client has gone", answering.request_id)
        except Exception as error:
            if answering.status:
                raise  # the answer has begun: all that is left is to break the connection
            await answering.refuse(error, receive)
        finally:
            self._note(answering)

    def _check_host(self, scope: Scope) -> None:
        """Refuse a foreign host name: a page elsewhere may have bound its own name to this address."""
        host = Headers(scope=scope).get("host", "").lower()
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if "*" not in self._allowed_hosts and name not in self._allowed_hosts:
            raise ProblemError("bad_host")

    def _note(self, answering: _Answering) -> None:
        """Write one line and count; the path in both is the template of the route, never what was sent."""
        seconds = time.perf_counter() - answering.started
        method, route = answering.method, answering.route
        self._monitor.count(method, route, answering.status, seconds)
        level = logging.WARNING if answering.status >= 500 else logging.INFO
        _LOG.log(
            level,
            "request=%s method=%s route=%s status=%d ms=%.1f token=%s",
            answering.request_id,
            method,
            route,
            answering.status,
            seconds * 1000,
            answering.token_id,
        )


class _Answering:
    """One request while it is answered."""

    def __init__(self, scope: Scope, send: Send, *, method: str) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(8)}"
        self.started = time.perf_counter()
        self.status = 0
        self._scope = scope
        self._send = send
        self._method = method
        scope.setdefault("state", {})["request_id"] = self.request_id

    @property
    def method(self) -> str:
        """Return the method, "OTHER" for one that HTTP does not know."""
        method = self._method
        return method if method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} else "OTHER"

    @property
    def route(self) -> str:
        """Return the template of the route that answered, "-" for none."""
        return str(getattr(self._scope.get("route"), "path", "-"))

    @property
    def token_id(self) -> str:
        """Return the public part of the caller's token, "-" for nobody."""
        caller = self._scope["state"].get("caller")
        return "-" if caller is None else str(caller.token_id)

    async def send(self, message: Message) -> None:
        """Send a part of the answer, its head with the headers that all answers have."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(raw=list(message["headers"]))
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers["X-Request-Id"] = self.request_id
            caller = self._scope["state"].get("caller")
            if caller is not None and caller.allowance is not None:
                for name, value in caller.allowance.headers.items():
                    headers.setdefault(name, value)
            message = {**message, "headers": headers.raw}
        elif self._method == "HEAD" and message["type"] == "http.response.body":
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            if message.get("more_body", False):
                raise _HeadEndsError
            return
        await self._send(message)

    async def refuse(self, error: Exception, receive: Receive) -> None:
        """Answer with the problem of an error; one that is our own fault goes to the log, without what it says."""
        problem = problem_of_error(error)
        if problem is None:
            # What an exception says may hold secrets (a URL with a password, a row): only its kind and place are noted.
            _LOG.error("request=%s failed: %s", self.request_id, describe_fault(error))
            problem = ProblemError("internal", "The server made a mistake. Its log has more under the request id.")
        response: Response = problem_response(problem, instance=self._scope["path"], request_id=self.request_id)
        await response(self._scope, receive, self.send)


def describe_fault(error: BaseException) -> str:
    """Return kind and place of an error, without its text: "KeyError at service/app.py:12 < service/x.py:3"."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{'/'.join(code.co_filename.split('/')[-2:])}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{type(error).__name__} at {' < '.join(reversed(places[-8:]))}"
