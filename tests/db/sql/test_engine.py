"""URLs, transactions, and what a database that is away, busy or full looks like from outside."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, select, text

from db.errors import DatabaseUnavailableError, DbError
from db.questions import JobQuery
from db.sql import schema
from db.sql.engine import Database, Transaction, build_engine, parse_url
from db.sql.store import open_store

if TYPE_CHECKING:
    from tests.conftest import PostgresCluster
    from tests.db.conftest import Bench

SECRET = "planted-password"


def note(tx: Transaction, resource: str = "r") -> dict[str, Any]:
    """Return a row of the audit trail."""
    return {"at": tx.now, "owner": "ann", "token_id": "t", "action": "a", "resource": resource}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nothing",
        "mysql://a:planted-password@h/x",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:x?mode=ro",
        "://",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    """Only SQLite files and PostgreSQL are understood, and the refusal never repeats the URL."""
    with pytest.raises(DbError) as refused:
        parse_url(url)
    assert SECRET not in str(refused.value)
    assert "sqlite:///FILE" in str(refused.value)


def test_urls_get_our_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL is spoken by psycopg, however it is spelled; a file's path is made absolute."""
    monkeypatch.chdir(tmp_path)
    for spelled in ("postgres", "postgresql", "postgresql+psycopg2"):
        assert parse_url(f"{spelled}://u@h/x").drivername == "postgresql+psycopg"
    assert parse_url("sqlite:///x.db").database == str(tmp_path / "x.db")


def test_a_database_that_is_not_there_is_unavailable(own_postgres: PostgresCluster) -> None:
    """A stopped server makes every call say so, without the password, and works again once it is back."""
    store = open_store(own_postgres.url())
    store.ping()
    own_postgres.stop(signal.SIGQUIT)
    for call in (store.ping, store.sweep, store.now, store.count_jobs):
        with pytest.raises(DatabaseUnavailableError) as failed:
            call()
        assert SECRET not in str(failed.value)
        assert "127.0.0.1" in str(failed.value)
    with pytest.raises(DatabaseUnavailableError):
        open_store(own_postgres.url())
    own_postgres.start()
    store.ping()
    store.close()


def test_a_cut_connection_is_replaced(own_postgres: PostgresCluster) -> None:
    """Connections that the server cut while they were idle cost no caller an error."""
    store = open_store(own_postgres.url())
    for _ in range(3):
        store.ping()
        own_postgres.stop(signal.SIGINT)
        own_postgres.start()
    store.ping()
    store.add_audit("ann", "t", "a", "r")
    store.close()


def test_work_that_raises_leaves_nothing(bench: Bench) -> None:
    """A transaction whose work fails is rolled back as a whole."""
    database = Database(build_engine(parse_url(bench.url)))

    def work(tx: Transaction) -> None:
        tx.insert_rows(schema.audit, [note(tx)])
        raise DbError("stop")

    with pytest.raises(DbError, match="stop"):
        database.write(work)
    assert database.read(lambda tx: tx.list_rows(select(schema.audit))) == []
    database.close()


def test_a_connection_that_comes_back_late_is_closed_too(bench: Bench) -> None:
    """A thread that still reads while the database is closed leaves no connection open behind it."""
    bench.open().close()
    database = Database(build_engine(parse_url(bench.url)))
    closed: list[object] = []
    event.listen(database.engine, "close", lambda connection, _record: closed.append(connection))
    connection = database.engine.connect()
    driver = connection.connection.dbapi_connection
    database.close()
    assert not closed
    connection.close()
    assert closed == [driver]


