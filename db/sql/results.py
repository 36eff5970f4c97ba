"""What trials have found, in SQL: architectures, baselines of a study; and the look-up costs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import JSON, ColumnElement, Text, cast, select

from db.errors import NotFoundError
from db.records.jobs import Json
from db.records.results import ArchitectureRecord, FrontRow
from db.rules import BASELINE_KINDS
from db.sql import schema
from db.sql.engine import Transaction
from db.sql.ledger import SqlPart
from db.sql.rows import architecture_record


class SqlResults(SqlPart):
    """The part of the store that keeps architectures and costs."""

    def get_architecture(self, architecture_id: str) -> ArchitectureRecord:
        """Return an architecture, also of a deleted job, or raise NotFoundError."""
        query = select(schema.architecture).where(schema.architecture.c.id == architecture_id)
        row = self._database.read(lambda tx: tx.find_row(query))
        if row is None:
            raise NotFoundError
        return architecture_record(row)

    def list_front_rows(self, *, job_id: str | None, study_key: str | None) -> list[FrontRow]:
        """Return what a front needs of every architecture of a job or of a study, the cheapest first.

        Within a study each network counts once, however many jobs share it.
        """
        table = schema.architecture
        joined = table.join(schema.job, schema.job.c.id == table.c.job_id)
        query = select(*(_as_text(table.c[name]) for name in FrontRow._fields)).select_from(joined)
        query = query.where(schema.JOB_IS_LISTED)
        query = query if job_id is None else query.where(table.c.job_id == job_id)
        if study_key is not None:
            query = query.where(table.c.study_key == study_key)
            query = query if job_id is not None else query.where(table.c.copied_from.is_(None))
        return _front_rows(self._database.read(lambda tx: tx.list_tuples(query.order_by(table.c.madds, table.c.id))))

    def list_baselines(self, study_key: str) -> Mapping[str, Json]:
        """Return {trial name: result} of the finished baselines of a study, the newest where there are several."""
        result = schema.result
        query = select(result.c.name, result.c.document).where(
            result.c.study_key == study_key, result.c.kind.in_(BASELINE_KINDS), schema.RESULT_IS_OWN
        )
        rows = self._database.read(lambda tx: tx.list_tuples(query.order_by(result.c.created_at, result.c.trial_id)))
        return dict(rows)

    def find_cost(self, key: str) -> Json | None:
        """Return a cost document stored under a key, or None."""
        query = select(schema.cost.c.document).where(schema.cost.c.key == key)
        document: Any = self._database.read(lambda tx: tx.execute(query).scalar())
        return None if document is None else dict(document)

    def save_cost(self, key: str, document: Json) -> None:
        """Store a cost document, replacing the one of that key."""

        def work(tx: Transaction) -> None:
            tx.upsert(schema.cost, [{"key": key, "document": dict(document), "created_at": tx.now}])

        self._database.write(work)


def _as_text(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a column, a document as its text."""
    return cast(column, Text) if isinstance(column.type, JSON) else column


def _front_rows(rows: list[tuple[Any, ...]]) -> list[FrontRow]:
    """Return rows whose last value, the metrics, is still JSON; all of them are decoded at one go."""
    decoded = json.loads(f"[{','.join(row[-1] or 'null' for row in rows)}]")
    return [FrontRow._make((*row[:-1], metrics)) for row, metrics in zip(rows, decoded, strict=True)]
