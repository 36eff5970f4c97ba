"""What all pages share: templates, who looks at them, and problems as pages.

A page is a function on a router of `PageRoute`s which says who may see it (`Viewer`, `Operator` or `Guest`) and returns
`render(...)`. Without a session the visitor is sent to sign in, and back.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, urlencode

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from db.errors import DbError
from service.dashboard.compression import compressed
from service.dashboard.formats import FILTERS
from service.dashboard.static_files import asset
from service.web.auth import SESSION_COOKIE, Caller, check_csrf, check_same_origin
from service.web.problems import KINDS, ProblemError, problem_of_error, problem_of_status
from service.web.request_frame import describe_fault
from service.web.server_parts import ServerParts
from service.web.validation_errors import problem_of_validation

_LOG = logging.getLogger(__name__)
_TEMPLATES = Path(__file__).with_name("templates")
_MAX_FORM_BYTES = 256 << 10
_FORM_TYPE = "application/x-www-form-urlencoded"
_Handler = Callable[[Request], Coroutine[Any, Any, Response]]
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cache-Control": "no-store",
    # Under "no-referrer" browsers hide the origin of our own forms, by which we tell them from foreign ones.
    "Referrer-Policy": "same-origin",
}


@dataclass(frozen=True)
class Visitor:
    """Who looks at a page in a session.

    Attributes:
        caller: Owner, role and scopes.
        csrf_token: What forms (`csrf_token`) and calls of scripts (`X-CSRF-Token`) must send along.
    """

    caller: Caller
    csrf_token: str

    @property
    def owner(self) -> str:
        """Return whose jobs are theirs."""
        return self.caller.owner

    @property
    def role(self) -> str:
        """Return viewer, operator or admin."""
        return self.caller.role

    @property
    def can_write(self) -> bool:
        """Return whether they may submit and stop searches; pages show no buttons for it otherwise."""
        return "searches:write" in self.caller.scopes

    def may_change(self, owner: str) -> bool:
        """Return whether they may change a job of an owner."""
        return self.can_write and (owner == self.owner or self.caller.is_admin)


@dataclass(frozen=True)
class PageForm:
    """The fields of a form that was sent, its CSRF token checked already."""

    fields: Mapping[str, list[str]]

    def get(self, name: str, default: str = "") -> str:
        """Return the first value of a field."""
        return self.fields.get(name, [default])[0]

    def all(self, name: str) -> list[str]:
        """Return all values of a field."""
        return list(self.fields.get(name, []))


class PageNeeds:
    """The scope that a page needs; None lets everybody see it."""

    def __init__(self, scope: str | None) -> None:
        self.scope = scope

    async def __call__(self, request: Request) -> Visitor | None:
        """Return who looks at the page."""
        return find_visitor(request)


async def get_form(request: Request) -> PageForm:
    """Return the form that was sent."""
    form = request.state.form
    assert isinstance(form, PageForm)
    return form


Viewer = Annotated[Visitor, Depends(PageNeeds("searches:read"))]
Operator = Annotated[Visitor, Depends(PageNeeds("searches:write"))]
Guest = Annotated[Visitor | None, Depends(PageNeeds(None))]
SentForm = Annotated[PageForm, Depends(get_form)]


class PageRoute(APIRoute):
    """A route to a page: it looks for the session, checks what forms bring, shows problems as pages, and compresses."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await compressed(super().handle)(scope, receive, send)

    def get_route_handler(self) -> _Handler:
        """Return the handler of the route with all that around it."""
        original = super().get_route_handler()
        scope = _find_needs(self).scope

        async def handle(request: Request) -> Response:
            """Return the page, or one that says why not."""
            try:
                visitor = await run_in_threadpool(_admit, request, scope)
                request.state.visitor = visitor
                if visitor is None and scope is not None:
                    return ask_to_sign_in(request)
                if request.method == "POST":
                    await _read_form(request, None if scope is None else visitor)
                return await original(request)
            except Exception as error:
                return render_problem(request, _explain(request, error))

        return handle