def test_a_deadlock_is_tried_again(postgres_bench: Bench) -> None:
    """Two transactions that wait for each other both come through."""
    store = postgres_bench.open()
    ids = [postgres_bench.submit(store).id for _ in range(2)]
    database = Database(build_engine(parse_url(postgres_bench.url)))
    both = threading.Barrier(2, timeout=20)
    tries: list[int] = []

    def work(tx: Transaction, mine: str, other: str) -> None:
        tries.append(1)
        tx.update_row(schema.job, mine, {"notes": mine})
        if len(tries) <= 2:
            both.wait()
        tx.update_row(schema.job, other, {"notes": mine})

    threads = [
        threading.Thread(target=lambda pair=pair: database.write(lambda tx: work(tx, *pair)))
        for pair in (ids, ids[::-1])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    notes = {store.get_job(job_id).notes for job_id in ids}
    database.close()
    store.close()
    assert len(tries) > 2
    assert len(notes) == 1


def test_time_is_read_after_the_locks(postgres_bench: Bench) -> None:
    """A transaction that waited for a lock does not go by the time from before the wait."""
    database = Database(build_engine(parse_url(postgres_bench.url)))
    held = threading.Event()

    def hold(tx: Transaction) -> None:
        tx.lock_names(["x"])
        held.set()
        time.sleep(0.3)

    holder = threading.Thread(target=lambda: database.write(hold))
    holder.start()
    held.wait(10)
    begun = database.read(lambda tx: tx.now)
    waited = database.write(lambda tx: (tx.lock_names(["x"]), tx.now)[1])  # type: ignore[func-returns-value]
    holder.join()
    database.close()
    assert (waited - begun).total_seconds() > 0.2


def test_sqlite_waits_for_another_process(sqlite_bench: Bench) -> None:
    """A write that finds another writer on the file waits for it instead of failing."""
    first, second = (Database(build_engine(parse_url(sqlite_bench.url))) for _ in range(2))
    inside = threading.Event()

    def slowly(tx: Transaction) -> None:
        tx.insert_rows(schema.audit, [note(tx)])
        inside.set()
        time.sleep(0.3)

    writer = threading.Thread(target=lambda: first.write(slowly))
    writer.start()
    inside.wait(10)
    second.write(lambda tx: tx.insert_rows(schema.audit, [note(tx)]))
    writer.join()
    assert len(second.read(lambda tx: tx.list_rows(select(schema.audit)))) == 2
    first.close()
    second.close()


def test_sqlite_is_set_up_for_crashes(sqlite_bench: Bench) -> None:
    """Every connection has WAL and foreign keys; durable writes reach the disk, the others at the next checkpoint."""
    database = Database(build_engine(parse_url(sqlite_bench.url)))

    def settings(tx: Transaction) -> list[object]:
        names = ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        return [tx.execute(text(f"PRAGMA {name}")).scalar() for name in names]

    assert database.write(settings, durable=True) == ["wal", 1, 2, 30_000]
    assert database.write(settings) == ["wal", 1, 1, 30_000]
    database.close()


def test_a_full_disk_is_a_sentence(sqlite_bench: Bench) -> None:
    """A database that cannot grow is unavailable for writing, loses nothing, and can be read."""
    store = sqlite_bench.open()
    database = Database(build_engine(parse_url(sqlite_bench.url)))

    def fill(tx: Transaction) -> None:
        pages = tx.execute(text("PRAGMA page_count")).scalar()
        tx.execute(text(f"PRAGMA max_page_count={pages}"))
        tx.insert_rows(schema.audit, [note(tx, "y" * 10**6)])

    with pytest.raises(DatabaseUnavailableError):
        database.write(fill)
    assert store.list_audit() == []
    database.close()
    store.close()


def test_numbers_that_json_lacks_are_refused(bench: Bench) -> None:
    """A document with NaN is refused in a sentence, and nothing of it is stored."""
    store = bench.open()
    with pytest.raises(DbError, match="finite numbers"):
        bench.submit(store, spec={"x": float("nan")})
    assert store.list_jobs(JobQuery()) == []
    store.close()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_text_survives_or_the_database_is_refused(postgres_cluster: PostgresCluster, encoding: str) -> None:
    """SQL_ASCII keeps text as it is given; what cannot hold every character is refused in a sentence."""
    name = f"encoded_{encoding.lower()}"
    postgres_cluster.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    if encoding == "LATIN1":
        with pytest.raises(DbError, match=r"must have the encoding UTF8 .* this one has LATIN1"):
            open_store(postgres_cluster.url(name))
    else:
        store = open_store(postgres_cluster.url(name))
        store.add_audit("\u0141uk\U0001f333", "t", "a", "r")
        assert [row.owner for row in store.list_audit()] == ["\u0141uk\U0001f333"]
        store.close()
    postgres_cluster.execute(f"DROP DATABASE {name} WITH (FORCE)")
