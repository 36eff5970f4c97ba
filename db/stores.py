"""What the stores promise. Every call is one transaction; records come out as copies; times are the database's own.

`db.memory.store` keeps them in memory, `db.sql.store` in SQLite or PostgreSQL; one contract suite holds all of them.
A change and the event that tells of it are written in the same transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from db.questions import ArchitectureQuery, Idempotency, JobChanges, JobQuery, QueueLimits, StudySort, WorkerHello
from db.records.access import AuditRecord, SavedResponse, TokenRecord, WorkerRecord
from db.records.facts import FactRecord
from db.records.jobs import (
    AttemptRecord,
    Claim,
    EventRecord,
    FileRecord,
    HeartbeatReply,
    JobRecord,
    Json,
    LogLine,
    MetricPoint,
    NewJob,
    Progress,
    TrialRecord,
)
from db.records.results import ArchitectureRecord, FrontRow, FrontStamp, NewArchitecture, StudyRecord
from db.records.states import JobState, Reason, StopMode

Score = Callable[[Json, Json], float]
"""(metrics of a network, metrics of the single-task networks) -> delta_m in percent."""


class JobStore(Protocol):
    """Keeps jobs, trials and attempts, and hands out work."""

    def submit(
        self,
        job: NewJob,
        *,
        limits: QueueLimits,
        idempotency: Idempotency | None = None,
        respond: Callable[[JobRecord], SavedResponse] | None = None,
    ) -> tuple[JobRecord, SavedResponse | None]:
        """Make a job with its trials, durable on return, and save the answer under its idempotency key.

        A trial whose `reuse_key` has already succeeded somewhere succeeds at once with that result.

        Returns:
            The job, and the saved answer when the key was used before (then nothing new was made).

        Raises:
            QueueFullError: Too many unfinished jobs.
            IdempotencyMismatchError: The key was used for another request.
        """
        ...

    def get_job(self, job_id: str) -> JobRecord:
        """Return a job that is not deleted, or raise NotFoundError."""
        ...

    def list_jobs(self, query: JobQuery) -> list[JobRecord]:
        """Return at most `query.limit` jobs in order."""
        ...

    def count_jobs(self) -> Mapping[JobState, int]:
        """Return how many jobs that are not deleted stand in each state."""
        ...

    def update_job(self, job_id: str, changes: JobChanges, *, if_version: int) -> JobRecord:
        """Change a job that still has this version; raise NotFoundError or StaleVersionError."""
        ...

    def stop_job(self, job_id: str, mode: StopMode, reason: Reason) -> JobRecord:
        """Ask a job to stop: queued trials are cancelled now; running ones are told by their next heartbeat.

        KILL fences all running attempts off (LOST) and ends the job at once. A repeated stop changes nothing.

        Raises:
            NotFoundError: No such job.
            IllegalMoveError: It has succeeded or failed.
        """
        ...

    def resume_job(self, job_id: str) -> JobRecord:
        """Queue the unfinished trials of a failed or cancelled job again, their failures forgiven.

        Raises:
            NotFoundError: No such job.
            IllegalMoveError: It is neither failed nor cancelled.
        """
        ...

    def delete_job(self, job_id: str, *, if_version: int | None = None) -> None:
        """Hide an ended job from all lists; raise NotFoundError, IllegalMoveError or StaleVersionError."""
        ...

    def list_trials(self, job_id: str) -> list[TrialRecord]:
        """Return the trials of a job in the order they were given."""
        ...

    def get_trial(self, trial_id: str) -> TrialRecord:
        """Return a trial, or raise NotFoundError."""
        ...

    def list_attempts(self, trial_id: str) -> list[AttemptRecord]:
        """Return the attempts at a trial, oldest first."""
        ...

    def claim(self, worker: WorkerHello, *, lease_seconds: float, max_trials: int) -> Claim | None:
        """Hand out waiting trials of one job, or None when nothing waits that fits the worker's capacity.

        Order: priority, then owners with the fewest running trials, then age. A trial whose `reuse_key` runs elsewhere
        waits for that one. The worker is noted as seen.
        """
        ...

    def heartbeat(self, attempt_id: str, *, lease_seconds: float, progress: Progress | None) -> HeartbeatReply:
        """Renew a lease and note the progress; raise LeaseLostError or NotFoundError."""
        ...

    def complete(
        self, attempt_id: str, result: Json, architecture: NewArchitecture | None, *, score: Score
    ) -> TrialRecord:
        """End an attempt well: store its result, exactly one per trial, and roll the job's state up.

        Architectures of the study whose delta_m is not known yet get it once all single-task baselines are there.
        Repeated by the same attempt, it changes nothing.

        Raises:
            LeaseLostError: The attempt no longer holds the trial; nothing was stored.
        """
        ...

    def fail(self, attempt_id: str, reason: Reason, message: str) -> TrialRecord:
        """End an attempt badly: queue the trial again with a growing pause, or fail it, by the class of the reason.

        USER_CANCEL and DEADLINE (the attempt stopped as it was told) end the trial as CANCELLED.

        Raises:
            LeaseLostError: The attempt no longer holds the trial.
        """
        ...

    def release(self, attempt_id: str, reason: Reason, message: str) -> TrialRecord:
        """Give a trial back (RELEASED); reasons in UNCOUNTED do not count, and leave it claimable at once."""
        ...

    def check_lease(self, attempt_id: str) -> AttemptRecord:
        """Return the attempt if it holds its trial now; raise LeaseLostError or NotFoundError."""
        ...

    def sweep(self) -> int:
        """End attempts whose lease ran out (LOST, lease_lost) and jobs past their deadline; return how many changed."""
        ...

    def list_workers(self) -> list[WorkerRecord]:
        """Return the workers seen in the last day, the newest first."""
        ...


class RunStore(Protocol):
    """Keeps what running attempts tell: files, figures, lines and events. Writers must hold their lease."""

    def put_file(self, attempt_id: str, name: str, path: str, sha256: str, num_bytes: int) -> FileRecord:
        """Note a file that lies under the storage root, replacing the one of that name; raise LeaseLostError."""
        ...

    def delete_file(self, attempt_id: str, name: str) -> None:
        """Forget a file; a name that is not there is no error. Raises LeaseLostError."""
        ...

    def list_files(self, trial_id: str) -> list[FileRecord]:
        """Return the files of a trial by name (those of the trial it was reused from, if it was)."""
        ...

    def list_paths(self) -> set[str]:
        """Return the paths of all files that rows point at, for the sweeper of the storage root."""
        ...

    def add_metrics(self, attempt_id: str, points: Sequence[MetricPoint]) -> int:
        """Store figures, the last attempt winning per (trial, name, step); return how many. Raises LeaseLostError."""
        ...

    def list_metrics(
        self, job_id: str, *, name: str | None = None, trial_id: str | None = None, after_step: int = -1
    ) -> Mapping[tuple[str, str], list[tuple[int, float]]]:
        """Return {(trial id, name): [(step, value), ...] by step}."""
        ...

    def add_logs(self, attempt_id: str, lines: Sequence[str]) -> None:
        """Append lines (cut at 2,000 characters each, 20,000 lines kept per job); raise LeaseLostError."""
        ...

    def list_logs(self, job_id: str, *, after: int = 0, limit: int = 500) -> list[LogLine]:
        """Return lines with seq above `after`."""
        ...

    def list_events(
        self, job_id: str, *, after: int = 0, limit: int = 500, kind: str | None = None
    ) -> list[EventRecord]:
        """Return events with seq above `after`, of one kind or of all."""
        ...

    def list_new_events(self, after_id: int, limit: int = 1000) -> list[tuple[int, EventRecord]]:
        """Return (global id, event) of all jobs above a global id, for those who follow everything."""
        ...

    def get_last_event(self, job_id: str) -> tuple[int, int]:
        """Return (oldest kept seq, newest seq) of a job; (1, 0) where there is none."""
        ...

    def get_newest_event_id(self) -> int:
        """Return the global id of the newest event, 0 where there is none."""
        ...

    def purge_history(self, older_than_seconds: float) -> int:
        """Forget lines and events of jobs that ended so long ago, and return how many; each job keeps its last event.

        So the number of its last event stays known, and who asks for what came before is told that it is gone.
        """
        ...


class ResultStore(Protocol):
    """Keeps architectures and the results of baselines."""

    def get_architecture(self, architecture_id: str) -> ArchitectureRecord:
        """Return an architecture, or raise NotFoundError."""
        ...

    def list_architectures(self, query: ArchitectureQuery) -> list[ArchitectureRecord]:
        """Return at most `query.limit` architectures in order."""
        ...

    def list_front_rows(
        self, *, job_id: str | None, study_key: str | None, with_metrics: bool = True
    ) -> list[FrontRow]:
        """Return what a front needs of every architecture of a job or of a study, the cheapest first.

        Without metrics, which take most of the time to read, they are None in every row.
        """
        ...

    def get_front_stamp(self, *, job_id: str | None, study_key: str) -> FrontStamp:
        """Return what tells whether the front of a job of this study, or of all of the study, is another by now."""
        ...

    def list_studies(
        self, *, sort: StudySort = "-newest_at", after: tuple[Any, str] | None = None, limit: int = 50
    ) -> list[StudyRecord]:
        """Return at most `limit` studies in order.

        Args:
            sort: What comes first.
            after: (newest_at or best_delta_m, study_key) of the last one of the page before.
            limit: How many.
        """
        ...

    def list_baselines(self, study_key: str) -> Mapping[str, Json]:
        """Return {trial name: result} of the finished baselines of a study ("single-TASK", "shared")."""
        ...


class AccessStore(Protocol):
    """Keeps tokens, idempotency keys and the audit trail."""

    def add_token(self, token: TokenRecord) -> None:
        """Store a token; raise ConflictError when its id is taken."""
        ...

    def find_token(self, token_id: str) -> TokenRecord | None:
        """Return a token, revoked or expired ones too, or None."""
        ...

    def list_tokens(self, owner: str | None) -> list[TokenRecord]:
        """Return the tokens of an owner, of all for None, newest first."""
        ...

    def revoke_token(self, token_id: str) -> TokenRecord:
        """Revoke a token for good (again changes nothing); raise NotFoundError."""
        ...

    def touch_token(self, token_id: str) -> None:
        """Note that a token was used (to the minute)."""
        ...

    def count_tokens(self) -> int:
        """Return how many tokens there are, revoked ones included: 0 means first start."""
        ...

    def find_response(self, idempotency: Idempotency) -> SavedResponse | None:
        """Return the saved answer of a key, None for a new key; raise IdempotencyMismatchError."""
        ...

    def save_response(self, idempotency: Idempotency, response: SavedResponse) -> None:
        """Save the answer of a request whose change is not made by `submit`."""
        ...

    def purge_responses(self, older_than_seconds: float) -> int:
        """Forget old keys and return how many."""
        ...

    def add_audit(self, owner: str, token_id: str, action: str, resource: str) -> None:
        """Note who did what."""
        ...

    def list_audit(self, limit: int = 100) -> list[AuditRecord]:
        """Return the newest notes first."""
        ...


class FactStore(Protocol):
    """Keeps what was found out about datasets and backbones, one finding per thing."""

    def put_fact(self, kind: str, name: str, fingerprint: str, document: Json) -> FactRecord:
        """Keep a fact in place of the one that was known of the thing, and return it."""
        ...

    def find_fact(self, kind: str, name: str) -> FactRecord | None:
        """Return what is known of a thing, out of date or not, or None."""
        ...

    def list_facts(self, kind: str) -> list[FactRecord]:
        """Return what is known of all things of a kind, by name."""
        ...


class Store(JobStore, RunStore, ResultStore, AccessStore, FactStore, Protocol):
    """Everything, as one object on one database."""

    def now(self) -> datetime:
        """Return the database's time."""
        ...

    def ping(self) -> None:
        """Answer when the database does; raise DatabaseUnavailableError otherwise."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...
