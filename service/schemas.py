"""Bodies of answers: records of the store as JSON. Times are RFC 3339 in UTC, units stand in the names."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from db.records import (
    ALLOWED_ACTIONS,
    ArchitectureRecord,
    AttemptRecord,
    AttemptState,
    JobKind,
    JobRecord,
    JobState,
    LogLine,
    Reason,
    StopMode,
    TokenRecord,
    TrialRecord,
    TrialState,
)

Time = Annotated[datetime, AfterValidator(lambda value: value.astimezone(UTC))]
JsonObject = dict[str, Any]


class AnswerBody(BaseModel):
    """Base of all answers: closed schemas."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ResourcesAnswer(AnswerBody):
    """What one trial occupies."""

    cpus: float
    gpus: float


class Job(AnswerBody):
    """A search, retraining or export. Its state changes through actions only; `spec` is what was asked for."""

    id: str
    kind: JobKind
    owner: str
    name: str
    labels: dict[str, str]
    notes: str
    spec: JsonObject
    spec_hash: str
    study_key: Annotated[str, Field(description="Results of the same study are comparable.")]
    priority: int
    resources: ResourcesAnswer
    max_attempts: int
    state: JobState
    reason: Reason | None
    message: str
    stop_requested: StopMode | None
    retry_of: str | None
    architecture_id: Annotated[str | None, Field(description="What a retraining or an export works on.")]
    created_at: Time
    started_at: Time | None
    finished_at: Time | None
    deadline_at: Time | None
    trials_total: int
    trials_done: int
    progress: Annotated[float, Field(description="From 0 to 1.")]
    best_delta_m: Annotated[float | None, Field(description="In percent.")]
    version: int
    allowed_actions: Annotated[list[str], Field(description="What may be asked of it in this state.")]
    result: Annotated[JsonObject | None, Field(description="Of a retraining or an export that has succeeded.")] = None

    @classmethod
    def of(cls, job: JobRecord, result: Mapping[str, Any] | None = None) -> Job:
        """Return a record as an answer."""
        return cls(
            id=job.id,
            kind=job.kind,
            owner=job.owner,
            name=job.name,
            labels=dict(job.labels),
            notes=job.notes,
            spec=dict(job.spec),
            spec_hash=job.spec_hash,
            study_key=job.study_key,
            priority=job.priority,
            resources=ResourcesAnswer(cpus=job.resources.cpus, gpus=job.resources.gpus),
            max_attempts=job.max_attempts,
            state=job.state,
            reason=job.reason,
            message=job.message,
            stop_requested=job.stop_requested,
            retry_of=job.retry_of,
            architecture_id=job.architecture_id,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            deadline_at=job.deadline_at,
            trials_total=job.trials_total,
            trials_done=job.trials_done,
            progress=job.progress,
            best_delta_m=job.best_delta_m,
            version=job.version,
            allowed_actions=list_allowed_actions(job.state),
            **({} if result is None else {"result": dict(result)}),
        )


def list_allowed_actions(state: JobState) -> list[str]:
    """Return what may be asked of a job in a state."""
    return sorted(action for action, states in ALLOWED_ACTIONS.items() if state in states)


class JobPage(AnswerBody):
    """A page of jobs."""

    items: list[Job]
    next_page_token: Annotated[str, Field(description="Absent on the last page.")] = ""


class Trial(AnswerBody):
    """One network of a job: a baseline, a candidate, a retraining or an export."""

    id: str
    job_id: str
    kind: str
    name: str
    seed: int
    budget_madds: int | None
    state: TrialState
    reason: Reason | None
    message: str
    attempts: int
    failures: int
    not_before: Time | None
    stage: str
    step: int
    total_steps: int
    reused_from: str | None
    result: JsonObject | None
    created_at: Time
    started_at: Time | None
    finished_at: Time | None

    @classmethod
    def of(cls, trial: TrialRecord) -> Trial:
        """Return a record as an answer."""
        fields = {name: getattr(trial, name) for name in cls.model_fields if name != "result"}
        return cls(**fields, result=None if trial.result is None else dict(trial.result))


