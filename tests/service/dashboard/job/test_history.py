"""The history of a job's state in words."""

from datetime import UTC, datetime, timedelta
from typing import Any

from db.records.jobs import EventRecord
from service.dashboard.job.history import list_state_changes

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def change(seq: int, seconds: float, state: str, **more: Any) -> EventRecord:
    """Return the event of a change of state."""
    data = {"state": state, "reason": None, "message": "", **more}
    return EventRecord("srch_1", seq, "state", data, NOW + timedelta(seconds=seconds))


def test_each_state_says_how_long_and_why() -> None:
    """From the submission on; a state that lasts has no span, one that does not lasts until now."""
    events = [
        change(1, 0, "QUEUED"),
        change(2, 5, "RUNNING"),
        change(9, 65, "CANCELLING", reason="user_cancel", message="A person asked to cancel it."),
        change(12, 70, "CANCELLED", reason="user_cancel", message="A person asked to cancel it."),
        change(13, 100, "QUEUED"),
        change(14, 100, "RUNNING"),
    ]
    told = list_state_changes(events, "olga", NOW + timedelta(seconds=120))
    assert [(each.words, each.lasted, each.why) for each in told] == [
        ("Waiting", "5 s", "submitted by olga"),
        ("Running", "1 min", ""),
        ("Stopping", "5 s", "cancelled by a person"),
        ("Cancelled", "30 s", "cancelled by a person"),
        ("Waiting", "0 s", "resumed"),
        ("Running", "20 s", ""),
    ]


def test_a_failure_says_what_the_trial_said() -> None:
    """The reason in plain words, then the message; the last state has no end."""
    (failed,) = list_state_changes([change(7, 0, "FAILED", reason="oom", message="12 GB.")], "olga", NOW)
    assert (failed.lasted, failed.why) == ("", "the memory was not enough: 12 GB.")
