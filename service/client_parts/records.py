"""What the server tells a client, as frozen values; fields that a newer server adds are kept in `document`.

`service.client` fills them. Pure: no sockets, no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from db.records.states import JobState, TrialState

Json = Mapping[str, Any]
_ENDED_JOBS = {state.value for state in JobState if state.is_terminal}
_ENDED_TRIALS = {state.value for state in TrialState if state.is_terminal}


@dataclass(frozen=True)
class SearchRequest:
    """A search to be submitted; None leaves the choice to the server.

    Attributes:
        dataset: Its name; `Client.list_names` tells which there are.
        backbone: Its name.
        budgets: Numbers of MAdds, or shares of the single-task total such as "60%".
        tasks: Names; None for all of the dataset.
        seeds: One candidate is searched per budget and seed.
        preset: "smoke", "quick" or "paper".
        objective: "exact", "paper" or "sampled".
        input_size: (H, W) in pixels.
        retrain: Whether what is found, and the baselines, are trained and measured.
        weights: Where encoders start: "none", "imagenet" or the name of a file of the server.
        name: What to call it.
        priority: -100 to 100, higher goes first.
        deadline_seconds: From submission.
        max_attempts: Tries per trial.
        resources: Of each trial, e.g. {"cpus": 1, "gpus": 0.5}.
        labels: Key-value pairs of your own.
    """

    dataset: str
    backbone: str
    budgets: Sequence[str | int]
    tasks: Sequence[str] | None = None
    seeds: Sequence[int] | None = None
    preset: str | None = None
    objective: str | None = None
    input_size: tuple[int, int] | None = None
    retrain: bool | None = None
    weights: str | None = None
    name: str | None = None
    priority: int | None = None
    deadline_seconds: float | None = None
    max_attempts: int | None = None
    resources: Mapping[str, float] | None = None
    labels: Mapping[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the body of the request; what is None is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class TokenRequest:
    """An access token to be made.

    Attributes:
        name: What to call it.
        role: "viewer", "operator", "admin" or "worker".
        owner: Whose jobs are its own; yours when None.
        expires_in_days: For ever when None.
    """

    name: str
    role: str
    owner: str | None = None
    expires_in_days: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the body of the request; what is None is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Job:
    """A search, retraining or export on the server.

    Attributes:
        kind: "search", "retrain" or "export".
        state: QUEUED, RUNNING, CANCELLING, SUCCEEDED, FAILED or CANCELLED.
        reason: Why it ended other than well; None otherwise.
        progress: From 0 to 1.
        best_delta_m: In percent; None while nothing is known.
        document: All that the server said.
    """

    id: str
    kind: str
    name: str
    state: str
    reason: str | None
    message: str
    progress: float
    trials_done: int
    trials_total: int
    best_delta_m: float | None
    created_at: str
    document: Json = field(repr=False)

    @property
    def is_terminal(self) -> bool:
        """Return whether nothing happens any more unless someone acts."""
        return self.state in _ENDED_JOBS

    @classmethod
    def from_json(cls, document: Json) -> Job:
        """Return the job that a response describes."""
        return cls(
            id=document["id"],
            kind=document.get("kind", "search"),
            name=document.get("name") or "",
            state=document["state"],
            reason=document.get("reason"),
            message=document.get("message") or "",
            progress=float(document.get("progress") or 0.0),
            trials_done=int(document.get("trials_done") or 0),
            trials_total=int(document.get("trials_total") or 0),
            best_delta_m=document.get("best_delta_m"),
            created_at=document.get("created_at") or "",
            document=document,
        )


@dataclass(frozen=True)
class Trial:
    """One network of a job: a baseline, a candidate, a retraining or an export.

    Attributes:
        attempts: Attempts begun so far.
        stage: What it does at the moment, with its step out of so many.
        result: What it found, once it has succeeded.
    """

    id: str
    kind: str
    name: str
    state: str
    reason: str | None
    message: str
    attempts: int
    stage: str
    step: int
    total_steps: int
    result: Json | None = field(repr=False)
    document: Json = field(repr=False)

    @property
    def is_terminal(self) -> bool:
        """Return whether no worker will touch it unless its job is resumed."""
        return self.state in _ENDED_TRIALS

    @classmethod
    def from_json(cls, document: Json) -> Trial:
        """Return the trial that a response describes."""
        return cls(
            id=document["id"],
            kind=document.get("kind") or "",
            name=document.get("name") or "",
            state=document["state"],
            reason=document.get("reason"),
            message=document.get("message") or "",
            attempts=int(document.get("attempts") or 0),
            stage=document.get("stage") or "",
            step=int(document.get("step") or 0),
            total_steps=int(document.get("total_steps") or 0),
            result=document.get("result"),
            document=document,
        )


@dataclass(frozen=True)
class FoundArchitecture:
    """A network that a trial found.

    Attributes:
        madds: Multiply-adds of one image.
        params: Parameters.
        delta_m: Multi-task gain in percent; None while it is not known.
        metrics: Per task {metric, value, higher_is_better}; None when it was not trained.
        document: All that the server said.
    """

    id: str
    name: str
    madds: int
    params: int
    budget_madds: int | None
    delta_m: float | None
    metrics: Mapping[str, Json] | None
    document: Json = field(repr=False)

    @classmethod
    def from_json(cls, document: Json) -> FoundArchitecture:
        """Return the architecture that a response, or a point of a front, describes."""
        return cls(
            id=document.get("id") or document["architecture_id"],
            name=document.get("name") or "",
            madds=int(document["madds"]),
            params=int(document.get("params") or 0),
            budget_madds=document.get("budget_madds"),
            delta_m=document.get("delta_m"),
            metrics=document.get("metrics"),
            document=document,
        )


@dataclass(frozen=True)
class Front:
    """What a search found so far.

    Attributes:
        points: Every network.
        front: Ids of those that none beats in both MAdds and delta_m.
        hypervolume: Of the front; None while there is none.
        baselines: Of the study; empty while they are not trained.
        document: All that the server said.
    """

    points: tuple[FoundArchitecture, ...]
    front: frozenset[str]
    hypervolume: float | None
    baselines: Json
    document: Json = field(repr=False)


@dataclass(frozen=True)
class ServerEvent:
    """Something that happened to a job; `seq` counts from 1 within the job, without gaps.

    Kinds: "state", "trial", "progress", "metric", "log", "front".
    """

    seq: int
    kind: str
    data: Json


@dataclass(frozen=True)
class Fetched:
    """A file that was fetched whole: where it stands and its checksum."""

    path: str
    format: str
    sha256: str
    num_bytes: int
