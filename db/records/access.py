"""Records of who may do what and who did: tokens, workers, saved answers and the audit trail. Pure: no SQL, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class TokenRecord:
    """An access token, without its secret.

    Attributes:
        id: Its public part; what it is looked up by.
        secret_sha256: SHA-256 of the secret part in hexadecimal.
        owner: Who acts with it.
        role: "viewer", "operator" or "admin".
        scopes: What it allows.
    """

    id: str
    name: str
    owner: str
    role: str
    scopes: tuple[str, ...]
    secret_sha256: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True)
class WorkerRecord:
    """A worker that has asked for work; `last_seen_at` by the database's clock."""

    id: str
    name: str
    version: str
    cpus: float
    gpus: float
    first_seen_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True)
class SavedResponse:
    """The answer that an idempotency key replays."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class AuditRecord:
    """Who did what to which resource."""

    at: datetime
    owner: str
    token_id: str
    action: str
    resource: str
