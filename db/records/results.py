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
        latency_ms: Measured for one image; None when it was not.
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
    latency_ms: float | None = None


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
    latency_ms: float | None = None


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
    latency_ms: float | None = None
    metrics: Json | None = None


class FrontStamp(NamedTuple):
    """What was there when a front was read; each count only grows, so equal stamps mean an equal front.

    Attributes:
        num_found: Networks.
        num_scored: Of them, those whose delta_m is known.
        num_baselines: Results of baselines of the study.
        num_deleted: Deleted jobs, of all studies.
    """

    num_found: int
    num_scored: int
    num_baselines: int
    num_deleted: int


@dataclass(frozen=True)
class StudyRecord:
    """What searches with comparable results have found together.

    Attributes:
        study_key: Names the study.
        tasks: As the searches name them.
        num_searches: That are not deleted.
        num_networks: Found by them; each counts once, however many searches share it.
        best_delta_m: Of these, in percent; None while none is scored.
        least_madds: Of the cheapest; None without networks.
        most_madds: Of the dearest.
        newest_at: When the newest search was submitted.
    """

    study_key: str
    dataset: str
    backbone: str
    tasks: tuple[str, ...]
    num_searches: int
    num_networks: int
    best_delta_m: float | None
    least_madds: int | None
    most_madds: int | None
    newest_at: datetime
