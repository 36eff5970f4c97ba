"""Records: jobs, trials, attempts and what they leave behind, as frozen values, and the moves their states allow.

A job (a search, retraining or export that a person asked for) has trials (one network each: a baseline or a candidate);
every try at a trial is an attempt, which holds a lease and is numbered from 1: the number is the fencing token.
Pure: no SQL, no I/O. Times are timezone-aware UTC; JSON values are plain dicts and lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

Json = Mapping[str, Any]


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


@dataclass(frozen=True)
class Resources:
    """What one trial occupies: CPU cores and GPUs, either may be a fraction."""

    cpus: float = 1.0
    gpus: float = 0.0


@dataclass(frozen=True)
class NewTrial:
    """A trial to be made with its job.

    Attributes:
        kind: "single", "shared", "candidate", "retrain" or "export".
        name: Unique within the job, e.g. "single-left", "shared", "60pct-s0".
        spec: All that the trial process needs, as JSON.
        reuse_key: Trials with the same key have the same result, so one of them runs for all; None for no sharing.
        seed: Names its randomness.
        budget_madds: Budget of the network; None where there is none.
    """

    kind: str
    name: str
    spec: Json
    reuse_key: str | None = None
    seed: int = 0
    budget_madds: int | None = None


@dataclass(frozen=True)
class NewJob:
    """A job to be made; the store gives it id, state and times.

    Attributes:
        kind: What was asked for.
        owner: Id of the token owner, for fair share and visibility.
        name: What the person calls it.
        spec: The request as JSON, canonical.
        spec_hash: SHA-256 of it.
        study_key: What makes results comparable (dataset, tasks, backbone, input size, recipe), hashed.
        trials: At least one.
        labels: The person's own key-value pairs.
        priority: Higher goes first; -100 to 100.
        deadline_seconds: From submission; None for no limit.
        max_attempts: Counted attempts per trial.
        resources: Of each trial.
        retry_of: The job this repeats.
        architecture_id: What a retraining or an export works on.
    """

    kind: JobKind
    owner: str
    name: str
    spec: Json
    spec_hash: str
    study_key: str
    trials: tuple[NewTrial, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    deadline_seconds: float | None = None
    max_attempts: int = 3
    resources: Resources = field(default_factory=Resources)
    retry_of: str | None = None
    architecture_id: str | None = None


@dataclass(frozen=True)
class JobRecord:
    """A job at rest. `version` grows with every change and is the ETag; steps are sums over its trials."""

    id: str
    kind: JobKind
    owner: str
    name: str
    labels: Mapping[str, str]
    notes: str
    spec: Json
    spec_hash: str
    study_key: str
    priority: int
    resources: Resources
    max_attempts: int
    state: JobState
    reason: Reason | None
    message: str
    stop_requested: StopMode | None
    retry_of: str | None
    architecture_id: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deadline_at: datetime | None
    trials_total: int
    trials_done: int
    progress: float
    best_delta_m: float | None
    version: int


@dataclass(frozen=True)
class TrialRecord:
    """A trial at rest.

    Attributes:
        attempts: Attempts begun so far; the number of the newest.
        failures: Ended attempts that count towards the job's `max_attempts`.
        not_before: No worker gets it earlier (backoff); None for at once.
        stage, step, total_steps: The last progress a heartbeat told.
        reused_from: Id of the trial whose result it shares; None when it ran itself.
        result: What it found, once it has succeeded.
    """

    id: str
    job_id: str
    kind: str
    name: str
    spec: Json
    reuse_key: str | None
    seed: int
    budget_madds: int | None
    state: TrialState
    reason: Reason | None
    message: str
    attempts: int
    failures: int
    not_before: datetime | None
    stage: str
    step: int
    total_steps: int
    reused_from: str | None
    result: Json | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True)
class AttemptRecord:
    """One try at a trial. `number` is the fencing token; `lease_until` counts by the database's clock."""

    id: str
    trial_id: str
    job_id: str
    number: int
    worker_id: str
    state: AttemptState
    reason: Reason | None
    message: str
    lease_until: datetime
    heartbeat_at: datetime
    started_at: datetime
    ended_at: datetime | None
    stage: str
    step: int
    total_steps: int


