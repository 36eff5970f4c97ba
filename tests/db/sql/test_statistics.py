"""Statistics that PostgreSQL plans by, where a database was filled and never looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from tests.db.conftest import Bench


def count_known(url: str, table: str) -> float:
    """Return how many rows PostgreSQL believes a table to have, -1 when it never looked."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT reltuples FROM pg_class WHERE oid = to_regclass(%s)", [table]).fetchone()
    assert row is not None
    return float(row[0])


def test_a_full_database_is_looked_at_when_it_is_opened(postgres_bench: Bench) -> None:
    """A store that finds jobs and no statistics has them made; an empty database waits until there is something."""
    store = postgres_bench.open()
    assert count_known(postgres_bench.url, "job") <= 0
    postgres_bench.submit(store, "a", "b")
    store.close()
    postgres_bench.open().close()
    assert (count_known(postgres_bench.url, "job"), count_known(postgres_bench.url, "trial")) == (1, 2)


def test_a_database_that_is_known_is_left_alone(postgres_bench: Bench) -> None:
    """What PostgreSQL has looked at once is its own affair from then on."""
    store = postgres_bench.open()
    postgres_bench.submit(store)
    postgres_bench.open().close()
    postgres_bench.submit(store)
    postgres_bench.open().close()
    store.close()
    assert count_known(postgres_bench.url, "job") == 1
