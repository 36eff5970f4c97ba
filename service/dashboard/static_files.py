"""Style sheets and scripts: read once, sent under an address that changes with any of them, so kept by browsers.

The hash stands before the name (`/static/HASH/live.js`), which lets modules import each other by plain relative names.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from service.dashboard.compression import compressed
from service.web.auth import Public
from service.web.guarded_route import GuardedRoute
from service.web.problems import ProblemError

FOLDER = Path(__file__).with_name("static")
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
_YEAR = "public, max-age=31536000, immutable"


class StaticRoute(GuardedRoute):
    """A guarded route to a file: browsers ask for scripts and styles with media types of their own."""

    any_media_type = True

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await compressed(super().handle)(scope, receive, send)


router = APIRouter(route_class=StaticRoute, include_in_schema=False)


@functools.cache
def load_files() -> Mapping[str, bytes]:
    """Return the content of all files by name, that of its room before it: {"live.js": ..., "study/front.js": ...}."""
    paths = [path for path in sorted(FOLDER.rglob("*")) if path.suffix in _TYPES]
    return {path.relative_to(FOLDER).as_posix(): path.read_bytes() for path in paths}


@functools.cache
def compute_version() -> str:
    """Return a hash of all files."""
    digest = hashlib.sha256()
    for name, content in load_files().items():
        digest.update(f"{name}:{len(content)}:".encode() + content)
    return digest.hexdigest()[:16]


def asset(name: str) -> str:
    """Return the address of a file.

    Raises:
        KeyError: There is none of that name.
    """
    if name not in load_files():
        raise KeyError(name)
    return f"/static/{compute_version()}/{name}"


@router.get("/static/{version}/{name:path}", name="get_static_file")
async def get_static_file(_: Public, request: Request, version: str, name: str) -> Response:
    """Send a file; under the address of other contents it is not to be kept."""
    content = load_files().get(name)
    if content is None:
        raise ProblemError("not_found")
    kept = _YEAR if version == compute_version() else "no-cache"
    return Response(content, headers={"Cache-Control": kept}, media_type=_TYPES[Path(name).suffix])
