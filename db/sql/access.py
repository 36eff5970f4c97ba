"""Who may do what, and who did, in SQL: tokens, idempotency keys, the audit trail."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, insert, or_, select, update

from db.errors import ConflictError, NotFoundError
from db.questions import Idempotency
from db.records.access import AuditRecord, SavedResponse, TokenRecord
from db.rules import TOKEN_TOUCH_SECONDS
from db.sql import schema
from db.sql.engine import Transaction
from db.sql.jobs import check_same_request, find_key_row, response_row
from db.sql.ledger import Ledger, SqlPart
from db.sql.rows import token_record


class SqlAccess(SqlPart):
    """The part of the store that keeps tokens, idempotency keys and the audit trail."""

    def add_token(self, token: TokenRecord) -> None:
        """Store a token; raise ConflictError when its id is taken."""
        row = vars(token) | {"scopes": list(token.scopes)}

        def work(tx: Transaction) -> None:
            if _find_token(tx, token.id) is not None:
                raise ConflictError("A token needs an id of its own, but this one is taken. Make another.")
            tx.execute(insert(schema.token).values(row))

        self._database.write(work, durable=True)

    def find_token(self, token_id: str) -> TokenRecord | None:
        """Return a token, revoked or expired ones too, or None."""
        return self._database.read(lambda tx: _find_token(tx, token_id))

    def list_tokens(self, owner: str | None) -> list[TokenRecord]:
        """Return the tokens of an owner, of all for None, newest first."""
        table = schema.token
        query = select(table).order_by(table.c.created_at.desc(), table.c.id.desc())
        query = query if owner is None else query.where(table.c.owner == owner)
        return [token_record(row) for row in self._database.read(lambda tx: tx.list_rows(query))]

    def revoke_token(self, token_id: str) -> TokenRecord:
        """Revoke a token for good (again changes nothing); raise NotFoundError."""
        table = schema.token

        def work(tx: Transaction) -> TokenRecord:
            valid = (table.c.id == token_id) & table.c.revoked_at.is_(None)
            tx.execute(update(table).where(valid).values(revoked_at=tx.now))
            token = _find_token(tx, token_id)
            if token is None:
                raise NotFoundError
            return token

        return self._database.write(work, durable=True)

    def touch_token(self, token_id: str) -> None:
        """Note that a token was used (to the minute): most calls find it noted and write nothing."""
        table = schema.token

        def is_stale(tx: Transaction) -> Any:
            earlier = tx.now - timedelta(seconds=TOKEN_TOUCH_SECONDS)
            return (table.c.id == token_id) & or_(table.c.last_used_at.is_(None), table.c.last_used_at <= earlier)

        if self._database.read(lambda tx: tx.find_row(select(table.c.id).where(is_stale(tx)))) is None:
            return

        def work(tx: Transaction) -> None:
            tx.execute(update(table).where(is_stale(tx)).values(last_used_at=tx.now))

        self._database.write(work)

    def count_tokens(self) -> int:
        """Return how many tokens there are, revoked ones included."""
        query = select(func.count()).select_from(schema.token)
        return int(self._database.read(lambda tx: tx.execute(query).scalar_one()))

    def find_response(self, idempotency: Idempotency) -> SavedResponse | None:
        """Return the saved answer of a key, None for a new key; raise IdempotencyMismatchError."""
        table = schema.idempotency_key
        query = select(table).where(table.c.owner == idempotency.owner, table.c.key == idempotency.key)
        row = self._database.read(lambda tx: tx.find_row(query))
        return None if row is None else check_same_request(row, idempotency)

    def save_response(self, idempotency: Idempotency, response: SavedResponse) -> None:
        """Save the answer of a request; the first answer of a key stays, and another request under it is refused."""

        def work(ledger: Ledger) -> None:
            row = find_key_row(ledger, idempotency)
            if row is not None:
                check_same_request(row, idempotency)
                return
            ledger.tx.execute(insert(schema.idempotency_key).values(response_row(idempotency, response, ledger, None)))

        self._change(work, durable=True)

    def purge_responses(self, older_than_seconds: float) -> int:
        """Forget old keys and return how many."""
        table = schema.idempotency_key

        def work(tx: Transaction) -> int:
            old = table.c.created_at < tx.now - timedelta(seconds=older_than_seconds)
            return tx.execute(delete(table).where(old)).rowcount

        return self._database.write(work)

    def add_audit(self, owner: str, token_id: str, action: str, resource: str) -> None:
        """Note who did what."""
        row = {"owner": owner, "token_id": token_id, "action": action, "resource": resource}
        self._database.write(lambda tx: tx.execute(insert(schema.audit).values(row | {"at": tx.now})))

    def list_audit(self, limit: int = 100) -> list[AuditRecord]:
        """Return the newest notes first."""
        table = schema.audit
        columns = (table.c.at, table.c.owner, table.c.token_id, table.c.action, table.c.resource)
        query = select(*columns).order_by(table.c.id.desc()).limit(limit)
        return [AuditRecord(**row) for row in self._database.read(lambda tx: tx.list_rows(query))]


def _find_token(tx: Transaction, token_id: str) -> TokenRecord | None:
    row = tx.find_row(select(schema.token).where(schema.token.c.id == token_id))
    return None if row is None else token_record(row)
