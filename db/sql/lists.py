"""Lists of jobs and of architectures in SQL: filtered, sorted, page by page from where the last page ended."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, and_, exists, func, or_, select

from db.questions import ArchitectureQuery, JobQuery, StudySort, read_sort
from db.records.jobs import JobRecord
from db.records.results import ArchitectureRecord, StudyRecord
from db.records.states import JobKind
from db.sql import schema
from db.sql.engine import Transaction
from db.sql.ledger import SqlPart
from db.sql.rows import architecture_record, job_record

_NOTHING_FOUND: Mapping[str, Any] = {"num_networks": 0, "best_delta_m": None, "least_madds": None, "most_madds": None}


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

    def list_studies(
        self, *, sort: StudySort = "-newest_at", after: tuple[Any, str] | None = None, limit: int = 50
    ) -> list[StudyRecord]:
        """Return at most `limit` studies in order; see `ResultStore.list_studies`."""

        def read(tx: Transaction) -> list[StudyRecord]:
            """Return the studies, then what was found in those of this page."""
            studies = tx.list_rows(_select_studies(sort, after, limit))
            keys = [study["study_key"] for study in studies]
            found = {row["study_key"]: row for row in tx.list_rows(_select_findings(keys))}
            return [_study_record(study, found.get(study["study_key"], _NOTHING_FOUND)) for study in studies]

        return self._database.read(read)

    def _page(self, wanted: Select[Any], table: Table, query: JobQuery | ArchitectureQuery) -> list[dict[str, Any]]:
        """Return the rows of a page."""
        name, descending = read_sort(query)
        column = table.c[name]
        order = (column.desc(), table.c.id.desc()) if descending else (column, table.c.id)
        wanted = wanted.order_by(*order)
        if not column.nullable:
            if query.after is not None:
                wanted = wanted.where(_comes_after(column, table.c.id, query.after, descending=descending))
            return self._database.read(lambda tx: tx.list_rows(wanted.limit(query.limit)))
        known, unknown = _split(wanted, column, table.c.id, query.after, descending=descending)

        def read(tx: Transaction) -> list[dict[str, Any]]:
            """Return the rows where the value is known, then those where it is not: an index is read in order."""
            rows = [] if known is None else tx.list_rows(known.limit(query.limit))
            left = query.limit - len(rows)
            return rows + tx.list_rows(unknown.limit(left)) if left else rows

        return self._database.read(read)


def _select_studies(sort: StudySort, after: tuple[Any, str] | None, limit: int) -> Select[Any]:
    """Return the query for a page of studies, each with its newest search."""
    job = schema.job
    searches, place = _group_searches(sort)
    if after is not None:
        value, key = after
        rest = job.c.study_key < key
        if value is None:
            searches = searches.having(and_(place.is_(None), rest))
        else:
            searches = searches.having(or_(place < value, and_(place == value, rest), place.is_(None)))
    ordered = searches.order_by(place.is_(None), place.desc(), job.c.study_key.desc())
    page = ordered.limit(limit).subquery()
    shown = (page.c.study_key, page.c.newest_at, page.c.num_searches, job.c.dataset, job.c.backbone, job.c.spec)
    query = select(*shown).join_from(page, job, job.c.id == page.c.id)
    return query.order_by(page.c.place.is_(None), page.c.place.desc(), page.c.study_key.desc())


def _group_searches(sort: StudySort) -> tuple[Select[Any], ColumnElement[Any]]:
    """Return the query for the searches of each study, and what its place in an order depends on."""
    job = schema.job
    newest_at = func.max(job.c.created_at)
    wanted = (schema.JOB_IS_LISTED, job.c.kind == JobKind.SEARCH.value)
    if sort == "-newest_at":
        place: ColumnElement[Any] = newest_at
        searches = select(job.c.study_key).where(*wanted)
    else:
        found = _select_best().subquery()
        place = func.max(found.c.best_delta_m)
        searches = select(job.c.study_key).outerjoin_from(job, found, found.c.study_key == job.c.study_key)
        searches = searches.where(*wanted)
    columns = (newest_at.label("newest_at"), func.count().label("num_searches"), func.max(job.c.id).label("id"))
    return searches.add_columns(*columns, place.label("place")).group_by(job.c.study_key), place


def _select_best() -> Select[Any]:
    """Return the query for the best delta_m of each study that has one."""
    table = schema.architecture
    best = select(table.c.study_key, func.max(table.c.delta_m).label("best_delta_m"))
    return best.where(*_counted_networks()).group_by(table.c.study_key)


def _counted_networks() -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of networks that count for their study: each once, and none of a deleted job."""
    table = schema.architecture
    # The few deleted jobs have an index of their own; to look up the jobs of all networks takes twice as long.
    deleted = select(schema.job.c.id).where(schema.JOB_IS_DELETED)
    return table.c.copied_from.is_(None), table.c.job_id.not_in(deleted)


def _select_findings(study_keys: list[str]) -> Select[Any]:
    """Return the query for what was found in some studies."""
    table = schema.architecture
    query = select(
        table.c.study_key,
        func.count().label("num_networks"),
        func.max(table.c.delta_m).label("best_delta_m"),
        func.min(table.c.madds).label("least_madds"),
        func.max(table.c.madds).label("most_madds"),
    )
    return query.where(table.c.study_key.in_(study_keys), *_counted_networks()).group_by(table.c.study_key)


def _study_record(study: Mapping[str, Any], found: Mapping[str, Any]) -> StudyRecord:
    """Return a study from what its searches say and what they found."""
    return StudyRecord(
        study_key=study["study_key"],
        dataset=study["dataset"] or "",
        backbone=study["backbone"] or "",
        tasks=tuple(study["spec"].get("tasks", ())),
        num_searches=study["num_searches"],
        num_networks=found["num_networks"],
        best_delta_m=found["best_delta_m"],
        least_madds=found["least_madds"],
        most_madds=found["most_madds"],
        newest_at=study["newest_at"],
    )


def _split(
    wanted: Select[Any],
    column: ColumnElement[Any],
    id_column: ColumnElement[str],
    after: tuple[Any, str] | None,
    *,
    descending: bool,
) -> tuple[Select[Any] | None, Select[Any]]:
    """Return the queries for the rows whose value is known and for those after them, whose value is not.

    The first is None where the page before has ended among the second.
    """
    known, unknown = wanted.where(column.is_not(None)), wanted.where(column.is_(None))
    if after is None:
        return known, unknown
    value, last_id = after
    if value is None:
        return None, unknown.where(id_column < last_id if descending else id_column > last_id)
    return known.where(_comes_after(column, id_column, after, descending=descending)), unknown


def _comes_after(
    column: ColumnElement[Any], id_column: ColumnElement[str], after: tuple[Any, str], *, descending: bool
) -> ColumnElement[bool]:
    """Return the condition of rows that come after the last one of the page before."""
    value, last_id = after
    if column.key == "created_at" and isinstance(value, str):
        value = datetime.fromisoformat(value)
    if descending:
        return and_(column <= value, or_(column < value, id_column < last_id))
    return and_(column >= value, or_(column > value, id_column > last_id))


def _job_conditions(query: JobQuery) -> list[ColumnElement[bool]]:
    """Return what a job must fulfil to be listed."""
    job, label, task = schema.job, schema.job_label, schema.job_task
    conditions = _equal(job, owner=query.owner, dataset=query.dataset, backbone=query.backbone)
    conditions += _equal(job, study_key=query.study_key, architecture_id=query.architecture_id)
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
