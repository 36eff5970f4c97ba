"""States of jobs, trials and attempts, why they end, and from where a person may move them. Pure: no SQL, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class JobKind(StrEnum):
    """What a person asked for; the ids of jobs begin with the prefix of their kind."""

    SEARCH = "search"
    RETRAIN = "retrain"
    EXPORT = "export"

    @property
    def id_prefix(self) -> str:
        """Return what ids of this kind begin with."""
        return {"search": "srch", "retrain": "rtrn", "export": "expt"}[self.value]


class JobState(StrEnum):
    """Where a job stands; CANCELLING resolves by itself, the last three are final until someone resumes the job."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_terminal(self) -> bool:
        """Return whether nothing happens any more unless someone acts."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


class TrialState(StrEnum):
    """Where a trial stands."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_terminal(self) -> bool:
        """Return whether no worker will touch it unless its job is resumed."""
        return self not in {TrialState.QUEUED, TrialState.RUNNING}


class AttemptState(StrEnum):
    """Where an attempt stands: RUNNING holds a lease; RELEASED gave it back; LOST let it run out or was fenced off."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    RELEASED = "RELEASED"
    LOST = "LOST"


class Reason(StrEnum):
    """Why something ended other than well: a closed set."""

    USER_CANCEL = "user_cancel"
    USER_KILL = "user_kill"
    DEADLINE = "deadline"
    LEASE_LOST = "lease_lost"
    WORKER_STOPPED = "worker_stopped"
    WORKER_CRASHED = "worker_crashed"
    MAX_ATTEMPTS = "max_attempts"
    OUT_OF_MEMORY = "oom"
    DIVERGED = "diverged"
    BAD_DATASET = "bad_dataset"
    BAD_SPEC = "bad_spec"
    UNSCHEDULABLE = "unschedulable"
    DISK_FULL = "disk_full"
    INTERNAL = "internal"


INFRASTRUCTURE = frozenset({Reason.LEASE_LOST, Reason.WORKER_STOPPED, Reason.WORKER_CRASHED})
"""Not the trial's own fault: tried again at once or after a pause. WORKER_STOPPED does not count against the trial."""


RETRIED = INFRASTRUCTURE | {Reason.INTERNAL, Reason.DISK_FULL}
"""Worth another attempt, as long as `max_attempts` allows; every other reason fails the trial on the first attempt."""


UNCOUNTED = frozenset({Reason.WORKER_STOPPED})
"""Ends of attempts that do not count towards `max_attempts`: a worker that was asked to stop is nobody's failure."""


class StopMode(StrEnum):
    """How a person wants a job stopped: at the next step with the checkpoint kept, or now."""

    CANCEL = "cancel"
    KILL = "kill"


ALLOWED_ACTIONS: Mapping[str, frozenset[JobState]] = {
    "cancel": frozenset({JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING, JobState.CANCELLED}),
    "kill": frozenset({JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING, JobState.CANCELLED}),
    "resume": frozenset({JobState.FAILED, JobState.CANCELLED}),
    "retry": frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}),
    "delete": frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}),
}
"""States from which a person may ask for an action; a repeated cancel changes nothing and is no error."""
