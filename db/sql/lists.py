"""Lists of jobs and of architectures in SQL: filtered, sorted, page by page from where the last page ended."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, and_, exists, func, or_, select

from db.records.jobs import JobRecord
from db.records.results import ArchitectureRecord
from db.sql import schema
from db.sql.ledger import SqlPart
from db.sql.rows import architecture_record, job_record
from db.stores import ArchitectureQuery, JobQuery, read_sort

_FARTHEST = 1e308
"""Stands for "not known" among the numbers sorted by, so that it comes last in both directions."""


class SqlLists(SqlPart):
    """The part of the store that lists."""

    def list_jobs(self, query: JobQuery) -> list[JobRecord]:
        """Return at most `query.limit` jobs in order."""
        job = schema.job
        wanted = select(job).where(schema.JOB_IS_LISTED, *_job_conditions(query))
        return [job_record(row) for row in self._page(wanted, job, query)]

    def list_architectures(self, query: ArchitectureQuery) -> list[ArchitectureRecord]:
        """Return at most `query.limit` architectures of jobs that are not deleted, in order."""
        table = schema.architecture
        conditions = _architecture_conditions(query)
        joined = table.join(schema.job, schema.job.c.id == table.c.job_id)
        wanted = select(table).select_from(joined).where(schema.JOB_IS_LISTED, *conditions)
        return [architecture_record(row) for row in self._page(wanted, table, query)]

    def _page(self, wanted: Select[Any], table: Table, query: JobQuery | ArchitectureQuery) -> list[dict[str, Any]]:
        """Return the rows of a page."""
        name, descending = read_sort(query)
        column = _sortable(table.c[name], descending=descending)
        order = (column.desc(), table.c.id.desc()) if descending else (column, table.c.id)
        if query.after is not None:
            wanted = wanted.where(_comes_after(column, table.c.id, query.after, descending=descending))
        statement = wanted.order_by(*order).limit(query.limit)
        return self._database.read(lambda tx: tx.list_rows(statement))


def _sortable(column: ColumnElement[Any], *, descending: bool) -> ColumnElement[Any]:
    """Return what a column is sorted by: itself, or with what is not known put last."""
    if column.key != "delta_m":
        return column
    return func.coalesce(column, -_FARTHEST if descending else _FARTHEST)


def _comes_after(
    column: ColumnElement[Any], id_column: ColumnElement[str], after: tuple[Any, str], *, descending: bool
) -> ColumnElement[bool]:
    """Return the condition of rows that come after the last one of the page before."""
    value, last_id = after
    if value is None:
        value = -_FARTHEST if descending else _FARTHEST
    if column.key == "created_at" and isinstance(value, str):
        value = datetime.fromisoformat(value)
    if descending:
        return and_(column <= value, or_(column < value, id_column < last_id))
    return and_(column >= value, or_(column > value, id_column > last_id))


def _job_conditions(query: JobQuery) -> list[ColumnElement[bool]]:
    """Return what a job must fulfil to be listed."""
    job, label, task = schema.job, schema.job_label, schema.job_task
    conditions = _equal(job, owner=query.owner, dataset=query.dataset, backbone=query.backbone)
    if query.kinds:
        conditions.append(job.c.kind.in_([kind.value for kind in query.kinds]))
    if query.states:
        conditions.append(job.c.state.in_([state.value for state in query.states]))
    if query.label is not None:
        name, value = query.label
        conditions.append(exists().where(label.c.job_id == job.c.id, label.c.name == name, label.c.value == value))
    if query.task is not None:
        conditions.append(exists().where(task.c.job_id == job.c.id, task.c.task == query.task))
    if query.name_contains is not None:
        conditions.append(job.c.name.icontains(query.name_contains, autoescape=True))
    if query.created_after is not None:
        conditions.append(job.c.created_at > query.created_after)
    if query.created_before is not None:
        conditions.append(job.c.created_at < query.created_before)
    return conditions


def _architecture_conditions(query: ArchitectureQuery) -> list[ColumnElement[bool]]:
    """Return what an architecture must fulfil to be listed."""
    table, task = schema.architecture, schema.architecture_task
    conditions = _equal(table, owner=query.owner, job_id=query.job_id, study_key=query.study_key)
    conditions += _equal(table, dataset=query.dataset, backbone=query.backbone)
    if query.task is not None:
        conditions.append(exists().where(task.c.architecture_id == table.c.id, task.c.task == query.task))
    if query.madds_max is not None:
        conditions.append(table.c.madds <= query.madds_max)
    return conditions


def _equal(table: Table, **values: str | None) -> list[ColumnElement[bool]]:
    """Return the conditions that columns have these values, those left open skipped."""
    return [table.c[name] == value for name, value in values.items() if value is not None]
