"""Records of results: the branched networks that trials found, as frozen values. Pure: no SQL, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from db.records.jobs import Json


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
