"""What a database must not contain, and which indexes its large lists and claims must go by."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Connection, event

from db.questions import ArchitectureQuery, Idempotency, JobQuery, QueueLimits
from db.records.access import SavedResponse, TokenRecord
from db.sql.engine import parse_url

if TYPE_CHECKING:
    from db.sql.store import SqlStore
    from tests.conftest import PostgresCluster
    from tests.db.conftest import Bench


def fill_with_secrets(bench: Bench) -> None:
    """Store what comes of a token, of a request under a key and of an attempt: hashes only."""
    store = bench.open()
    token = TokenRecord("id", "n", "ann", "admin", ("admin",), "ab" * 32, datetime.now(UTC), None, None, None)
    store.add_token(token)
    key = Idempotency("ann", "key-of-sixteen-characters", "POST", "/x", "cd" * 32)
    answer = SavedResponse(202, {}, b"{}")
    store.submit(bench.job(), limits=QueueLimits(), idempotency=key, respond=lambda job: answer)
    bench.take(store)
    store.close()


def assert_no_secrets(dump: str) -> None:
    """Check a dump for columns made for secrets, and for our own password."""
    assert "ab" * 32 in dump
    assert "planted-password" not in dump
    names = {line.strip().strip(",").split(" ")[0].lower() for line in dump.splitlines() if line[:1] in "\t "}
    assert "secret_sha256" in names
    assert names & {"secret", "password", "token", "authorization", "bearer"} == set()


def test_a_sqlite_dump_has_no_secret(sqlite_bench: Bench) -> None:
    """Whoever reads the file finds hashes of tokens and of requests."""
    fill_with_secrets(sqlite_bench)
    with closing(sqlite3.connect(str(parse_url(sqlite_bench.url).database))) as connection:
        assert_no_secrets("\n".join(connection.iterdump()))


def test_a_postgres_dump_has_no_secret(postgres_bench: Bench, postgres_cluster: PostgresCluster) -> None:
    """Whoever reads a dump finds hashes of tokens and of requests."""
    fill_with_secrets(postgres_bench)
    command = [str(Path(postgres_cluster.binaries) / "pg_dump"), postgres_bench.url]
    assert_no_secrets(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@contextmanager
def watch_plans(store: SqlStore) -> Iterator[list[str]]:
    """Yield the steps of the plans of all queries that are run meanwhile on SQLite."""
    steps: list[str] = []
    engine = store._database.engine

    def explain(connection: Connection, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            steps.extend(row[3] for row in cursor.fetchall())

    event.listen(engine, "before_cursor_execute", explain)
    yield steps
    event.remove(engine, "before_cursor_execute", explain)


@pytest.mark.parametrize("sort", ["created_at", "-created_at", "name", "-name", "state", "priority", "-priority"])
def test_lists_of_jobs_go_by_an_index(sqlite_bench: Bench, sort: str) -> None:
    """No list of jobs, from the first page or from the middle, sorts the whole table."""
    store = sqlite_bench.open()
    after = (datetime.now(UTC) if sort.endswith("created_at") else 0 if "priority" in sort else "n", "srch_")
    with watch_plans(store) as steps:
        store.list_jobs(JobQuery(sort=sort))
        store.list_jobs(JobQuery(sort=sort, after=after, task="left", dataset="digits"))
        store.list_jobs(JobQuery(owner="ann"))
    assert [step for step in steps if "TEMP B-TREE" in step] == []
    assert [step for step in steps if step.startswith("SCAN job") and "USING INDEX" not in step] == []
    store.close()


def test_lists_of_architectures_go_by_an_index(sqlite_bench: Bench) -> None:
    """The newest and the cheapest are found without sorting the whole table."""
    store = sqlite_bench.open()
    with watch_plans(store) as steps:
        for sort in ("-created_at", "madds", "-madds", "params"):
            store.list_architectures(ArchitectureQuery(sort=sort))
    assert [step for step in steps if "TEMP B-TREE" in step] == []
    store.close()


def test_a_claim_goes_by_the_index_of_waiting_jobs(sqlite_bench: Bench) -> None:
    """A claim looks at no job that does not wait, and at the trials of few that do."""
    store = sqlite_bench.open()
    for number in range(30):
        sqlite_bench.submit(store, owner=f"o{number % 3}")
    with watch_plans(store) as steps:
        sqlite_bench.take(store)
    looks = [step for step in steps if step.split(" ")[0] in ("SCAN", "SEARCH") and " job" in step]
    assert looks
    served = ("ix_job_waiting", "ix_job_running", "(id=?)")
    assert [step for step in looks if not any(name in step for name in served)] == []
    assert [step for step in steps if step.startswith("SCAN trial")] == []
    store.close()
