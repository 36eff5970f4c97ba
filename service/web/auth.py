"""Who asks, and what they may do: bearer tokens looked up by id and compared in constant time.

Wrong tokens all get the same answer, and from one address only so many of them. Routes name the scope they need with
`Needs`, which `service.web.guarded_route` enforces before anything else of a request is read.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, NoReturn

from fastapi import Request, Security
from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.security.base import SecurityBase

from db.records.access import TokenRecord
from db.records.jobs import JobRecord
from db.stores import Store
from service.server_settings import ServerSettings
from service.web.problems import ProblemError
from service.web.rate_limits import Allowance, TokenBuckets
from service.web.token_format import ROLE_SCOPES, make_session, read_attempt_token, read_session, read_token

SESSION_COOKIE = "bmtas_session"
SESSION_TIME = timedelta(days=7)
_TOUCH_SECONDS = 60.0
_SAFE_METHODS = frozenset({"GET", "HEAD"})
_UNAUTHORIZED = "Send a valid access token as `Authorization: Bearer nas_...`."


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Attributes:
        owner: Whose jobs are theirs.
        token_id: Id of the token, or of the attempt.
        role: Key of `ROLE_SCOPES`, or "attempt".
        scopes: What the token allows.
        attempt_id: The only attempt it may speak for; None for no such bound.
        expires_at: When the token ends to be valid.
        allowance: What is left of the rate limit.
        csrf_token: What changes must send along, for a session of a browser; None for a bearer token.
    """

    owner: str
    token_id: str
    role: str
    scopes: tuple[str, ...]
    attempt_id: str | None = None
    expires_at: datetime | None = None
    allowance: Allowance | None = None
    csrf_token: str | None = None

    @property
    def is_admin(self) -> bool:
        """Return whether they may change what belongs to others."""
        return "admin" in self.scopes

    def check_may_change(self, job: JobRecord) -> None:
        """Refuse to change another owner's job.

        Raises:
            ProblemError: not_owner.
        """
        if job.owner != self.owner and not self.is_admin:
            raise ProblemError("not_owner")

    def check_speaks_for(self, attempt_id: str) -> None:
        """Refuse an attempt's token for another attempt.

        Raises:
            ProblemError: forbidden.
        """
        if self.attempt_id not in (None, attempt_id):
            raise ProblemError("forbidden", "The token of an attempt speaks for that attempt only.")


class Needs(SecurityBase):
    """The scope that a route needs; as a dependency it gives the caller whom the route's guard has let in."""

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.model = HTTPBearerModel(
            description="An access token `nas_...`, made by `POST /api/v1/tokens` or on the first start. Each "
            "operation names the scope it needs; "
            + "; ".join(f"{role}: {', '.join(own)}" for role, own in ROLE_SCOPES.items()),
        )
        self.scheme_name = "token"

    async def __call__(self, request: Request) -> Caller:
        """Return the caller."""
        caller = request.state.caller
        assert isinstance(caller, Caller)
        return caller


class Anyone:
    """Marks a route that answers without a token."""

    async def __call__(self) -> None:
        """Return nothing: nobody is known."""


Reader = Annotated[Caller, Security(Needs("searches:read"), scopes=["searches:read"])]
Writer = Annotated[Caller, Security(Needs("searches:write"), scopes=["searches:write"])]
Downloader = Annotated[Caller, Security(Needs("artifacts:read"), scopes=["artifacts:read"])]
Worker = Annotated[Caller, Security(Needs("workers"), scopes=["workers"])]
Public = Annotated[None, Security(Anyone())]


def check_same_origin(request: Request) -> None:
    """Refuse a request that the page of another server made.

    Raises:
        ProblemError: foreign_origin.
    """
    origin = request.headers.get("origin")
    # Only host and port are compared: a proxy may speak HTTPS to browsers and HTTP to us.
    if origin is None or origin.partition("://")[2].lower() != request.headers.get("host", "").lower():
        raise ProblemError("foreign_origin")


def check_session_request(request: Request, caller: Caller) -> None:
    """Refuse a change in a session unless one of our own pages asks for it, which knows the session's CSRF token.

    Raises:
        ProblemError: foreign_origin, csrf_failed.
    """
    if "origin" in request.headers or request.method not in _SAFE_METHODS:
        check_same_origin(request)
    if request.method not in _SAFE_METHODS:
        check_csrf(caller, request.headers.get("x-csrf-token", ""))


def check_csrf(caller: Caller, presented: str) -> None:
    """Refuse a form or a call that does not bring the CSRF token of its session.

    Raises:
        ProblemError: csrf_failed.
    """
    if caller.csrf_token is None or not hmac.compare_digest(caller.csrf_token.encode(), presented.encode()):
        raise ProblemError("csrf_failed")


