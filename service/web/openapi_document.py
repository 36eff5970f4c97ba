"""The description of the API (OpenAPI 3.1), completed with the problems that operations may answer with."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.web.problems import MEDIA_TYPE, Problem

_SCHEMAS = "#/components/schemas"
_PROBLEM_RESPONSES = {
    400: "The request cannot be understood",
    401: "No valid access token",
    403: "The token does not allow it",
    404: "Nothing is there",
    406: "Nothing that is accepted is offered",
    409: "The state forbids it",
    410: "Not kept any more",
    412: "Changed since it was read",
    413: "The body is too large",
    415: "The body is not JSON",
    416: "Outside the file",
    422: "The request cannot be carried out",
    428: "If-Match is missing",
    429: "Too many requests",
    500: "A mistake of the server",
    503: "The database is away",
}


def complete_openapi(app: FastAPI) -> None:
    """Let an application describe itself with the problems that every operation may answer with."""

    def build() -> dict[str, Any]:
        """Return the description, made once."""
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                openapi_version="3.1.0",
            )
            _add_problems(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = build  # type: ignore[method-assign]  # the way that FastAPI documents


def _add_problems(document: dict[str, Any]) -> None:
    """Declare the problem document, and which statuses each operation may answer it with."""
    schema = Problem.model_json_schema(ref_template=f"{_SCHEMAS}/{{model}}")
    components = document["components"]
    components["schemas"].update(schema.pop("$defs", {}))
    components["schemas"]["Problem"] = schema
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    content = {MEDIA_TYPE: {"schema": {"$ref": f"{_SCHEMAS}/Problem"}}}
    components["responses"] = {
        f"Problem{status}": {"description": meaning, "content": content}
        for status, meaning in _PROBLEM_RESPONSES.items()
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            responses = operation["responses"]
            responses.pop("422", None)
            for status in _find_statuses(path, method, operation):
                responses.setdefault(str(status), {"$ref": f"#/components/responses/Problem{status}"})
            _add_not_modified(method, operation)
            _drop_nulls(operation)
            operation["responses"] = dict(sorted(responses.items()))


def _drop_nulls(operation: dict[str, Any]) -> None:
    """Say of a parameter that may be left out only that: it cannot be null, since addresses and headers hold text."""
    for parameter in operation.get("parameters", []):
        schema = parameter["schema"]
        kinds = [kind for kind in schema.pop("anyOf", []) if kind != {"type": "null"}]
        if len(kinds) == 1:
            parameter["schema"] = {**kinds[0], **schema}
        parameter["schema"].pop("title", None)
        parameter["schema"].pop("description", None)


def _find_statuses(path: str, method: str, operation: dict[str, Any]) -> list[int]:
    """Return the statuses of the problems that an operation may answer with."""
    statuses = {400, 406, 413, 429, 500}
    if "security" in operation:
        statuses |= {401, 403, 503}
    if "{" in path or path.endswith("/pareto"):
        statuses.add(404)
    if "requestBody" in operation:
        statuses |= {415, 422}
    if method == "post" and path.startswith("/api/v1"):
        statuses |= {404, 409, 422}
    if method in ("patch", "delete") and "{job_id}" in path:
        statuses |= {409, 412, 428}
    if "/worker/" in path:
        statuses |= {404, 409, 422}
    if path.endswith("/content"):
        statuses |= {409, 416}
    if path.endswith("/files/{name}"):
        statuses |= {416}
    if path.endswith("/events"):
        statuses |= {410}
    return sorted(statuses)


def _add_not_modified(method: str, operation: dict[str, Any]) -> None:
    """Declare the answers without a body that some operations give."""
    if method == "get" and "security" in operation:
        operation["responses"].setdefault("304", {"description": "What the client has is still right"})
        if operation["operationId"].startswith("follow_"):
            operation["responses"]["204"] = {"description": "The job has ended, and the client has all its events"}
