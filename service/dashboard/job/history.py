"""What became of a job, state by state: when it came into each, how long it stayed, and why. Pure.

The events of a job tell it; those of jobs that ended long ago are forgotten but for the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from db.records.jobs import EventRecord
from db.records.states import JobState, Reason
from service.dashboard.formats import duration
from service.dashboard.job.words import STATES, explain

_SAID_BY_REASON = (Reason.USER_CANCEL, Reason.USER_KILL, Reason.DEADLINE)  # their messages add nothing


@dataclass(frozen=True)
class StateChange:
    """A job coming into a state.

    Attributes:
        state: As the API says it; `words` is for people.
        at: When.
        lasted: How long it stayed, in words; empty for a state that lasts.
        why: What brought it there, empty where that goes without saying.
    """

    state: str
    words: str
    at: datetime
    lasted: str
    why: str


def list_state_changes(events: Sequence[EventRecord], owner: str, now: datetime) -> list[StateChange]:
    """Return the changes of a job's state, the oldest first.

    Args:
        events: Those of the job of kind "state", in order.
        owner: Who submitted it.
        now: The time, until which an unfinished state lasts.
    """
    changes = []
    for index, event in enumerate(events):
        state = JobState(event.data["state"])
        end = events[index + 1].created_at if index + 1 < len(events) else None if state.is_terminal else now
        lasted = "" if end is None else duration((end - event.created_at).total_seconds())
        why = _describe_why(event, owner)
        changes.append(StateChange(state.value, STATES[state.value], event.created_at, lasted, why))
    return changes


def _describe_why(event: EventRecord, owner: str) -> str:
    """Return what brought a job into a state."""
    state, reason, message = event.data["state"], event.data.get("reason"), str(event.data.get("message") or "")
    if state == JobState.QUEUED and reason is None:
        return f"submitted by {owner}" if event.seq == 1 else message or "resumed"
    why = explain(None if reason is None else Reason(reason))
    if why is None:
        return message
    return why.words if not message or reason in _SAID_BY_REASON else f"{why.words}: {message}"
