"""Records of work: jobs, their trials, the attempts at them and what a running attempt leaves, as frozen values.

A job (a search, retraining or export that a person asked for) has trials (one network each: a baseline or a candidate);
every try at a trial is an attempt, which holds a lease and is numbered from 1: the number is the fencing token.
Pure: no SQL, no I/O. Times are timezone-aware UTC; JSON values are plain dicts and lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from db.records.states import AttemptState, JobKind, JobState, Reason, StopMode, TrialState

Json = Mapping[str, Any]


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
    """One try at a trial. `number` is the fencing token; `lease_until` counts by the database's clock.

    A worker takes more trials than it can run at once: `started_at` is when it took this one, `begun_at` when it first
    told of work on it, None until then.
    """

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
    begun_at: datetime | None = None


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
