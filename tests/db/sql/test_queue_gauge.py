"""How full the queue is: counted to the job near a limit, seldom far below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from db.errors import QueueFullError
from db.questions import QueueLimits
from db.rules import Policy
from db.sql.engine import Database, build_engine, parse_url
from db.sql.ledger import Ledger
from db.sql.queue_gauge import QueueGauge

if TYPE_CHECKING:
    from tests.db.conftest import Bench


class Counter:
    """A gauge on an empty queue, its clock, and how often it has counted rows."""

    def __init__(self, url: str) -> None:
        self.time = 0.0
        self.gauge = QueueGauge(lambda: self.time)
        self.database = Database(build_engine(parse_url(url)))
        self.counts = 0
        event.listen(self.database.engine, "before_cursor_execute", self._note)

    def _note(self, *told: object) -> None:
        self.counts += "FROM job" in str(told[2])

    def check(self, limits: QueueLimits, owner: str = "ann") -> None:
        """Ask for room for one more job."""
        self.database.write(lambda tx: self.gauge.check(Ledger(tx, Policy()), owner, limits))


@pytest.fixture
def counter(bench: Bench) -> Counter:
    """Return a counter on an empty database, once of each kind."""
    return Counter(bench.url)


def test_far_below_the_limits_a_count_holds_for_a_second(counter: Counter) -> None:
    """Each owner is counted once a second, however many jobs come."""
    for _ in range(50):
        counter.check(QueueLimits())
        counter.check(QueueLimits(), "bob")
    assert counter.counts == 2
    counter.time = 1.0
    counter.check(QueueLimits())
    assert counter.counts == 3
    counter.database.close()


def test_what_was_accepted_since_the_count_counts(counter: Counter) -> None:
    """A flood within the second comes near the limit and is counted to the job from there."""
    limits = QueueLimits(total=1_005, per_owner=1_005)
    for _ in range(20):
        counter.check(limits)
    assert counter.counts >= 3
    counter.database.close()


def test_near_a_limit_every_job_is_counted(counter: Counter, bench: Bench) -> None:
    """No job is accepted above a limit, in all or of an owner."""
    store = bench.open()
    bench.submit(store)
    for limits in (QueueLimits(total=1), QueueLimits(per_owner=1)):
        with pytest.raises(QueueFullError, match="At most 1 unfinished"):
            counter.check(limits)
    counter.check(QueueLimits(total=2, per_owner=1), "bob")
    store.close()
    counter.database.close()
