"""Durable writes that wait together: one commit for many, each refused by itself, and alone when one of them breaks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, select

from db.errors import DatabaseUnavailableError, DbError
from db.sql import schema
from db.sql.engine import Database, Transaction, build_engine, parse_url
from db.sql.group_commit import WriteGroup

if TYPE_CHECKING:
    from tests.db.conftest import Bench

PATIENCE_S = 30


def note(tx: Transaction, owner: str, fault: Exception | None = None) -> str:
    """Return the owner of a row just added to the audit trail, or break after adding it."""
    row = {"at": tx.now, "owner": owner, "token_id": "t", "action": "a", "resource": "r"}
    tx.insert_rows(schema.audit, [row])
    if fault is not None:
        raise fault
    return owner


@contextmanager
def gather(database: Database, *works: Any) -> Iterator[list[Future[Any]]]:
    """Yield the outcomes of durable writes that all came while another writer had the turn."""
    with ThreadPoolExecutor(len(works) + 1) as threads:
        inside, over = threading.Event(), threading.Event()

        def hold(_: Transaction) -> bool:
            inside.set()
            return over.wait(PATIENCE_S)

        threads.submit(database.write, hold)
        assert inside.wait(PATIENCE_S)
        outcomes = [threads.submit(partial(database.write, work, durable=True)) for work in works]
        time.sleep(0.2)
        over.set()
        yield outcomes


def list_owners(database: Database) -> list[str]:
    """Return the owners in the audit trail, sorted."""
    return sorted(database.read(lambda tx: tx.execute(select(schema.audit.c.owner)).scalars().all()))


@pytest.fixture
def database(sqlite_bench: Bench) -> Iterator[Database]:
    """Return an empty SQLite database."""
    opened = Database(build_engine(parse_url(sqlite_bench.url)))
    yield opened
    opened.close()


def test_those_who_wait_share_a_commit(database: Database) -> None:
    """Eight writes that came meanwhile are one transaction, and each gets what its own work gave."""
    commits: list[int] = []
    event.listen(database.engine, "commit", lambda _: commits.append(1))
    with gather(database, *(partial(note, owner=str(number)) for number in range(8))) as outcomes:
        assert sorted(each.result(PATIENCE_S) for each in outcomes) == list("01234567")
    assert list_owners(database) == list("01234567")
    assert len(commits) == 1


def test_a_refused_write_undoes_nothing_of_the_others(database: Database) -> None:
    """What one of them refuses is its own affair: its rows are gone, theirs are kept."""
    refusal = DbError("stop")
    works = [partial(note, owner="a"), partial(note, owner="b", fault=refusal), partial(note, owner="c")]
    with gather(database, *works) as outcomes:
        assert [each.exception(PATIENCE_S) for each in outcomes] == [None, refusal, None]
    assert list_owners(database) == ["a", "c"]


def test_a_fault_of_one_is_raised_to_it_alone(database: Database) -> None:
    """A mistake in one work undoes the common transaction, and each is done again by itself."""
    fault = KeyError("a mistake of ours")
    with gather(database, partial(note, owner="a"), partial(note, owner="b", fault=fault)) as outcomes:
        assert [each.exception(PATIENCE_S) for each in outcomes] == [None, fault]
    assert list_owners(database) == ["a"]


def test_nobody_runs_a_write_that_has_given_up() -> None:
    """Who waited too long for the turn is told so, and what it asked for is never done."""
    turn, done = threading.Lock(), list[int]()
    group = WriteGroup(turn, lambda work: work(None), lambda tx: tx)
    with turn, pytest.raises(DatabaseUnavailableError):
        group.write(lambda _: done.append(1), timeout_seconds=0.01)
    group.write(lambda _: done.append(2), timeout_seconds=1.0)
    assert done == [2]


def test_a_commit_that_may_have_been_made_is_not_repeated() -> None:
    """When the database goes away, all who waited together are told, and nothing is tried again."""
    turn, tries = threading.Lock(), list[int]()

    def fail(_: Any) -> None:
        tries.append(1)
        raise DatabaseUnavailableError

    group = WriteGroup(turn, fail, lambda tx: tx)
    with ThreadPoolExecutor(3) as threads:
        with turn:
            waiting = [threads.submit(group.write, lambda _: None, timeout_seconds=PATIENCE_S) for _ in range(3)]
            time.sleep(0.2)
        assert all(isinstance(each.exception(PATIENCE_S), DatabaseUnavailableError) for each in waiting)
    assert len(tries) == 1
