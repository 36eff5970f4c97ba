"""Access tokens as text: `nas_<id>_<secret><checksum>` for people and workers, `bmta_<attempt>_<mac>` for attempts.

And sessions of browsers, as what their cookie holds: the id of the token that they were opened with, under a seal.
Only the SHA-256 of a secret is ever stored (32 random bytes: a slow hash would add nothing). The checksum lets a
scanner tell a leaked token from noise without asking anyone. Pure, but for the random bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
from dataclasses import dataclass
from datetime import datetime

from db.records.access import TokenRecord

ROLE_SCOPES: dict[str, tuple[str, ...]] = {
    "viewer": ("searches:read", "artifacts:read"),
    "operator": ("searches:read", "artifacts:read", "searches:write"),
    "admin": ("searches:read", "artifacts:read", "searches:write", "workers", "admin"),
    "worker": ("workers",),
}
"""What each role may do."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_CHARS = 43  # 32 bytes in base 62
_CHECKSUM_CHARS = 6  # 32 bits in base 62
_TOKEN = re.compile(r"nas_([0-9a-z]{12})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})", re.ASCII)
_SESSION = re.compile(r"([0-9a-z]{12})\.([0-9]{1,12})\.([0-9a-f]{32})\.([0-9a-f]{64})", re.ASCII)
_ATTEMPT_TOKEN = re.compile(r"bmta_([0-9A-Za-z_-]{1,80})_([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True)
class PresentedToken:
    """What a well-formed access token says: the id to look it up by, and the SHA-256 of its secret."""

    id: str
    secret_sha256: str


@dataclass(frozen=True)
class PresentedSession:
    """What a sound session cookie says: the token it was opened with, and what its forms must send along."""

    token_id: str
    csrf_token: str


@dataclass(frozen=True)
class NewToken:
    """A token that has just been made: its record for the store, and its text, which is shown once."""

    record: TokenRecord
    text: str


def make_token(
    *, name: str, owner: str, role: str, created_at: datetime, expires_at: datetime | None = None
) -> NewToken:
    """Return a new token with 32 random bytes as its secret.

    Args:
        name: What its owner calls it.
        owner: Who acts with it.
        role: Key of `ROLE_SCOPES`.
        created_at: Now.
        expires_at: None for never.
    """
    token_id = "".join(secrets.choice("0123456789abcdefghijklmnopqrstuvwxyz") for _ in range(12))
    secret = _base62(int.from_bytes(secrets.token_bytes(32)), _SECRET_CHARS)
    record = TokenRecord(
        id=token_id,
        name=name,
        owner=owner,
        role=role,
        scopes=ROLE_SCOPES[role],
        secret_sha256=_sha256(secret),
        created_at=created_at,
        expires_at=expires_at,
        last_used_at=None,
        revoked_at=None,
    )
    return NewToken(record, sign_token(token_id, secret))


def sign_token(token_id: str, secret: str) -> str:
    """Return the text of a token, its checksum at the end."""
    return f"nas_{token_id}_{secret}{_checksum(token_id, secret)}"


def read_token(text: str) -> PresentedToken | None:
    """Return what an access token says, or None for a text that is none."""
    match = _TOKEN.fullmatch(text)
    if match is None or not hmac.compare_digest(_checksum(match[1], match[2]), match[3]):
        return None
    return PresentedToken(match[1], _sha256(match[2]))


def make_attempt_token(attempt_id: str, secret: bytes) -> str:
    """Return the token that lets a trial process speak for its attempt and for nothing else."""
    return f"bmta_{attempt_id}_{_mac(attempt_id, secret)}"


def read_attempt_token(text: str, secret: bytes) -> str | None:
    """Return the id of the attempt that a token speaks for, or None for a text that is no such token."""
    match = _ATTEMPT_TOKEN.fullmatch(text)
    return match[1] if match and hmac.compare_digest(_mac(match[1], secret), match[2]) else None


def make_session(token_id: str, secret: bytes, *, expires_at: datetime) -> str:
    """Return the value of the cookie of a new session; it holds no secret of the token."""
    body = f"{token_id}.{int(expires_at.timestamp())}.{secrets.token_hex(16)}"
    return f"{body}.{_seal(b'session', body, secret)}"


def read_session(text: str, secret: bytes, *, now: datetime) -> PresentedSession | None:
    """Return what a session cookie says, or None for a text that is none and for a session that is over."""
    match = _SESSION.fullmatch(text)
    if match is None or not hmac.compare_digest(_seal(b"session", text.rpartition(".")[0], secret), match[4]):
        return None
    if int(match[2]) <= now.timestamp():
        return None
    return PresentedSession(match[1], _seal(b"csrf", text, secret))


def _seal(purpose: bytes, text: str, secret: bytes) -> str:
    """Return the seal of a text, good for one purpose only."""
    return hmac.new(secret, purpose + b":" + text.encode(), hashlib.sha256).hexdigest()


def _mac(attempt_id: str, secret: bytes) -> str:
    """Return the seal of an attempt's token."""
    return hmac.new(secret, f"attempt:{attempt_id}".encode(), hashlib.sha256).hexdigest()


def _sha256(text: str) -> str:
    """Return the SHA-256 of a text in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum(token_id: str, secret: str) -> str:
    """Return the CRC-32 of a token in base 62."""
    return _base62(zlib.crc32(f"nas_{token_id}_{secret}".encode()), _CHECKSUM_CHARS)


def _base62(number: int, width: int) -> str:
    """Return a number in base 62 with leading zeros."""
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