class Authenticator:
    """Turns the Authorization header or the session cookie of a request into a caller.

    Args:
        store: Holds the tokens.
        settings: Limits and the secret of attempts' tokens.
        now: Tells the seconds, for the limits.
    """

    def __init__(self, store: Store, settings: ServerSettings, now: Callable[[], float]) -> None:
        limits = settings.rate_limits
        self._store = store
        self._secret = settings.secret
        self._failures = TokenBuckets(limits.failures_per_minute / 60, limits.failure_burst, now)
        self._requests = TokenBuckets(limits.requests_per_second, limits.burst, now)
        self._work = TokenBuckets(limits.worker_requests_per_second, limits.worker_burst, now)
        self._touched: dict[str, float] = {}
        self._lock = threading.Lock()
        self._now = now

    def admit(self, header: str | None, address: str, scope: str) -> Caller:
        """Return the caller that an Authorization header names, one request counted.

        Args:
            header: Value of the Authorization header, None where there is none.
            address: Where the request comes from.
            scope: What the route needs.

        Raises:
            ProblemError: unauthorized, forbidden or rate_limited.
        """
        caller = self._find_caller(header)
        if caller is None:
            self._refuse(address)
        return self._grant(caller, scope)

    def _grant(self, caller: Caller, scope: str) -> Caller:
        """Return the caller with what is left of their rate limit, or refuse what their token does not allow."""
        buckets = self._work if scope == "workers" else self._requests
        allowance = buckets.take(caller.token_id)
        if not allowance.allowed:
            raise ProblemError("rate_limited", "Too many requests. Wait a moment.", headers=allowance.headers)
        if scope not in caller.scopes:
            raise ProblemError("forbidden", f"This needs a token with the scope {scope}.", headers=allowance.headers)
        return replace(caller, allowance=allowance)

    def admit_session(self, cookie: str, scope: str) -> Caller | None:
        """Return the caller of a session, one request counted; None for a session that is over or none of ours.

        Args:
            cookie: Value of the session cookie.
            scope: What the route or page needs.

        Raises:
            ProblemError: forbidden or rate_limited.
        """
        presented = read_session(cookie, self._secret, now=datetime.now(UTC))
        record = None if presented is None else self._store.find_token(presented.token_id)
        if presented is None or record is None or not self._is_valid(record):
            return None
        self._touch(record.id)
        caller = Caller(record.owner, record.id, record.role, record.scopes, expires_at=record.expires_at)
        return self._grant(replace(caller, csrf_token=presented.csrf_token), scope)

    def open_session(self, token: str, address: str) -> tuple[Caller, str, datetime]:
        """Return who an access token is, the cookie of a new session of theirs, and when that ends.

        Raises:
            ProblemError: unauthorized or rate_limited.
        """
        caller = self._find_caller(f"Bearer {token}")
        if caller is None or caller.attempt_id is not None:
            self._refuse(address)
        expires_at = datetime.now(UTC) + SESSION_TIME
        return caller, make_session(caller.token_id, self._secret, expires_at=expires_at), expires_at

    def _find_caller(self, header: str | None) -> Caller | None:
        """Return the caller, or None for a token that is missing, malformed, unknown, wrong, expired or revoked."""
        scheme, _, text = (header or "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        attempt_id = read_attempt_token(text, self._secret)
        if attempt_id is not None:
            return Caller("", attempt_id, "attempt", ("workers",), attempt_id=attempt_id)
        presented = read_token(text)
        if presented is None:
            return None
        record = self._store.find_token(presented.id)
        # The comparison happens for an unknown id too, so that the time tells nothing.
        expected = record.secret_sha256 if record is not None else "0" * 64
        if not hmac.compare_digest(expected, presented.secret_sha256) or record is None or not self._is_valid(record):
            return None
        self._touch(record.id)
        return Caller(record.owner, record.id, record.role, record.scopes, expires_at=record.expires_at)

    def _is_valid(self, record: TokenRecord) -> bool:
        """Return whether a token is neither revoked nor expired, by the database's clock."""
        if record.revoked_at is not None:
            return False
        return record.expires_at is None or record.expires_at > self._store.now()

    def _touch(self, token_id: str) -> None:
        """Note the use of a token, at most once a minute."""
        now = self._now()
        with self._lock:
            if now - self._touched.get(token_id, -_TOUCH_SECONDS) < _TOUCH_SECONDS:
                return
            self._touched[token_id] = now
        self._store.touch_token(token_id)

    def _refuse(self, address: str) -> NoReturn:
        """Count a wrong token of an address, and refuse it."""
        allowance = self._failures.take(address)
        if not allowance.allowed:
            raise ProblemError(
                "rate_limited", "Too many wrong access tokens came from this address.", headers=allowance.headers
            )
        raise ProblemError("unauthorized", _UNAUTHORIZED, headers={"WWW-Authenticate": 'Bearer realm="bmtas"'})
