"""Column types: moments in order and to the microsecond, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table, insert, select
from sqlalchemy.dialects import sqlite

from db.sql.column_types import UtcTime
from db.sql.engine import Database, build_engine, parse_url

moments = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC))


@given(moments, moments)
def test_moments_in_sqlite_sort_as_their_text(first: datetime, second: datetime) -> None:
    """The text of a moment comes back as the moment, and texts sort as moments do."""
    column, dialect = UtcTime(), sqlite.dialect()
    texts = [str(column.process_bind_param(moment, dialect)) for moment in (first, second)]
    assert [column.process_result_value(text, dialect) for text in texts] == [first, second]
    assert (texts[0] < texts[1]) == (first < second)
    assert len(texts[0]) == len(texts[1]) == 27


def test_moments_survive_a_database(empty_sqlite_url: str, empty_postgres_url: str) -> None:
    """Moments of any zone come back in UTC, equal to the microsecond and in order."""
    east = datetime(2026, 2, 28, 23, 59, 59, 999999, tzinfo=timezone(timedelta(hours=14)))
    given_moments = [east, datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, 0, 0, 0, 1, tzinfo=UTC)]
    table = Table("moment", MetaData(), Column("id", Integer, primary_key=True), Column("at", UtcTime))
    for url in (empty_sqlite_url, empty_postgres_url):
        database = Database(build_engine(parse_url(url)))
        table.metadata.create_all(database.engine)
        database.write(lambda tx: tx.execute(insert(table), [{"at": moment} for moment in given_moments]))
        rows = database.read(lambda tx: tx.list_rows(select(table.c.at).order_by(table.c.at)))
        database.close()
        assert [row["at"] for row in rows] == sorted(given_moments)
        assert {row["at"].tzinfo for row in rows} == {UTC}


def test_a_moment_without_a_zone_is_refused() -> None:
    """Nobody knows what it means."""
    with pytest.raises(ValueError, match="time zone"):
        UtcTime().process_bind_param(datetime(2026, 1, 1), sqlite.dialect())
