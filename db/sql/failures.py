"""What a failure of a database means: whether the same work may succeed at once, or the database is away.

Told by the codes of SQLite and PostgreSQL. Used by `db.sql.engine`.
"""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

_BEGIN_AGAIN = frozenset({"40001", "40P01", "23505"})
"""Serialization failure, deadlock, and two at once for one unique row: the second try sees what the first one made."""
_UNAVAILABLE_CLASSES = ("08", "53", "55P03", "57")
_SQLITE_UNAVAILABLE = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
)
# Of SQLite's result codes, the low byte is the primary one.
_PRIMARY_CODE = 0xFF


def _sql_state(failure: BaseException) -> str:
    """Return PostgreSQL's five-letter code of a failure, "" where there is none."""
    return str(getattr(getattr(failure, "orig", None), "sqlstate", None) or "")


def is_worth_another_try(failure: BaseException) -> bool:
    """Return whether the same work may succeed at once, nothing of it being committed.

    So it may on another connection when this one, idle in the pool, was cut meanwhile: to ask each before its use would
    cost three round trips a transaction.
    """
    if isinstance(failure, DBAPIError) and failure.connection_invalidated:
        return True
    return _sql_state(failure) in _BEGIN_AGAIN


def is_unavailable(failure: BaseException) -> bool:
    """Return whether a failure is the database's being away, full or too busy, and no fault of ours."""
    if isinstance(failure, PoolTimeoutError):
        return True
    assert isinstance(failure, DBAPIError)
    code = getattr(failure.orig, "sqlite_errorcode", None)
    if code is not None:
        return code & _PRIMARY_CODE in _SQLITE_UNAVAILABLE
    state = _sql_state(failure)
    if state:
        return state.startswith(_UNAVAILABLE_CLASSES)
    # psycopg tells no code when the connection broke or never came about.
    return failure.connection_invalidated or type(failure.orig).__name__ == "OperationalError"
