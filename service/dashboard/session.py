"""Sign in with an access token, sign out again.

The cookie names the token under a seal; the token itself is looked up at every request, so revoking it ends its
sessions at once.
"""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from service.dashboard.site import Guest, PageRoute, SentForm, Viewer, render
from service.web.auth import SESSION_COOKIE, SESSION_TIME
from service.web.problems import ProblemError
from service.web.server_parts import Parts

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_NO_STORE = {"Cache-Control": "no-store"}
_OWN_PATH = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")  # no backslash, which browsers take for a slash


@router.get("/sign-in", name="show_sign_in")
def show_sign_in(
    request: Request, visitor: Guest, after: Annotated[str, Query(alias="next", max_length=2000)] = "/"
) -> Response:
    """Show the form that asks for an access token."""
    if visitor is not None:
        return RedirectResponse(check_target(after), 303, _NO_STORE)
    return _show_form(request, after)


@router.post("/sign-in", name="sign_in")
def sign_in(request: Request, visitor: Guest, form: SentForm, parts: Parts) -> Response:
    """Open a session for a valid access token."""
    after, address = form.get("next", "/"), request.client.host if request.client else ""
    try:
        caller, cookie, _ = parts.authenticator.open_session(form.get("token").strip(), address)
    except ProblemError as problem:
        return _show_form(request, after, problem)
    if "searches:read" not in caller.scopes:
        return _show_form(request, after, ProblemError("forbidden", "A worker's token opens no session."))
    response = RedirectResponse(check_target(after), 303, _NO_STORE)
    response.set_cookie(
        SESSION_COOKIE,
        cookie,
        max_age=int(SESSION_TIME.total_seconds()),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    parts.store.add_audit(caller.owner, caller.token_id, "sign_in", "session")
    return response


@router.post("/sign-out", name="sign_out")
def sign_out(visitor: Viewer, form: SentForm) -> Response:
    """End the session in this browser."""
    response = RedirectResponse("/sign-in", 303, _NO_STORE)
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")
    return response


def check_target(path: str) -> str:
    """Return where to go after signing in: an address of this server, the list of searches instead of any other."""
    return path if _OWN_PATH.fullmatch(path) else "/"


def _show_form(request: Request, after: str, problem: ProblemError | None = None) -> Response:
    """Return the sign-in page, with what was wrong the last time."""
    context = {"after": check_target(after), "problem": problem}
    response = render(
        request, "sign_in.html", title="Sign in", status=200 if problem is None else problem.status, context=context
    )
    if problem is not None:
        response.headers.update({k: v for k, v in problem.headers.items() if k != "WWW-Authenticate"})
    return response
