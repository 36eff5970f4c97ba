"""Pages of lists: signed tokens that name the last row of a page, good for the same list only."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from fastapi import Request

from service.web.problems import FieldError, ProblemError

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 200
_SEAL_BYTES = 16

SortValue = datetime | str | int | float | None
Row = tuple[SortValue, str]
"""Value of the sort column and id of a row."""


class PageTokens:
    """Makes and reads page tokens.

    Args:
        secret: Seals them.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def make(self, row: Row, filters: Mapping[str, Any]) -> str:
        """Return the token of the page after a row.

        Args:
            row: The last row of the page before.
            filters: Everything that makes this list another than its neighbours, the sort order included.
        """
        value, row_id = row
        if isinstance(value, datetime):
            kind, text = "time", value.isoformat()
        else:
            kind, text = "plain", json.dumps(value)
        content = json.dumps([kind, text, row_id, _hash(filters)], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._seal(content) + content).decode().rstrip("=")

    def read(self, token: str | None, filters: Mapping[str, Any]) -> Row | None:
        """Return the row that a token names, None where there is no token.

        Raises:
            ProblemError: invalid_page_token: forged, cut, or made for another list.
        """
        if token is None:
            return None
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except (binascii.Error, ValueError):
            raise _refused() from None
        seal, content = raw[:_SEAL_BYTES], raw[_SEAL_BYTES:]
        if not hmac.compare_digest(seal, self._seal(content)):
            raise _refused()
        kind, text, row_id, filter_hash = json.loads(content)
        if filter_hash != _hash(filters):
            raise _refused()
        return (datetime.fromisoformat(text) if kind == "time" else json.loads(text)), row_id

    def _seal(self, content: bytes) -> bytes:
        """Return the seal of a token's content."""
        return hmac.new(self._secret, b"page:" + content, hashlib.sha256).digest()[:_SEAL_BYTES]


def clamp_page_size(page_size: int) -> int:
    """Return how many rows a page gets: what was asked for, the default for 0, and no more than the most."""
    return min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def list_filters(request: Request, **fixed: str) -> dict[str, str]:
    """Return what makes a list another than its neighbours: its query but for the page, and what is fixed."""
    query = {name: value for name, value in request.query_params.items() if name not in ("page_token", "page_size")}
    return {**query, **fixed}


def next_page_headers(request: Request, token: str) -> dict[str, str]:
    """Return the Link header (RFC 8288) to the next page."""
    query = urlencode({**dict(request.query_params), "page_token": token})
    return {"Link": f'<{request.url.path}?{query}>; rel="next"'}


def _hash(filters: Mapping[str, Any]) -> str:
    """Return a short hash of the filters of a list."""
    text = json.dumps(filters, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _refused() -> ProblemError:
    """Return the problem of a token that is none of this list."""
    message = "Use the next_page_token of the page before with the same filters, or leave it out."
    field = FieldError(pointer="page_token", code="invalid_page_token", message=message)
    return ProblemError("invalid_page_token", message, errors=[field])
