"""Bodies of answers: records of the store as JSON. Times are RFC 3339 in UTC, units stand in the names."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from db.records.jobs import AttemptRecord, JobRecord, LogLine, TrialRecord
from db.records.states import ALLOWED_ACTIONS, AttemptState, JobKind, JobState, Reason, StopMode, TrialState

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
    """One try at a trial; `attempt` counts from 1.

    A worker takes more trials than it runs at once: `started_at` is when it took this one, `begun_at` when it
    first told of work on it.
    """

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
    begun_at: Time | None
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
