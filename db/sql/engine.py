"""URL -> engine, and the scope of a transaction: the only place that begins, commits, rolls back and tries again.

SQLite: WAL, one writer at a time, every write begins IMMEDIATE, so it never meets "database is locked" half-way.
PostgreSQL: READ COMMITTED with row locks; deadlocks and serialization failures are repeated from the start.
"""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    Connection,
    Engine,
    Executable,
    Table,
    TextClause,
    bindparam,
    create_engine,
    event,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, CursorResult, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from db.errors import DatabaseUnavailableError, DbError
from db.sql.column_types import UtcTime
from db.sql.failures import is_unavailable, is_worth_another_try
from db.sql.group_commit import WriteGroup

Clock = Callable[[], datetime]
T = TypeVar("T")

BUSY_SECONDS = 30.0
STATEMENT_SECONDS = 30
LOCK_SECONDS = 10
CONNECT_SECONDS = 5
TRIES = 6
WRITES = "bmtas_writes"


def parse_url(url: str) -> URL:
    """Return a database URL with the driver this program uses.

    Raises:
        DbError: Malformed, no SQLite or PostgreSQL, or a SQLite database without a file.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    system = "" if parsed is None else parsed.get_backend_name()
    if parsed is None or system not in ("sqlite", "postgresql", "postgres"):
        raise DbError(
            "A database URL is sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/NAME, got something else. "
            "Check the setting."
        )
    if system != "sqlite":
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.database in (None, "", ":memory:") or str(parsed.database).startswith("file:"):
        raise DbError("A SQLite database must lie in a file, got a URL without one. Use sqlite:///FILE.")
    return parsed.set(drivername="sqlite", database=str(Path(str(parsed.database)).expanduser().absolute()))


def build_engine(url: URL) -> Engine:
    """Return the engine of a parsed URL; nothing is connected yet."""
    if url.get_backend_name() == "sqlite":
        engine = create_engine(
            url,
            poolclass=QueuePool,
            pool_size=8,
            max_overflow=56,
            connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False, "isolation_level": None},
            hide_parameters=True,
            json_serializer=_dump_json,
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    engine = create_engine(
        url,
        pool_size=10,
        max_overflow=20,
        pool_timeout=LOCK_SECONDS,
        # A database of encoding SQL_ASCII would otherwise hand out bytes where text is meant.
        connect_args={"connect_timeout": CONNECT_SECONDS, "application_name": "bmtas", "client_encoding": "utf8"},
        hide_parameters=True,
        json_serializer=_dump_json,
    )
    event.listen(engine, "connect", _prepare_postgres)
    return engine


def _dump_json(document: object) -> str:
    """Return a document as strict JSON."""
    try:
        return json.dumps(document, allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError) as error:
        raise DbError(f"A document must be JSON with finite numbers to be stored: {error}. Correct it.") from error


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    """Set what holds for every connection; NORMAL is raised to FULL by the writes that must outlive a power cut."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")
    # In KiB, of each connection, and a busy server has dozens: the operating system keeps the whole file anyway.
    connection.execute("PRAGMA cache_size=-2000")


def _begin_sqlite(connection: Connection) -> None:
    """Begin as a writer or as a reader: a reader that turns writer later would fail when another one wrote between."""
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _prepare_postgres(connection: Any, _record: object) -> None:
    """Set UTC and the limits that keep one stuck statement from holding everything else."""
    autocommit = connection.autocommit
    connection.autocommit = True
    connection.execute(
        f"SET timezone='UTC'; SET statement_timeout='{STATEMENT_SECONDS}s'; SET lock_timeout='{LOCK_SECONDS}s'; "
        # Compiling a short query takes a hundred times as long as running it.
        f"SET idle_in_transaction_session_timeout='60s'; SET jit=off"
    )
    connection.autocommit = autocommit


