"""What every store promises of facts: one finding per thing, the newest."""

from __future__ import annotations

from tests.contracts.conftest import Desk


def test_the_newest_finding_stays(desk: Desk) -> None:
    """A thing has one fact, as of the last time that it was looked at; unknown things have none."""
    assert desk.store.find_fact("check", "robot") is None
    desk.store.put_fact("check", "robot", "a" * 64, {"problems": 3})
    desk.clock.advance(60)
    put = desk.store.put_fact("check", "robot", "b" * 64, {"problems": 0, "counts": {"road": [1, 2]}})
    found = desk.store.find_fact("check", "robot")
    assert found == put
    assert (put.fingerprint, put.document["problems"], put.created_at) == ("b" * 64, 0, desk.clock())


def test_facts_of_a_kind_come_by_name(desk: Desk) -> None:
    """A list holds the things of one kind alone, in the order of their names."""
    for kind, name in [("check", "b"), ("costs", "a"), ("check", "B"), ("check", "ä")]:
        desk.store.put_fact(kind, name, "0" * 64, {"of": name})
    assert [fact.name for fact in desk.store.list_facts("check")] == ["B", "b", "ä"]
    assert [fact.document for fact in desk.store.list_facts("costs")] == [{"of": "a"}]
    assert desk.store.list_facts("nothing") == []
