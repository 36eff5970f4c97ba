"""Idempotency keys: a request that creates something, repeated under the same key, gets the first answer again.

Source: IETF draft "The Idempotency-Key HTTP Header Field". Answers are kept by the store, in the same transaction as
what was created; a refused request keeps nothing, so that it can be mended under the same key.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any

from fastapi import Header, Request
from fastapi.responses import Response

from db.questions import Idempotency
from db.records.access import SavedResponse
from service.web.auth import Caller
from service.web.problems import FieldError, ProblemError

_KEY = re.compile(r"[\x21-\x7e]{16,255}")
_RULE = "An idempotency key has 16 to 255 printable ASCII characters without spaces. A UUID is a good one."

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description=f"{_RULE} The same key with the same body gets the first answer again for 24 hours.",
        json_schema_extra={"minLength": 16, "maxLength": 255, "pattern": "^[!-~]{16,255}$"},
    ),
]


def read_key(key: str | None, request: Request, caller: Caller, body: Any) -> Idempotency | None:
    """Return the claim that a request makes with its key, or None without a key.

    Args:
        key: The header.
        request: What is asked.
        caller: Who asks; keys of different owners never meet.
        body: JSON value of the body.

    Raises:
        ProblemError: invalid_idempotency_key.
    """
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        field = FieldError(pointer="Idempotency-Key", code="invalid_idempotency_key", message=_RULE)
        raise ProblemError("invalid_idempotency_key", _RULE, errors=[field])
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    return Idempotency(caller.owner, key, request.method, request.url.path, hashlib.sha256(canonical).hexdigest())


def replay(saved: SavedResponse) -> Response:
    """Return a saved answer, marked as such."""
    headers = {**saved.headers, "Idempotency-Replayed": "true"}
    return Response(saved.body, saved.status, headers, media_type="application/json")


def first_answer(saved: SavedResponse) -> Response:
    """Return an answer for the first time."""
    return Response(saved.body, saved.status, dict(saved.headers), media_type="application/json")
