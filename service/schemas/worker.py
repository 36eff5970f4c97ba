"""Bodies of the worker API, and what they are answered with. Neighbour: `service.routes.worker`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from db.records.jobs import Claim, ClaimedTrial, FileRecord, HeartbeatReply
from db.records.states import Reason, StopMode
from service.schemas.jobs import AnswerBody, JsonObject, ResourcesAnswer, Time
from service.schemas.requests import RequestBody

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/+=@-]*$")]
Step = Annotated[int, Field(ge=0, lt=2**53)]
Text = Annotated[str, Field(max_length=4000)]


class WorkerBody(RequestBody):
    """How a worker names itself; cpus and gpus are what one of its trials may occupy at most."""

    id: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@-]*$")]
    name: Annotated[str, Field(min_length=1, max_length=200)]
    version: Annotated[str, Field(min_length=1, max_length=100)]
    cpus: Annotated[float, Field(ge=0, le=100_000)] = 1.0
    gpus: Annotated[float, Field(ge=0, le=10_000)] = 0.0


class ClaimBody(RequestBody):
    """A worker asks for work."""

    worker: WorkerBody
    max_trials: Annotated[int, Field(ge=1, le=100)] = 1


class HeartbeatBody(RequestBody):
    """A sign of life, with progress where there is some."""

    stage: Annotated[str, Field(max_length=200)] | None = None
    step: Step = 0
    total_steps: Step = 0


class PointBody(RequestBody):
    """A figure at a step; null stands for one that is not finite, which is not kept."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    step: Step
    value: float | None


class MetricsBody(RequestBody):
    """A batch of figures."""

    points: Annotated[list[PointBody], Field(max_length=500)]


class LogsBody(RequestBody):
    """A batch of lines; long ones are cut."""

    lines: Annotated[list[str], Field(max_length=200)]


class FileBody(RequestBody):
    """A file that lies under the storage root."""

    name: FileName
    path: Annotated[str, Field(min_length=1, max_length=1000)]
    sha256: Sha256
    num_bytes: Annotated[int, Field(ge=0, lt=2**53)]


class CompleteBody(RequestBody):
    """The result of a trial, and the network it found."""

    result: dict[str, Any]
    architecture: Annotated[dict[str, Any] | None, Field(description="Content of architecture.json.")] = None


class EndBody(RequestBody):
    """Why an attempt ends without a result."""

    reason: Literal[
        "user_cancel",
        "user_kill",
        "deadline",
        "lease_lost",
        "worker_stopped",
        "worker_crashed",
        "max_attempts",
        "oom",
        "diverged",
        "bad_dataset",
        "bad_spec",
        "unschedulable",
        "disk_full",
        "internal",
    ]
    message: Text = ""


assert set(EndBody.model_fields["reason"].annotation.__args__) == set(Reason)  # type: ignore[union-attr]


class ClaimedJob(AnswerBody):
    """The job that the claimed trials belong to."""

    id: str
    kind: str
    name: str
    resources: ResourcesAnswer
    deadline_at: Time | None


class ClaimedTrialSpec(AnswerBody):
    """A trial to be run."""

    id: str
    name: str
    kind: str
    spec: JsonObject
    seed: int
    budget_madds: int | None


class ClaimedAttempt(AnswerBody):
    """The attempt that holds the trial, and the token that speaks for it."""

    id: str
    number: int
    lease_until: Time
    token: str


class FileAnswer(AnswerBody):
    """A file under the storage root."""

    name: str
    path: str
    sha256: str
    num_bytes: int

    @classmethod
    def of(cls, record: FileRecord) -> FileAnswer:
        """Return a record as an answer."""
        return cls(name=record.name, path=record.path, sha256=record.sha256, num_bytes=record.num_bytes)


class ClaimedTrialAnswer(AnswerBody):
    """A trial with its lease, the files of earlier attempts, and the files it reads."""

    trial: ClaimedTrialSpec
    attempt: ClaimedAttempt
    files: list[FileAnswer]
    inputs: list[FileAnswer]

    @classmethod
    def of(cls, claimed: ClaimedTrial, token: str, inputs: Sequence[FileRecord]) -> ClaimedTrialAnswer:
        """Return a claimed trial as an answer."""
        trial, attempt = claimed.trial, claimed.attempt
        return cls(
            trial=ClaimedTrialSpec(
                id=trial.id,
                name=trial.name,
                kind=trial.kind,
                spec=dict(trial.spec),
                seed=trial.seed,
                budget_madds=trial.budget_madds,
            ),
            attempt=ClaimedAttempt(id=attempt.id, number=attempt.number, lease_until=attempt.lease_until, token=token),
            files=[FileAnswer.of(file) for file in claimed.files],
            inputs=[FileAnswer.of(file) for file in inputs],
        )


class ClaimAnswer(AnswerBody):
    """Work: trials of one job, each with a lease of its own."""

    job: ClaimedJob
    storage_root: str
    lease_seconds: float
    heartbeat_seconds: float
    trials: list[ClaimedTrialAnswer]


def describe_claimed_job(claim: Claim) -> ClaimedJob:
    """Return the job of a claim as an answer."""
    job = claim.job
    return ClaimedJob(
        id=job.id,
        kind=job.kind.value,
        name=job.name,
        resources=ResourcesAnswer(cpus=job.resources.cpus, gpus=job.resources.gpus),
        deadline_at=job.deadline_at,
    )


class HeartbeatAnswer(AnswerBody):
    """Until when the attempt holds its trial, and whether to stop."""

    stop: StopMode | None
    lease_until: Time

    @classmethod
    def of(cls, reply: HeartbeatReply) -> HeartbeatAnswer:
        """Return a reply as an answer."""
        return cls(stop=reply.stop, lease_until=reply.lease_until)


class CountAnswer(AnswerBody):
    """How many were kept."""

    stored: int


class TrialStateAnswer(AnswerBody):
    """Where the trial stands now."""

    trial_id: str
    state: str