class TrialList(AnswerBody):
    """All trials of a job."""

    items: list[Trial]


class Attempt(AnswerBody):
    """One try at a trial; `attempt` counts from 1."""

    id: str
    trial_id: str
    attempt: int
    worker: str
    state: AttemptState
    reason: Reason | None
    message: str
    lease_until: Time
    heartbeat_at: Time
    started_at: Time
    ended_at: Time | None
    stage: str
    step: int
    total_steps: int

    @classmethod
    def of(cls, attempt: AttemptRecord) -> Attempt:
        """Return a record as an answer."""
        own = {"attempt", "worker"}
        fields = {name: getattr(attempt, name) for name in cls.model_fields if name not in own}
        return cls(**fields, attempt=attempt.number, worker=attempt.worker_id)


class AttemptList(AnswerBody):
    """All attempts at a trial, oldest first."""

    items: list[Attempt]


class MetricSeries(AnswerBody):
    """One figure of one trial over its steps."""

    trial_id: str
    name: str
    points: Annotated[list[tuple[int, float]], Field(description="[step, value] by step.")]
    num_points: Annotated[int, Field(description="Before thinning.")]


class MetricList(AnswerBody):
    """Figures of a job, thinned out to the smallest and the largest value of each stretch of steps."""

    series: list[MetricSeries]


class LogEntry(AnswerBody):
    """A line that an attempt wrote."""

    seq: int
    trial_id: str
    attempt: int
    at: Time
    text: str

    @classmethod
    def of(cls, line: LogLine) -> LogEntry:
        """Return a record as an answer."""
        return cls(seq=line.seq, trial_id=line.trial_id, attempt=line.attempt, at=line.created_at, text=line.text)


class LogPage(AnswerBody):
    """Lines of a job; ask again with `after=next_after` for what follows."""

    items: list[LogEntry]
    next_after: int


class ArchitectureSummary(AnswerBody):
    """A network that was found, without its tree."""

    id: str
    job_id: str
    trial_id: str
    study_key: str
    owner: str
    name: str
    fingerprint: Annotated[str, Field(description="SHA-256 of the canonical tree.")]
    dataset: str
    backbone: str
    tasks: list[str]
    madds: int
    params: int
    budget_madds: int | None
    seed: int
    metrics: Annotated[JsonObject | None, Field(description="Per task {metric, value, higher_is_better}.")]
    delta_m: Annotated[float | None, Field(description="Gain over single-task networks in percent.")]
    created_at: Time

    @classmethod
    def of(cls, record: ArchitectureRecord) -> ArchitectureSummary:
        """Return a record as an answer."""
        return cls(**_architecture_fields(record))


class ArchitectureAnswer(ArchitectureSummary):
    """A network that was found, with `document`, the content of its architecture.json."""

    document: JsonObject

    @classmethod
    def of(cls, record: ArchitectureRecord) -> ArchitectureAnswer:
        """Return a record as an answer."""
        return cls(**_architecture_fields(record), document=dict(record.document))


def _architecture_fields(record: ArchitectureRecord) -> dict[str, Any]:
    """Return the fields of an architecture but its document."""
    fields = {name: getattr(record, name) for name in ArchitectureSummary.model_fields}
    return {
        **fields,
        "tasks": list(record.tasks),
        "metrics": None if record.metrics is None else dict(record.metrics),
    }


class ArchitecturePage(AnswerBody):
    """A page of architectures."""

    items: list[ArchitectureSummary]
    next_page_token: Annotated[str, Field(description="Absent on the last page.")] = ""


class FrontPoint(AnswerBody):
    """One network in a front; x and y are what was asked to be compared."""

    architecture_id: str
    job_id: str
    name: str
    seed: int
    budget_madds: int | None
    madds: int
    params: int
    delta_m: float | None
    x: float
    y: float | None
    on_front: bool


class FrontAxis(AnswerBody):
    """One axis of a front: what it shows, in which unit, and which direction is better."""

    name: str
    unit: str
    better: Literal["lower", "higher"]


class Baseline(AnswerBody):
    """A baseline of the study."""

    madds: int
    params: int
    metrics: JsonObject
    delta_m: float | None
    x: float
    y: float | None


