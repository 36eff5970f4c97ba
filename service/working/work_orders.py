"""What a worker is handed: the server's claim, and what its driver and each trial process are told, as checked values.

They travel as one line of JSON on a pipe, so that tokens stand neither in arguments nor in the environment.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from search.data.cache_size import DEFAULT_CACHE_BYTES


class _Document(BaseModel):
    """Base of all documents: frozen; keys that a newer server adds are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_line(self) -> bytes:
        """Return this document as one line of JSON."""
        return self.model_dump_json().encode() + b"\n"


class StoredFile(_Document):
    """A file under the storage root: its name for the trial, its path below the root, and its checksum."""

    name: str
    path: str
    sha256: str
    num_bytes: int


class TrialDocument(_Document):
    """The trial of an attempt, as the server tells it."""

    id: str
    name: str
    kind: str
    spec: dict[str, Any]
    seed: int = 0
    budget_madds: int | None = None


class AttemptDocument(_Document):
    """The attempt: its number is the fencing token, its token speaks for it alone."""

    id: str
    number: int
    lease_until: datetime
    token: str = Field(repr=False)


class ResourcesDocument(_Document):
    """What each trial of a job occupies."""

    cpus: float = 1.0
    gpus: float = 0.0


class JobDocument(_Document):
    """The job of a claim."""

    id: str
    kind: str
    name: str
    resources: ResourcesDocument = Field(default_factory=ResourcesDocument)
    deadline_at: datetime | None = None


class ClaimedTrialDocument(_Document):
    """A trial that was handed out, with the files of its earlier attempts and those of others that it reads."""

    trial: TrialDocument
    attempt: AttemptDocument
    files: tuple[StoredFile, ...] = ()
    inputs: tuple[StoredFile, ...] = ()


class ClaimDocument(_Document):
    """What the server answers to a worker that asked for work: trials of one job."""

    job: JobDocument
    storage_root: str
    lease_seconds: float
    heartbeat_seconds: float
    trials: tuple[ClaimedTrialDocument, ...] = Field(min_length=1)


class RunSettings(_Document):
    """How a worker runs trials.

    Attributes:
        executor: "local" runs child processes one after another, "ray" all at once by Ray Tune.
        device: "auto", "cpu" or "cuda".
        cache_dir: Folder for look-up tables, rendered and finished samples.
        cache_bytes: What finished samples may take there.
        datasets_dir: Folder of the datasets made of files; None for none.
        weights_dir: Folder of the files that networks can start from; None for none.
        storage_root: Overrides the server's; None takes that.
        seconds_between_saves: Least time between two checkpoints.
        ray_address: "host:port" of the cluster that the driver joins; None where there is no Ray.
        ray_folder: Absolute path of a folder for what Ray Tune writes.
        stop_seconds: From a request to stop until whatever still runs is ended; before, it may save its state.
    """

    executor: Literal["local", "ray"] = "local"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    cache_dir: str
    cache_bytes: int = DEFAULT_CACHE_BYTES
    datasets_dir: str | None = None
    weights_dir: str | None = None
    storage_root: str | None = None
    seconds_between_saves: float = 20.0
    ray_address: str | None = None
    ray_folder: str | None = None
    stop_seconds: float = 20.0


class DriverOrder(_Document):
    """What a driver is told: the claim, whom to report to, how to run, and the file that lists what it began."""

    server: str
    claim: ClaimDocument
    settings: RunSettings
    begun_path: str | None = None


class AttemptOrder(_Document):
    """What a trial process is told: one trial of a claim."""

    server: str
    claimed: ClaimedTrialDocument
    job: JobDocument
    storage_root: str
    lease_seconds: float
    heartbeat_seconds: float
    settings: RunSettings

    @property
    def attempt_id(self) -> str:
        """Return the id of the attempt."""
        return self.claimed.attempt.id


def split_order(order: DriverOrder) -> tuple[AttemptOrder, ...]:
    """Return the orders of the trials of a claim."""
    claim = order.claim
    return tuple(
        AttemptOrder(
            server=order.server,
            claimed=claimed,
            job=claim.job,
            storage_root=order.settings.storage_root or claim.storage_root,
            lease_seconds=claim.lease_seconds,
            heartbeat_seconds=claim.heartbeat_seconds,
            settings=order.settings,
        )
        for claimed in claim.trials
    )