@dataclass(frozen=True)
class FileRecord:
    """A file that a trial left under the storage root: its name for the trial, where it lies, and its checksum."""

    trial_id: str
    name: str
    path: str
    sha256: str
    num_bytes: int
    attempt: int
    created_at: datetime


@dataclass(frozen=True)
class ClaimedTrial:
    """A trial handed to a worker: the attempt that now holds its lease and the files of earlier attempts."""

    trial: TrialRecord
    attempt: AttemptRecord
    files: tuple[FileRecord, ...]


@dataclass(frozen=True)
class Claim:
    """What a worker gets: trials of one job, each with a lease of its own."""

    job: JobRecord
    trials: tuple[ClaimedTrial, ...]


@dataclass(frozen=True)
class Progress:
    """How far an attempt is; `message` is what it wants people to read, e.g. the stage in words."""

    stage: str = ""
    step: int = 0
    total_steps: int = 0


@dataclass(frozen=True)
class HeartbeatReply:
    """What the server tells a living attempt: until when it holds its trial, and whether to stop."""

    lease_until: datetime
    stop: StopMode | None


@dataclass(frozen=True)
class EventRecord:
    """Something that happened to a job. `seq` counts from 1 without gaps within the job.

    Kinds: "state" (job), "trial", "progress", "metric", "log", "front".
    """

    job_id: str
    seq: int
    kind: str
    data: Json
    created_at: datetime


@dataclass(frozen=True)
class MetricPoint:
    """A figure of a trial at a step."""

    name: str
    step: int
    value: float


@dataclass(frozen=True)
class LogLine:
    """A line that an attempt wrote; `seq` counts from 1 within the job."""

    seq: int
    trial_id: str
    attempt: int
    created_at: datetime
    text: str


@dataclass(frozen=True)
class NewArchitecture:
    """A network that a trial found, to be made with its result.

    Attributes:
        name: Name of the trial.
        document: Content of architecture.json.
        fingerprint: SHA-256 of the canonical tree.
        metrics: Per task {metric, value, higher_is_better}; None when it was not trained.
        delta_m: In percent; None while the single-task baselines are not known.
    """

    name: str
    document: Json
    fingerprint: str
    tasks: tuple[str, ...]
    backbone: str
    dataset: str
    madds: int
    params: int
    budget_madds: int | None
    seed: int
    metrics: Json | None
    delta_m: float | None = None


@dataclass(frozen=True)
class ArchitectureRecord:
    """A network at rest, with where it came from."""

    id: str
    job_id: str
    trial_id: str
    study_key: str
    owner: str
    name: str
    document: Json
    fingerprint: str
    tasks: tuple[str, ...]
    backbone: str
    dataset: str
    madds: int
    params: int
    budget_madds: int | None
    seed: int
    metrics: Json | None
    delta_m: float | None
    created_at: datetime


class FrontRow(NamedTuple):
    """What a front needs of an architecture. A tuple, since there may be thousands."""

    id: str
    job_id: str
    trial_id: str
    name: str
    seed: int
    budget_madds: int | None
    madds: int
    params: int
    delta_m: float | None
    metrics: Json | None


@dataclass(frozen=True)
class TokenRecord:
    """An access token, without its secret.

    Attributes:
        id: Its public part; what it is looked up by.
        secret_sha256: SHA-256 of the secret part in hexadecimal.
        owner: Who acts with it.
        role: "viewer", "operator" or "admin".
        scopes: What it allows.
    """

    id: str
    name: str
    owner: str
    role: str
    scopes: tuple[str, ...]
    secret_sha256: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True)
class WorkerRecord:
    """A worker that has asked for work; `last_seen_at` by the database's clock."""

    id: str
    name: str
    version: str
    cpus: float
    gpus: float
    first_seen_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True)
class SavedResponse:
    """The answer that an idempotency key replays."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class AuditRecord:
    """Who did what to which resource."""

    at: datetime
    owner: str
    token_id: str
    action: str
    resource: str
