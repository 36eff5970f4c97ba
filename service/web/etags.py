"""Answers with entity tags: 304 for what the client has already, 412 and 428 for changes made blindly."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel

from service.web.problems import ProblemError

_FRESH = "private, no-cache"


def etag_of_version(version: int) -> str:
    """Return the strong tag of a row's version."""
    return f'"{version}"'


def etag_of_content(content: bytes, *, weak: bool = False) -> str:
    """Return the tag of a body."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return f"W/{tag}" if weak else tag


def is_known(request: Request, etag: str) -> bool:
    """Return whether the client says that it has this version (If-None-Match, weak comparison)."""
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    return "*" in known or etag.removeprefix("W/") in known


def check_unchanged(request: Request, etag: str) -> None:
    """Refuse a change that was not made to this version.

    Raises:
        ProblemError: precondition_required without If-Match, stale_version for another version's.
    """
    header = request.headers.get("if-match")
    if header is None:
        raise ProblemError("precondition_required", "Send the ETag of what you read as If-Match.")
    if header.strip() != "*" and etag not in {tag.strip() for tag in header.split(",")}:
        raise ProblemError("stale_version", "Read it again, and repeat the change with its new ETag.")


def answer(
    request: Request,
    body: BaseModel,
    *,
    etag: str | None = None,
    weak: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a body as JSON with its tag, or 304 where the client has it already.

    Args:
        request: What is answered.
        body: Fields that are None by omission are left out.
        etag: Its tag; made from the content where there is none.
        weak: Whether a tag made from the content is a weak one, as for lists.
        headers: Further headers.
    """
    content = body.model_dump_json(exclude_unset=True).encode()
    return answer_content(request, content, etag or etag_of_content(content, weak=weak), headers)


def answer_content(request: Request, content: bytes, etag: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return JSON that is written already with its tag, or 304 where the client has it already."""
    fields = {"ETag": etag, "Cache-Control": _FRESH, **(headers or {})}
    if is_known(request, etag):
        return Response(status_code=304, headers=fields)
    return Response(content, headers=fields, media_type="application/json")
