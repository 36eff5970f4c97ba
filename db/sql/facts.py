"""What was found out about datasets and backbones, in SQL: one row per thing, the newest finding."""

from __future__ import annotations

from sqlalchemy import select

from db.records.facts import FactRecord
from db.records.jobs import Json
from db.sql import schema
from db.sql.engine import Transaction
from db.sql.ledger import SqlPart


class SqlFacts(SqlPart):
    """The part of the store that keeps facts."""

    def put_fact(self, kind: str, name: str, fingerprint: str, document: Json) -> FactRecord:
        """Keep a fact in place of the one that was known of the thing, and return it."""

        def work(tx: Transaction) -> FactRecord:
            fact = FactRecord(kind, name, fingerprint, dict(document), tx.now)
            tx.upsert(schema.fact, [dict(vars(fact))])
            return fact

        return self._database.write(work)

    def find_fact(self, kind: str, name: str) -> FactRecord | None:
        """Return what is known of a thing, or None."""
        fact = schema.fact
        query = select(fact).where(fact.c.kind == kind, fact.c.name == name)
        row = self._database.read(lambda tx: tx.find_row(query))
        return None if row is None else FactRecord(**row)

    def list_facts(self, kind: str) -> list[FactRecord]:
        """Return what is known of all things of a kind, by name."""
        query = select(schema.fact).where(schema.fact.c.kind == kind)
        rows = self._database.read(lambda tx: tx.list_rows(query))
        # Databases order names each by a collation of its own.
        return sorted((FactRecord(**row) for row in rows), key=lambda fact: fact.name)
