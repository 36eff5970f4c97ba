"""Durable writes of many threads in one commit of SQLite: each waits for the disk, but they wait together.

Whoever has the turn runs what all others wait for as well, each within a savepoint of its own, so that what one of them
refuses undoes nothing of the others. Used by `db.sql.engine`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy.exc import StatementError

from db.errors import DatabaseUnavailableError, DbError

Work = Callable[[Any], Any]
"""What is done in a transaction; it may be done more than once, and only the last time counts."""
LARGEST_GROUP = 64


class GroupMember:
    """A write that waits for its turn, and then holds what came of it."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.is_done = False
        self._value: Any = None
        self._error: Exception | None = None

    def succeed(self, value: Any) -> None:
        """Keep what the committed write gave."""
        self._value, self.is_done = value, True

    def refuse(self, error: Exception) -> None:
        """Keep why nothing of the write was kept."""
        self._error, self.is_done = error, True

    def get(self) -> Any:
        """Return what the write gave, or raise what it raised."""
        if self._error is not None:
            raise self._error
        return self._value


class WriteGroup:
    """Those who wait for one commit.

    Args:
        turn: Held by the one writer that SQLite allows.
        commit: Runs a work in a transaction and commits it; it raises DbError where the database is away.
        begin: Makes the transaction that one member of a group sees, from the one under way.
    """

    def __init__(self, turn: threading.Lock, commit: Callable[[Work], Any], begin: Callable[[Any], Any]) -> None:
        self._turn = turn
        self._commit = commit
        self._begin = begin
        self._waiting: list[GroupMember] = []
        self._guard = threading.Lock()

    def write(self, work: Work, *, timeout_seconds: float) -> Any:
        """Return what a work gives, committed together with what others wait for.

        Raises:
            DatabaseUnavailableError: The turn did not come in time, or the database does not answer.
        """
        member = GroupMember(work)
        with self._guard:
            self._waiting.append(member)
        if not self._turn.acquire(timeout=timeout_seconds):
            self._leave(member)
        else:
            try:
                while not member.is_done:
                    self._run_next()
            finally:
                self._turn.release()
        return member.get()

    def _leave(self, member: GroupMember) -> None:
        """Give up waiting, unless someone runs the write just now: then its outcome is what counts."""
        with self._guard:
            if member in self._waiting:
                self._waiting.remove(member)
                member.refuse(DatabaseUnavailableError())
                return
        with self._turn:
            assert member.is_done

    def _run_next(self) -> None:
        """Run the writes that wait, as many as fit into a group."""
        with self._guard:
            group, self._waiting = self._waiting[:LARGEST_GROUP], self._waiting[LARGEST_GROUP:]
        try:
            if len(group) == 1 or not self._run_together(group):
                for member in group:
                    self._run_alone(member)
        except BaseException:  # the program is being ended: nobody may wait for ever
            for member in group:
                if not member.is_done:
                    member.refuse(DatabaseUnavailableError())
            raise

    def _run_together(self, group: Sequence[GroupMember]) -> bool:
        """Return whether the group is done; False when a fault of one undid it all, and each must run by itself."""
        try:
            outcomes = self._commit(lambda tx: [self._run_within(tx, member.work) for member in group])
        except DbError as error:  # it may have been committed: nothing may run twice
            outcomes = [error] * len(group)
        except Exception:
            return False
        for member, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, Exception):
                member.refuse(outcome)
            else:
                member.succeed(outcome)
        return True

    def _run_within(self, tx: Any, work: Work) -> Any:
        """Return what one member's work gives, or why it was refused, its own changes undone."""
        try:
            with tx.connection.begin_nested():
                return work(self._begin(tx))
        except DbError as refusal:
            return refusal
        except StatementError as error:
            if isinstance(error.orig, DbError):
                return error.orig
            raise

    def _run_alone(self, member: GroupMember) -> None:
        """Run one write in a transaction of its own."""
        try:
            member.succeed(self._commit(member.work))
        except Exception as error:
            member.refuse(error)
