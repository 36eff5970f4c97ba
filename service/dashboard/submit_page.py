"""The form that submits a search: checked by the API's own rules as one types, and again when it is sent."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from markupsafe import Markup
from pydantic import ValidationError

from db.errors import DbError
from db.records.states import JobKind
from models.errors import ModelsError
from search.errors import SearchError
from service.dashboard.site import Operator, PageForm, PageRoute, SentForm, Viewer, Visitor, render
from service.dashboard.submit_form import (
    Values,
    assign_errors,
    build_groups,
    fill_in,
    list_controls,
    read_body,
)
from service.dashboard.submit_offers import describe_dataset, list_offers
from service.dashboard.submit_preview import describe_estimate, find_scale, write_command, write_curl, write_json
from service.pages.budget_scale_drawing import budget_scale_svg, describe_range
from service.routes.jobs import JobRoutes
from service.routes.searches import submit_search, validate_search
from service.schemas.requests import SearchBody
from service.schemas.results import Validation
from service.web.planning.dataset_checks import forget_check
from service.web.planning.jobs import options_of, rebuild_search_body
from service.web.problems import FieldError, ProblemError, problem_of_error
from service.web.server_parts import Parts, ServerParts
from service.web.validation_errors import problem_of_validation

router = APIRouter(route_class=PageRoute, include_in_schema=False)


class Form:
    """The form as this server offers it now.

    Args:
        parts: What is offered.
    """

    def __init__(self, parts: ServerParts) -> None:
        self.parts = parts
        self.offers = list_offers(parts)
        self.groups = build_groups(self.offers)
        self.controls = list_controls(self.groups)

    def read_values(self, sent: PageForm) -> dict[str, list[str]]:
        """Return what stood in the controls."""
        names = [control.name for control in self.controls]
        names += [f"tasks.{dataset.name}" for dataset in self.offers.datasets]
        return {name: sent.all(name) for name in names}


@dataclass(frozen=True)
class Checked:
    """What the API says of a form.

    Attributes:
        document: The body as JSON.
        body: The same, read; None where it cannot be.
        validation: Its estimate; None where it is refused.
        problem: Why it is refused.
        errors: What is wrong with which field.
    """

    document: Mapping[str, Any]
    body: SearchBody | None = None
    validation: Validation | None = None
    problem: ProblemError | None = None
    errors: Sequence[FieldError] = ()


@router.get("/submit", name="show_submit_form")
def show_submit_form(
    request: Request,
    visitor: Viewer,
    parts: Parts,
    source: Annotated[str | None, Query(alias="from", max_length=200)] = None,
    key: Annotated[str | None, Query(pattern="^[0-9a-f]{32}$")] = None,
) -> Response:
    """Show the form, filled in as another search where one is named.

    The key stands in the address once the page is loaded, so that going back and sending it again is no second search.
    """
    body: Mapping[str, Any] = {}
    if source is not None:
        body = _repeat_body(parts, source)
    form = Form(parts)
    values = fill_in(body, form.controls, form.offers)
    checked = _check(form, values, visitor) if visitor.can_write else None
    return _show(request, form, values, checked, key or secrets.token_hex(16), source=source)


@router.post("/submit", name="submit_form")
def submit_form(request: Request, visitor: Operator, sent: SentForm, parts: Parts) -> Response:
    """Submit the search that a form describes, or show what is wrong with it."""
    form = Form(parts)
    values, nonce = form.read_values(sent), sent.get("nonce")
    checked = _check(form, values, visitor)
    if checked.body is None or checked.problem is not None:
        return _show(request, form, values, checked, nonce)
    # The same form with the same words sent twice makes one search; with other words it is another form.
    digest = hashlib.sha256(json.dumps([nonce, dict(checked.document)], sort_keys=True).encode()).hexdigest()
    try:
        answer = submit_search(request, checked.body, visitor.caller, parts, f"form-{digest}")
    except (ProblemError, DbError) as error:
        problem = problem_of_error(error)
        assert problem is not None
        refused = Checked(checked.document, checked.body, None, problem, problem.errors)
        return _show(request, form, values, refused, nonce)
    return RedirectResponse(f"/searches/{json.loads(bytes(answer.body))['id']}", 303)


@router.post("/submit/preview", name="preview_form")
def preview_form(request: Request, visitor: Operator, sent: SentForm, parts: Parts) -> Response:
    """Show the form again with what the API says of it; browsers with scripts need not ask."""
    form = Form(parts)
    values = form.read_values(sent)
    return _show(request, form, values, _check(form, values, visitor), sent.get("nonce"), is_sent=False)


@router.post("/submit/recheck", name="recheck_form")
def recheck_form(request: Request, visitor: Operator, sent: SentForm, parts: Parts) -> Response:
    """Have the samples of the chosen dataset read again, and show the form as it was."""
    form = Form(parts)
    values = form.read_values(sent)
    name = sent.get("dataset")
    if describe_dataset(parts, name) is not None:
        forget_check(parts.store, name)
    return _show(request, form, values, _check(form, values, visitor), sent.get("nonce"), is_sent=False)


@router.post("/submit/check", name="check_form")
def check_form(request: Request, visitor: Operator, sent: SentForm, parts: Parts) -> Response:
    """Send what changes with every word that is typed: faults, scale, estimate, the lines to copy."""
    form = Form(parts)
    context = _describe(request, form, _check(form, form.read_values(sent), visitor))
    return render(request, "submit_check.html", title="Submit", context=context)


def _check(form: Form, values: Values, visitor: Visitor) -> Checked:
    """Return what `POST /api/v1/searches/validate` says of a form."""
    document, errors = read_body(values, form.controls)
    if errors:
        return Checked(document, problem=ProblemError("invalid_request", errors[0].message), errors=errors)
    try:
        body = SearchBody.model_validate(document)
    except ValidationError as error:
        faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors()]
        problem = problem_of_validation(RequestValidationError(faults))
        return Checked(document, problem=problem, errors=problem.errors)
    try:
        return Checked(document, body, validate_search(body, visitor.caller, form.parts))
    except (ProblemError, SearchError, ModelsError) as error:
        refused = problem_of_error(error)
        assert refused is not None
        return Checked(document, body, None, refused, refused.errors)


def _describe(request: Request, form: Form, checked: Checked | None) -> dict[str, Any]:
    """Return what the page shows of a checked form."""
    if checked is None:
        return {"placed": {}, "others": [], "scale": None, "checked": None, "dataset": None}
    address = str(request.base_url).rstrip("/")
    placed, others = assign_errors(checked.errors, form.controls, checked.document)
    if checked.problem is not None and not checked.errors:
        others = [str(checked.problem)]
    scale = find_scale(checked.document, form.parts.offers)
    return {
        "checked": checked,
        "placed": placed,
        "others": others,
        "controls": form.controls,
        "dataset": describe_dataset(form.parts, str(checked.document.get("dataset"))),
        "scale": None if scale is None else Markup(budget_scale_svg(scale.costs, scale.budgets)),
        "scale_words": "" if scale is None else describe_range(scale.costs, scale.budgets),
        "estimate": [] if checked.validation is None else describe_estimate(checked.validation.estimate),
        "warnings": [] if checked.validation is None else checked.validation.warnings,
        "lines": [
            ("json", "JSON", write_json(checked.document)),
            ("curl", "curl", write_curl(checked.document, address)),
            ("cli", "Command line", write_command(checked.document, address)),
        ],
    }


def _show(
    request: Request,
    form: Form,
    values: Values,
    checked: Checked | None,
    nonce: str,
    *,
    source: str | None = None,
    is_sent: bool = True,
) -> Response:
    """Return the page; of a form that was sent to be submitted with what is wrong with it as its headline."""
    problem = None if not is_sent or request.method == "GET" or checked is None else checked.problem
    context = {
        "groups": form.groups,
        "datasets": form.offers.datasets,
        "values": values,
        "nonce": nonce,
        "problem": problem,
        "source": source,
        **_describe(request, form, checked),
    }
    status = 200 if problem is None else problem.status
    return render(request, "submit.html", title="Submit a search", section="submit", status=status, context=context)


def _repeat_body(parts: ServerParts, job_id: str) -> dict[str, Any]:
    """Return what an earlier search asked."""
    job = JobRoutes(JobKind.SEARCH).find(parts, job_id)
    seconds = (job.deadline_at - job.created_at).total_seconds() if job.deadline_at else None
    body = rebuild_search_body(job.spec, options_of(job, deadline_seconds=seconds))
    return body.model_dump(mode="json")