class Front(AnswerBody):
    """Networks in two figures: all of them, and which of them none beats in both."""

    points: list[FrontPoint]
    front: Annotated[list[str], Field(description="Ids of the points on the front, cheapest first.")]
    hypervolume: Annotated[
        float | None, Field(description="Area that the front dominates below `reference`; null without one.")
    ]
    reference: Annotated[tuple[float, float] | None, Field(description="[x, y] that the hypervolume counts from.")]
    baselines: Annotated[dict[str, Baseline], Field(description='"single" and "shared", as far as they are known.')]
    x: FrontAxis
    y: FrontAxis
    algorithm: str


class MaddsRange(AnswerBody):
    """Multiply-adds of the cheapest and the dearest tree, and of separate networks."""

    shared_madds: int
    split_madds: int
    single_madds: int


class Estimate(AnswerBody):
    """What a search will ask for; seconds and bytes to the order of magnitude."""

    madds: MaddsRange
    budgets_madds: list[int]
    num_trials: int
    seconds_on_one_cpu: float
    disk_bytes: int


class Validation(AnswerBody):
    """A search that may be submitted."""

    ok: bool
    estimate: Estimate
    warnings: list[str]


class JsonExport(AnswerBody):
    """An export that is answered at once: where its content is, and its checksum."""

    architecture_id: str
    format: Literal["json"]
    state: Literal[JobState.SUCCEEDED]
    sha256: str
    bytes: int
    content_url: str


class TaskAnswer(AnswerBody):
    """A task of a dataset."""

    dataset: str
    name: str
    kind: str
    channels: int
    class_names: list[str]


class TaskTable(AnswerBody):
    """All tasks of all datasets."""

    items: list[TaskAnswer]


class DatasetAnswer(AnswerBody):
    """A dataset that a search may name."""

    name: str
    summary: str
    tasks: list[TaskAnswer]
    image_channels: int
    default_size: Annotated[list[int], Field(description="[H, W] in pixels.")]
    smallest_side: int
    largest_side: int
    num_train: int
    num_val: int


class DatasetTable(AnswerBody):
    """The datasets on which networks can be searched and trained."""

    items: list[DatasetAnswer]


class BackboneAnswer(AnswerBody):
    """A backbone that a search may name."""

    name: str
    family: str
    num_layers: int
    output_stride: int
    min_size: Annotated[int, Field(description="Smallest height and width in pixels.")]
    summary: str


class BackboneTable(AnswerBody):
    """The backbones."""

    items: list[BackboneAnswer]


class Health(AnswerBody):
    """The process answers."""

    status: Literal["ok"]


class Readiness(AnswerBody):
    """Whether the server takes work, and why not."""

    ready: bool
    checks: dict[str, bool]
    queue_lag_seconds: Annotated[float | None, Field(description="Age of the oldest job that waits.")]


class Version(AnswerBody):
    """Version of the program and of the API."""

    version: str
    api: Literal["v1"]


class ProblemDescription(AnswerBody):
    """What a kind of problem means."""

    code: str
    status: int
    title: str


class TokenAnswer(AnswerBody):
    """An access token without its secret."""

    id: str
    name: str
    owner: str
    role: str
    scopes: list[str]
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None
    revoked_at: Time | None

    @classmethod
    def of(cls, record: TokenRecord) -> TokenAnswer:
        """Return a record as an answer."""
        return cls(**_token_fields(record))


class CreatedToken(TokenAnswer):
    """A new access token; `token` is shown this once."""

    token: str

    @classmethod
    def with_text(cls, record: TokenRecord, text: str) -> CreatedToken:
        """Return a record and its text as an answer."""
        return cls(**_token_fields(record), token=text)


def _token_fields(record: TokenRecord) -> dict[str, Any]:
    """Return the fields of a token that may be shown."""
    fields = {name: getattr(record, name) for name in TokenAnswer.model_fields}
    return {**fields, "scopes": list(record.scopes)}


class TokenList(AnswerBody):
    """Access tokens, newest first."""

    items: list[TokenAnswer]