def render(
    request: Request,
    template: str,
    *,
    title: str,
    section: str = "",
    status: int = 200,
    context: Mapping[str, Any] | None = None,
) -> Response:
    """Return a page.

    Args:
        request: What is answered.
        template: Name of a file of `templates/`.
        title: Of the window; the name of the program is added.
        section: Which entry of the navigation it belongs to: "searches", "studies" or "submit".
        status: HTTP status.
        context: What the template shows; drawings as `markupsafe.Markup`.
    """
    shared = {
        "title": title,
        "section": section,
        "visitor": find_visitor(request),
        "request_id": request.state.request_id,
        "path": request.url.path,
        "now": datetime.now(UTC),
    }
    text = load_environment().get_template(template).render({**shared, **(context or {})})
    return HTMLResponse(text, status, PAGE_HEADERS)


def render_problem(request: Request, problem: ProblemError) -> Response:
    """Return the page that shows a problem."""
    context = {"problem": problem, "kind": KINDS[problem.code]}
    response = render(request, "error.html", title=KINDS[problem.code].title, status=problem.status, context=context)
    response.headers.update(problem.headers)
    return response


async def show_problem(request: Request, problem: ProblemError) -> Response:
    """Return the page of a problem that no page had, such as an unknown address; it knows who is signed in."""
    with contextlib.suppress(ProblemError, DbError):
        await run_in_threadpool(_admit, request, None)
    return render_problem(request, problem)


def wants_page(request: Request) -> bool:
    """Return whether a person looks at this address with a browser, so that a problem should be a page."""
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith(("/api/", "/static/"))


def find_visitor(request: Request) -> Visitor | None:
    """Return who looks at a page, None for nobody known."""
    visitor = getattr(request.state, "visitor", None)
    assert visitor is None or isinstance(visitor, Visitor)
    return visitor


def ask_to_sign_in(request: Request) -> Response:
    """Return the way to the sign-in page, and from there back to where the visitor wanted to go."""
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    query = f"?{urlencode({'next': target})}" if request.method == "GET" and target != "/" else ""
    return RedirectResponse(f"/sign-in{query}", 303, {"Cache-Control": "no-store"})


@functools.cache
def load_environment() -> Environment:
    """Return the environment of the templates: everything is escaped, and a missing name is a mistake."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(FILTERS)
    environment.globals["asset"] = asset
    return environment


def _find_needs(route: APIRoute) -> PageNeeds:
    """Return who may see a page.

    Raises:
        TypeError: It does not say.
    """
    for part in route.dependant.dependencies:
        if isinstance(part.call, PageNeeds):
            return part.call
    raise TypeError(f"The page {route.path} must say who may see it: take a parameter such as `visitor: Viewer`.")


def _admit(request: Request, scope: str | None) -> Visitor | None:
    """Return who looks at the page, None without a session."""
    parts: ServerParts = request.app.state.parts
    cookie = request.cookies.get(SESSION_COOKIE)
    # What an error page shows must not depend on the scope: it says who is signed in, too.
    caller = None if cookie is None else parts.authenticator.admit_session(cookie, "searches:read")
    if caller is None or caller.csrf_token is None:
        return None
    visitor = Visitor(caller, caller.csrf_token)
    request.state.visitor = visitor
    request.state.caller = caller
    if scope is not None and scope not in caller.scopes:
        raise ProblemError("forbidden", f"Your role here is {caller.role}, which does not allow that.")
    return visitor


async def _read_form(request: Request, visitor: Visitor | None) -> None:
    """Read the form that a page of ours sent; one that anybody may send belongs to no session."""
    check_same_origin(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM_TYPE:
        raise ProblemError("unsupported_media_type", "This address takes forms only.")
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > _MAX_FORM_BYTES:
            raise ProblemError("too_large", f"A form may have at most {_MAX_FORM_BYTES} bytes.")
    try:
        fields = parse_qs(content.decode(), keep_blank_values=True, errors="strict", max_num_fields=500)
    except ValueError:
        raise ProblemError("bad_request") from None
    if visitor is not None:
        check_csrf(visitor.caller, fields.get("csrf_token", [""])[0])
    request.state.form = PageForm(fields)


def _explain(request: Request, error: Exception) -> ProblemError:
    """Return the problem that an error stands for; one that is our own fault goes to the log."""
    if isinstance(error, RequestValidationError):
        return problem_of_validation(error)
    if isinstance(error, HTTPException):
        return problem_of_status(error.status_code, error.headers)
    problem = problem_of_error(error)
    if problem is None:
        _LOG.error("request=%s failed: %s", request.state.request_id, describe_fault(error))
        problem = ProblemError("internal", "The server made a mistake. Its log has more under the request id.")
    return problem