class Transaction:
    """One transaction under way: runs statements, tells the time, takes named locks."""

    def __init__(self, connection: Connection, clock: Clock | None) -> None:
        self.connection = connection
        self._clock = clock
        self.is_postgres = connection.dialect.name == "postgresql"

    @cached_property
    def now(self) -> datetime:
        """Return the database's time, read once, when it is first asked for: after the locks are held."""
        if self._clock is not None:
            return self._clock()
        if self.is_postgres:
            return self.connection.execute(select(func.clock_timestamp(type_=UtcTime))).scalar_one()
        return datetime.now(UTC)

    def execute(self, statement: Executable, rows: Iterable[dict[str, Any]] | None = None) -> CursorResult[Any]:
        """Return what a statement gives; with rows it runs once for each."""
        if rows is None:
            return self.connection.execute(statement)
        return self.connection.execute(statement, list(rows))

    def insert_rows(self, table: Table, rows: list[dict[str, Any]]) -> None:
        """Insert rows that name the same columns."""
        if rows:
            self.connection.execute(_insert(table), rows if len(rows) > 1 else rows[0])

    def update_row(self, table: Table, key: str, values: dict[str, Any]) -> None:
        """Change the row with this id."""
        self.connection.execute(_update(table), {"row_id": key, **values})

    def find_by_id(self, table: Table, key: str, *, lock: str = "") -> dict[str, Any] | None:
        """Return the row with this id as a dict, or None.

        Args:
            table: One with a column `id`.
            key: The id.
            lock: "wait" or "skip" (a row that someone else has locked is not found) locks it in PostgreSQL.
        """
        row = self.connection.execute(_select(table, lock), {"row_id": key}).mappings().first()
        return None if row is None else dict(row)

    def list_tuples(self, statement: Executable) -> list[tuple[Any, ...]]:
        """Return the rows of a query as tuples."""
        return [tuple(row) for row in self.connection.execute(statement)]

    def find_row(self, statement: Executable) -> dict[str, Any] | None:
        """Return the first row of a query as a dict, or None."""
        row = self.connection.execute(statement).mappings().first()
        return None if row is None else dict(row)

    def list_rows(self, statement: Executable, values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return the rows of a query as dicts; `values` fill its bind parameters."""
        return [dict(row) for row in self.connection.execute(statement, values).mappings()]

    def upsert(self, table: Table, rows: list[dict[str, Any]], *, keep: tuple[str, ...] = ()) -> None:
        """Insert rows that name all columns; where the primary key is there already, replace all but the kept ones."""
        self.connection.execute(_upsert(table, keep, self.is_postgres), rows if len(rows) > 1 else rows[0])

    def lock_names(self, names: Iterable[str], *, shared: bool = False) -> None:
        """Hold locks on these names until the end; in one order, so that two holders never wait for each other.

        Args:
            names: Of the locks.
            shared: Whether others may hold them shared at the same time.
        """
        numbers = sorted({_lock_number(name) for name in names})
        if self.is_postgres and numbers:
            self.connection.execute(_LOCKS_SHARED if shared else _LOCKS, {"numbers": numbers})

    def try_lock_name(self, name: str) -> bool:
        """Return whether the lock on a name was free and is now held until the end."""
        if not self.is_postgres:  # SQLite has one writer: everything is locked already.
            return True
        return bool(self.connection.execute(select(func.pg_try_advisory_xact_lock(_lock_number(name)))).scalar_one())


def _lock_all(function: str) -> TextClause:
    """Return the statement that takes locks one after the other, in the order in which they are given."""
    numbers = "unnest(CAST(:numbers AS bigint[])) WITH ORDINALITY AS given(number, place)"
    # Sorted below the call: PostgreSQL might call first and sort then.
    return text(f"SELECT {function}(number) FROM (SELECT number FROM {numbers} ORDER BY place OFFSET 0) AS sorted")


_LOCKS, _LOCKS_SHARED = _lock_all("pg_advisory_xact_lock"), _lock_all("pg_advisory_xact_lock_shared")


# Built once for each table: putting a statement together takes as long as running it.
@cache
def _insert(table: Table) -> Executable:
    return insert(table)


@cache
def _update(table: Table) -> Executable:
    return update(table).where(table.c.id == bindparam("row_id"))


@cache
def _select(table: Table, lock: str) -> Executable:
    query = select(table).where(table.c.id == bindparam("row_id"))
    return query.with_for_update(key_share=True, skip_locked=lock == "skip") if lock else query


@cache
def _upsert(table: Table, keep: tuple[str, ...], is_postgres: bool) -> Executable:
    statement: Any = postgresql.insert(table) if is_postgres else sqlite.insert(table)
    key = [column.name for column in table.primary_key]
    replaced = {name: statement.excluded[name] for name in table.c.keys() if name not in (*key, *keep)}
    upsert: Executable = statement.on_conflict_do_update(index_elements=key, set_=replaced)
    return upsert


def _lock_number(name: str) -> int:
    """Return the 64-bit number by which PostgreSQL knows the lock on a name."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "big", signed=True)


class Database:
    """Runs work in transactions on one engine."""

    def __init__(self, engine: Engine, clock: Clock | None = None) -> None:
        self.engine = engine
        self._clock = clock
        self._place = engine.url.render_as_string(hide_password=True)
        self._is_sqlite = engine.dialect.name == "sqlite"
        # Threads of this process queue here and are woken at once; SQLite's own waiting polls.
        self._turn = threading.Lock()
        self._group = WriteGroup(self._turn, self._write_to_disk, lambda tx: Transaction(tx.connection, clock))

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Return what some work reads, all of it from one state of the database where that is SQLite."""
        return self._run(lambda: self._read_once(work))

    def write(self, work: Callable[[Transaction], T], *, durable: bool = False) -> T:
        """Return what some work gives, everything that it wrote committed, or nothing if it raises.

        Args:
            work: May run more than once; only the last run counts.
            durable: Whether the commit must outlive a power cut. PostgreSQL's always do; all outlive a killed process.

        Raises:
            DatabaseUnavailableError: The database does not answer.
        """
        if not self._is_sqlite:
            return self._run(lambda: self._write_once(work))
        if durable:
            value: T = self._group.write(work, timeout_seconds=BUSY_SECONDS)
            return value
        if not self._turn.acquire(timeout=BUSY_SECONDS):
            raise DatabaseUnavailableError
        try:
            return self._run(lambda: self._write_once(work, synchronous="NORMAL"))
        finally:
            self._turn.release()

    def close(self) -> None:
        """Close all connections, those that a thread still works with as soon as it gives them back."""
        event.listen(self.engine, "checkin", _close_returned)
        self.engine.dispose()

    def _write_to_disk(self, work: Callable[[Transaction], T]) -> T:
        """Return what some work gives, committed so that it outlives a power cut."""
        return self._run(lambda: self._write_once(work, synchronous="FULL"))

    def _read_once(self, work: Callable[[Transaction], T]) -> T:
        with self.engine.connect() as connection:
            return work(Transaction(connection, self._clock))

    def _write_once(self, work: Callable[[Transaction], T], synchronous: str = "") -> T:
        with self.engine.connect().execution_options(**{WRITES: True}) as connection:
            # Only between transactions does SQLite take this setting.
            if synchronous and connection.info.get("synchronous", "NORMAL") != synchronous:
                driver: Any = connection.connection.driver_connection
                driver.execute(f"PRAGMA synchronous={synchronous}")
                connection.info["synchronous"] = synchronous
            result = work(Transaction(connection, self._clock))
            try:
                connection.commit()
            except DBAPIError as error:
                raise _CommitError from error
            return result

    def _run(self, once: Callable[[], T]) -> T:
        """Return what a transaction gives, tried again after a deadlock; turn failures into sentences."""
        for tries_left in reversed(range(TRIES)):
            try:
                return once()
            except _CommitError as error:
                failure, committing = error.__cause__, True
            except (DBAPIError, PoolTimeoutError) as error:
                failure, committing = error, False
            except StatementError as error:
                if isinstance(error.orig, DbError):  # From _dump_json.
                    raise error.orig from error
                raise
            assert failure is not None
            if tries_left and not committing and is_worth_another_try(failure):
                time.sleep(random.uniform(0.001, 0.02) * (TRIES - tries_left))
                continue
            if is_unavailable(failure):
                raise DatabaseUnavailableError(self._describe(committing)) from failure
            raise failure
        raise AssertionError("the last try returns or raises")

    def _describe(self, committing: bool) -> str:
        """Return the sentence for a database that does not answer."""
        if committing:
            return (
                f"The database {self._place} went away while a change was saved: it may have been made or not. "
                f"Read the resource again, or repeat the request with its idempotency key."
            )
        return f"{DatabaseUnavailableError.__doc__} It is {self._place}."


def _close_returned(_connection: object, record: ConnectionPoolEntry) -> None:
    """Close a connection that comes back to a pool which nobody asks any more; it would stay open otherwise."""
    record.invalidate()


class _CommitError(DbError):
    """The commit itself failed, so nobody knows whether the change was made."""
