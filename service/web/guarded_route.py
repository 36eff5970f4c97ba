"""A route that checks what is the same for all: who asks, what they accept, names in the query, form of the body.

In this order, so that a stranger learns nothing and costs little. A route that does not say who may call it does not
come to life.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from service.web.auth import SESSION_COOKIE, Anyone, Caller, Needs, check_session_request
from service.web.problems import FieldError, ProblemError
from service.web.server_parts import ServerParts
from service.web.strict_body import parse_body

_LONG_BYTES = 64 << 10
_Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class GuardedRoute(APIRoute):
    """A route behind its guard."""

    mends_text = False
    any_media_type = False

    def get_route_handler(self) -> _Handler:
        """Return the handler of the route with the guard before it."""
        original = super().get_route_handler()
        guard = find_guard(self.dependant)
        query_names = {name for part in _flatten(self.dependant) for name in _names(part)}
        takes_body = self.body_field is not None
        for_workers = isinstance(guard, Needs) and guard.scope == "workers"

        async def handle(request: Request) -> Response:
            """Return the route's answer to a request that the guard lets pass."""
            checked = _CheckedRequest(request.scope, request.receive)
            parts: ServerParts = request.app.state.parts
            max_bytes = parts.settings.max_worker_body_bytes if for_workers else parts.settings.max_body_bytes
            if isinstance(guard, Needs):
                request.state.caller = await run_in_threadpool(_admit, request, parts, guard.scope)
            if "\0" in request.scope["path"]:
                raise ProblemError("not_found")  # no database takes it, and nothing has such a name
            if not self.any_media_type:
                _check_accept(request, self)
            _check_query(request, query_names)
            if takes_body:
                await checked.read(max_bytes, mend_text=self.mends_text)
            else:
                _check_length(request, max_bytes)
            return await original(checked)

        return handle


class MendingRoute(GuardedRoute):
    """A guarded route for what programs wrote: characters that are no text are replaced, not refused."""

    mends_text = True


def _admit(request: Request, parts: ServerParts, scope: str) -> Caller:
    """Return the caller that a request names, by its token or, in a browser, by its session."""
    header, cookie = request.headers.get("authorization"), request.cookies.get(SESSION_COOKIE)
    if header is None and cookie is not None and scope != "workers":
        caller = parts.authenticator.admit_session(cookie, scope)
        if caller is None:
            # Not counted as a wrong token: nobody guesses a seal, and a page left open must not lock its owner out.
            raise ProblemError("unauthorized", "The session is over. Sign in again.")
        check_session_request(request, caller)
        return caller
    address = request.client.host if request.client else ""
    return parts.authenticator.admit(header, address, scope)


def find_guard(dependant: Dependant) -> Needs | Anyone:
    """Return who may call a route.

    Raises:
        TypeError: It does not say.
    """
    for part in _flatten(dependant):
        if isinstance(part.call, Needs | Anyone):
            return part.call
    raise TypeError(f"The route {dependant.path} must say who may call it: take a parameter such as `caller: Reader`.")


class _CheckedRequest(Request):
    """A request whose body was read and checked before the framework asks for it."""

    async def read(self, max_bytes: int, *, mend_text: bool) -> None:
        """Read the body, or refuse it: too long, not JSON by its type, or not JSON."""
        _check_length(self, max_bytes)
        chunks: list[bytes] = []
        size = 0
        async for chunk in self.stream():
            size += len(chunk)
            if size > max_bytes:
                raise _too_large(max_bytes)
            chunks.append(chunk)
        self._body = b"".join(chunks)
        _check_media_type(self)
        if len(self._body) < _LONG_BYTES:
            self._document = parse_body(self._body, mend_text=mend_text)
        else:  # others must not wait while a long one is read
            self._document = await run_in_threadpool(parse_body, self._body, mend_text=mend_text)

    async def json(self) -> Any:
        """Return the document of the body."""
        return self._document


def _check_length(request: Request, max_bytes: int) -> None:
    """Refuse a body that says of itself that it is too long, before a byte of it is read."""
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > max_bytes:
        raise _too_large(max_bytes)


def _too_large(max_bytes: int) -> ProblemError:
    """Return the problem of a body that is too long."""
    # The rest of it is not read, so that the connection cannot be used again.
    return ProblemError("too_large", f"A body may have at most {max_bytes} bytes.", headers={"Connection": "close"})


def _check_media_type(request: Request) -> None:
    """Refuse a body that is not said to be plain JSON."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" or request.headers.get("content-encoding", "identity") != "identity":
        raise ProblemError("unsupported_media_type")


def _check_query(request: Request, known: set[str]) -> None:
    """Refuse parameters that the route does not know, and those that are given twice."""
    names = [name for name, _ in request.query_params.multi_items()]
    if not set(names) <= known:
        allowed = ", ".join(sorted(known)) or "none"
        raise ProblemError("unknown_parameter", f"The query has an unknown parameter. Known here: {allowed}.")
    if any("\0" in value for _, value in request.query_params.multi_items()):
        raise ProblemError("invalid_parameter", "Parameters may not hold the character NUL.")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        message = "The parameter is given more than once."
        errors = [FieldError(pointer=name, code="repeated", message=message) for name in repeated]
        raise ProblemError("invalid_parameter", message, errors=errors)


def _check_accept(request: Request, route: APIRoute) -> None:
    """Refuse a request that accepts nothing of what the route answers."""
    accepted = request.headers.get("accept")
    if not accepted:
        return
    offered = str(getattr(route.response_class, "media_type", None) or "application/json")
    wanted = {
        name.strip()
        for name, _, weight in (part.partition(";") for part in accepted.lower().split(","))
        if not _is_nil(weight)
    }
    if not wanted & {offered, "*/*", f"{offered.partition('/')[0]}/*"}:
        raise ProblemError("not_acceptable", f"This address answers {offered}.")


def _is_nil(weight: str) -> bool:
    """Return whether the parameters of a media range give it no weight."""
    return any(re.fullmatch(r"q=0(\.0*)?", part.strip()) for part in weight.split(";"))


def _flatten(dependant: Dependant) -> list[Dependant]:
    """Return a dependant and all those below it."""
    return [dependant, *(inner for part in dependant.dependencies for inner in _flatten(part))]


def _names(dependant: Dependant) -> list[str]:
    """Return the names of a dependant's own query parameters."""
    return [str(field.alias) for field in dependant.query_params]
