"""What a store is asked with: filters and order of lists, limits, idempotency keys, changes, a worker's hello. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from db.records.jobs import Resources
from db.records.states import JobKind, JobState


@dataclass(frozen=True)
class JobQuery:
    """Which jobs to list and in which order; None means any.

    Attributes:
        architecture_id: The network that an export or a retraining is of.
        sort: "created_at", "name", "state", "priority" or "best_delta_m", with "-" for descending; what is not known
            comes last, both ways.
        after: (value of the sort column, id) of the last row of the page before.
    """

    owner: str | None = None
    kinds: tuple[JobKind, ...] = (JobKind.SEARCH,)
    states: tuple[JobState, ...] = ()
    label: tuple[str, str] | None = None
    task: str | None = None
    dataset: str | None = None
    backbone: str | None = None
    study_key: str | None = None
    architecture_id: str | None = None
    name_contains: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    sort: str = "-created_at"
    after: tuple[Any, str] | None = None
    limit: int = 50


@dataclass(frozen=True)
class ArchitectureQuery:
    """Which architectures to list; sort is "created_at", "madds", "params" or "delta_m", with "-" for descending."""

    owner: str | None = None
    job_id: str | None = None
    study_key: str | None = None
    task: str | None = None
    dataset: str | None = None
    backbone: str | None = None
    madds_max: int | None = None
    sort: str = "-created_at"
    after: tuple[Any, str] | None = None
    limit: int = 50


StudySort = Literal["-newest_at", "-best_delta_m"]
"""Studies with the newest searches first, or those with the best networks; studies without a score come last."""


def read_sort(query: JobQuery | ArchitectureQuery) -> tuple[str, bool]:
    """Return (field, whether descending) of the order of a list."""
    return query.sort.removeprefix("-"), query.sort.startswith("-")


@dataclass(frozen=True)
class QueueLimits:
    """How many unfinished jobs are accepted, in all and of one owner."""

    total: int = 20_000
    per_owner: int = 20_000


@dataclass(frozen=True)
class Idempotency:
    """The claim of an idempotency key, made in the transaction of the change it protects."""

    owner: str
    key: str
    method: str
    path: str
    body_sha256: str


@dataclass(frozen=True)
class JobChanges:
    """What a person may change of a job; None leaves a field as it is."""

    name: str | None = None
    labels: Mapping[str, str] | None = None
    priority: int | None = None
    notes: str | None = None


@dataclass(frozen=True)
class WorkerHello:
    """How a worker names itself when it asks for work; gpus and cpus are what one of its trials may occupy at most."""

    id: str
    name: str
    version: str
    capacity: Resources = field(default_factory=lambda: Resources(cpus=1.0, gpus=0.0))
