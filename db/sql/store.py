"""The SQL store: all its parts as one object on one database, opened by URL."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from sqlalchemy import select, text

from db.rules import Policy
from db.sql.access import SqlAccess
from db.sql.claims import SqlClaims
from db.sql.endings import SqlEndings
from db.sql.engine import Clock, Database, build_engine, parse_url
from db.sql.facts import SqlFacts
from db.sql.jobs import SqlJobs
from db.sql.lists import SqlLists
from db.sql.migration import migrate_engine
from db.sql.results import SqlResults
from db.sql.runs import SqlRuns
from db.sql.sqlite_file import FileLock, refuse_network_file_system
from db.sql.statistics import make_missing_statistics


class SqlStore(SqlJobs, SqlClaims, SqlEndings, SqlRuns, SqlLists, SqlResults, SqlFacts, SqlAccess):
    """Everything of `db.stores.Store` on SQLite or PostgreSQL."""

    def __init__(self, database: Database, policy: Policy, lock: FileLock | None = None) -> None:
        super().__init__(database, policy)
        self._lock = lock

    def now(self) -> datetime:
        """Return the database's time."""
        return self._database.read(lambda tx: tx.now)

    def ping(self) -> None:
        """Answer when the database does; raise DatabaseUnavailableError otherwise."""
        self._database.read(lambda tx: tx.execute(select(text("1"))).scalar_one())

    def close(self) -> None:
        """Close all connections and let another server have the file."""
        self._database.close()
        if self._lock is not None:
            self._lock.release()


def open_store(
    url: str,
    *,
    backoff_seconds: float = Policy.backoff_seconds,
    backoff_jitter: float = Policy.backoff_jitter,
    unschedulable_seconds: float = Policy.unschedulable_seconds,
    clock: Clock | None = None,
    exclusive: bool = True,
) -> SqlStore:
    """Return the store of a database, its tables made or brought up to date.

    Args:
        url: sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/NAME.
        backoff_seconds: Pause after a trial's first failure; doubled by each further one, up to 36 times.
        backoff_jitter: Share by which a pause is varied at random, both ways.
        unschedulable_seconds: How long trials wait that ask for more than any live worker has.
        clock: Tells the time; the database's own clock when left out.
        exclusive: Whether to refuse a SQLite file that another server has open; PostgreSQL serves any number.

    Raises:
        DbError: The URL is no usable one, or the file lies on a network file system.
        ConflictError: Another server has the file open.
        DatabaseUnavailableError: The database does not answer.
        SchemaVersionError: A newer version of this program made the database.
    """
    parsed = parse_url(url)
    lock = None
    if parsed.get_backend_name() == "sqlite":
        path = Path(str(parsed.database))
        path.parent.mkdir(parents=True, exist_ok=True)
        refuse_network_file_system(path)
        lock = FileLock(path) if exclusive else None
    database = Database(build_engine(parsed), clock)
    try:
        migrate_engine(database)
        make_missing_statistics(database)
    except BaseException:
        database.close()
        if lock is not None:
            lock.release()
        raise
    policy = Policy(
        backoff_seconds=backoff_seconds, backoff_jitter=backoff_jitter, unschedulable_seconds=unschedulable_seconds
    )
    return SqlStore(database, policy, lock)
