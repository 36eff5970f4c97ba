"""The in-memory twin of the SQL store: the same promises, nothing kept. For tests and for trying things out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from db.errors import ConflictError, NotFoundError
from db.memory.books import Books, MemoryPart, Response
from db.memory.claims import MemoryClaims
from db.memory.facts import MemoryFacts
from db.memory.jobs import MemoryJobs, check_same_request
from db.memory.runs import MemoryRuns
from db.questions import Idempotency
from db.records.access import AuditRecord, SavedResponse, TokenRecord
from db.rules import TOKEN_TOUCH_SECONDS, Policy


class MemoryAccess(MemoryPart):
    """The part of the store that keeps tokens, idempotency keys and the audit trail."""

    def add_token(self, token: TokenRecord) -> None:
        """Store a token; raise ConflictError when its id is taken."""
        with self._books.call():
            if token.id in self._books.tokens:
                raise ConflictError("A token needs an id of its own, but this one is taken. Make another.")
            self._books.tokens[token.id] = token

    def find_token(self, token_id: str) -> TokenRecord | None:
        """Return a token, revoked or expired ones too, or None."""
        with self._books.call():
            return self._books.tokens.get(token_id)

    def list_tokens(self, owner: str | None) -> list[TokenRecord]:
        """Return the tokens of an owner, of all for None, newest first."""
        with self._books.call():
            tokens = [token for token in self._books.tokens.values() if owner is None or token.owner == owner]
            return sorted(tokens, key=lambda token: (token.created_at, token.id), reverse=True)

    def revoke_token(self, token_id: str) -> TokenRecord:
        """Revoke a token for good (again changes nothing); raise NotFoundError."""
        with self._books.call() as now:
            if token_id not in self._books.tokens:
                raise NotFoundError
            token = self._books.tokens[token_id]
            self._books.tokens[token_id] = replace(token, revoked_at=token.revoked_at or now)
            return self._books.tokens[token_id]

    def touch_token(self, token_id: str) -> None:
        """Note that a token was used (to the minute)."""
        with self._books.call() as now:
            token = self._books.tokens.get(token_id)
            last = None if token is None else token.last_used_at
            if token is not None and (last is None or self._books.is_older(last, TOKEN_TOUCH_SECONDS)):
                self._books.tokens[token_id] = replace(token, last_used_at=now)

    def count_tokens(self) -> int:
        """Return how many tokens there are, revoked ones included."""
        with self._books.call():
            return len(self._books.tokens)

    def find_response(self, idempotency: Idempotency) -> SavedResponse | None:
        """Return the saved answer of a key, None for a new key; raise IdempotencyMismatchError."""
        with self._books.call():
            known = self._books.responses.get((idempotency.owner, idempotency.key))
            return None if known is None else check_same_request(known, idempotency)

    def save_response(self, idempotency: Idempotency, response: SavedResponse) -> None:
        """Save the answer of a request; the first answer of a key stays, and another request under it is refused."""
        with self._books.call() as now:
            fresh = Response(idempotency, response, None, now)
            check_same_request(
                self._books.responses.setdefault((idempotency.owner, idempotency.key), fresh), idempotency
            )

    def purge_responses(self, older_than_seconds: float) -> int:
        """Forget old keys and return how many."""
        with self._books.call():
            responses = self._books.responses.items()
            old = [key for key, each in responses if self._books.is_older(each.created_at, older_than_seconds)]
            for key in old:
                del self._books.responses[key]
            return len(old)

    def add_audit(self, owner: str, token_id: str, action: str, resource: str) -> None:
        """Note who did what."""
        with self._books.call() as now:
            self._books.audit.append(AuditRecord(now, owner, token_id, action, resource))

    def list_audit(self, limit: int = 100) -> list[AuditRecord]:
        """Return the newest notes first."""
        with self._books.call():
            return self._books.audit[::-1][:limit]


class MemoryStore(MemoryJobs, MemoryClaims, MemoryRuns, MemoryFacts, MemoryAccess):
    """Everything of `db.stores.Store` in memory; threads may share it."""

    def __init__(
        self,
        *,
        backoff_seconds: float = Policy.backoff_seconds,
        backoff_jitter: float = Policy.backoff_jitter,
        unschedulable_seconds: float = Policy.unschedulable_seconds,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        policy = Policy(
            backoff_seconds=backoff_seconds, backoff_jitter=backoff_jitter, unschedulable_seconds=unschedulable_seconds
        )
        super().__init__(Books(policy, clock))

    def now(self) -> datetime:
        """Return the time."""
        with self._books.call() as now:
            return now

    def ping(self) -> None:
        """Answer always."""

    def close(self) -> None:
        """Let go of nothing; what is remembered stays as long as the store does."""
