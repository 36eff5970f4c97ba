"""Types of columns that are the same in SQLite and PostgreSQL: moments, text, JSON, counts. Used by `db.sql.schema`."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, String, Text, TypeDecorator
from sqlalchemy.sql.type_api import TypeEngine

from db.rules import clean_text


class UtcTime(TypeDecorator[datetime]):
    """A moment to the microsecond: `timestamptz` in PostgreSQL, text of fixed width, which sorts alike, in SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime] | TypeEngine[str]:
        """Return the column type of a database."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(27))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | str | None:
        """Return what is stored for a moment, which must name its time zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"A time must name its time zone, got {value.isoformat()}. Use UTC.")
        moment = value.astimezone(UTC)
        if dialect.name == "sqlite":
            return f"{moment.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
        return moment

    def process_result_value(self, value: datetime | str | None, dialect: Dialect) -> datetime | None:
        """Return the moment that was stored, in UTC."""
        if isinstance(value, str):
            return datetime.fromisoformat(value)
        return None if value is None else value.astimezone(UTC)


class CleanText(TypeDecorator[str]):
    """Text that people or programs wrote: what no database takes (NUL, half surrogate pairs) becomes U+FFFD."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return the text as every database takes it."""
        return None if value is None else clean_text(value)


Document = JSON(none_as_null=True)
"""A JSON value; None is SQL's NULL."""
Id = String(64)
Count = BigInteger()
RowNumber = BigInteger().with_variant(Integer(), "sqlite")
