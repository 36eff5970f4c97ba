"""What trials have found, in SQL: architectures and baselines of a study."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Text, cast, func, null, select

from db.errors import NotFoundError
from db.records.jobs import Json
from db.records.results import ArchitectureRecord, FrontRow, FrontStamp
from db.rules import BASELINE_KINDS
from db.sql import schema
from db.sql.ledger import SqlPart
from db.sql.rows import architecture_record

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class SqlResults(SqlPart):
    """The part of the store that keeps architectures."""

    def get_architecture(self, architecture_id: str) -> ArchitectureRecord:
        """Return an architecture, also of a deleted job, or raise NotFoundError."""
        query = select(schema.architecture).where(schema.architecture.c.id == architecture_id)
        row = self._database.read(lambda tx: tx.find_row(query))
        if row is None:
            raise NotFoundError
        return architecture_record(row)

    def list_front_rows(
        self, *, job_id: str | None, study_key: str | None, with_metrics: bool = True
    ) -> list[FrontRow]:
        """Return what a front needs of every architecture of a job or of a study, the cheapest first.

        Within a study each network counts once, however many jobs share it.
        """
        table = schema.architecture
        columns = [table.c[name] for name in FrontRow._fields[:-1]]
        # The last column: to decode thousands of documents takes longer than all the rest.
        query = select(*columns, cast(table.c.metrics, Text) if with_metrics else null())
        # The few deleted jobs have an index of their own; to look up the jobs of all networks takes longer.
        query = query.where(table.c.job_id.not_in(select(schema.job.c.id).where(schema.JOB_IS_DELETED)))
        query = query if job_id is None else query.where(table.c.job_id == job_id)
        if study_key is not None:
            # True of all, but it makes SQLite read by time, in which rows lie one after the other in the file: by gain
            # it would fetch each page many times.
            query = query.where(table.c.created_at >= _LONG_AGO)
            query = query.where(table.c.study_key == study_key)
            query = query if job_id is not None else query.where(table.c.copied_from.is_(None))
        query = query.order_by(table.c.madds, table.c.id)
        if with_metrics:
            return _front_rows(self._database.read(lambda tx: tx.list_tuples(query)))
        return self._database.read(lambda tx: [FrontRow._make(row) for row in tx.execute(query)])

    def get_front_stamp(self, *, job_id: str | None, study_key: str) -> FrontStamp:
        """Return what tells whether the front of a job of this study, or of all of the study, is another by now."""
        table, result, job = schema.architecture, schema.result, schema.job
        found = select(func.count().label("found"), func.count(table.c.delta_m).label("scored"))
        found = found.where(table.c.study_key == study_key if job_id is None else table.c.job_id == job_id)
        of_study = (result.c.study_key == study_key, result.c.kind.in_(BASELINE_KINDS), schema.RESULT_IS_OWN)
        baselines = select(func.count()).select_from(result).where(*of_study).scalar_subquery()
        deleted = select(func.count()).select_from(job).where(schema.JOB_IS_DELETED).scalar_subquery()
        both = found.subquery()
        query = select(both.c.found, both.c.scored, baselines, deleted)
        [counts] = self._database.read(lambda tx: tx.list_tuples(query))
        return FrontStamp(*counts)

    def list_baselines(self, study_key: str) -> Mapping[str, Json]:
        """Return {trial name: result} of the finished baselines of a study, the newest where there are several."""
        result = schema.result
        query = select(result.c.name, result.c.document).where(
            result.c.study_key == study_key, result.c.kind.in_(BASELINE_KINDS), schema.RESULT_IS_OWN
        )
        rows = self._database.read(lambda tx: tx.list_tuples(query.order_by(result.c.created_at, result.c.trial_id)))
        return dict(rows)


def _front_rows(rows: list[tuple[Any, ...]]) -> list[FrontRow]:
    """Return rows whose last value, the metrics, is still JSON; all of them are decoded at one go."""
    decoded = json.loads(f"[{','.join(row[-1] or 'null' for row in rows)}]")
    return [FrontRow._make((*row[:-1], metrics)) for row, metrics in zip(rows, decoded, strict=True)]
