"""How a server behaves, as one frozen value; `service.serve` fills it, `service.app.create_app` is handed it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

from db.questions import QueueLimits


@dataclass(frozen=True)
class RateLimits:
    """How much one caller may ask: token buckets, refilled evenly.

    Attributes:
        requests_per_second: Of one access token, in the long run.
        burst: Requests of one access token at once.
        worker_requests_per_second: Of one worker's or attempt's token.
        worker_burst: Requests of one worker's or attempt's token at once.
        failures_per_minute: Wrong or missing tokens from one address, in the long run.
        failure_burst: Wrong or missing tokens from one address at once.
    """

    requests_per_second: float = 200.0
    burst: int = 1000
    worker_requests_per_second: float = 500.0
    worker_burst: int = 5000
    failures_per_minute: float = 20.0
    failure_burst: int = 30


@dataclass(frozen=True)
class EventLimits:
    """How events are followed.

    Attributes:
        poll_seconds: Pause between two looks at the database, one look for all clients.
        ping_seconds: Longest silence on a stream.
        max_streams: Streams at a time.
        queue_size: Events waiting for one client; beyond that it reads them from the database.
    """

    poll_seconds: float = 0.3
    ping_seconds: float = 15.0
    max_streams: int = 500
    queue_size: int = 500


@dataclass(frozen=True)
class ServerSettings:
    """What `create_app` needs to know.

    Attributes:
        storage_root: Absolute path or fsspec URL under which all files of trials lie.
        data_dir: Folder of the server's own files.
        datasets_dir: Folder of the datasets made of files; None for none.
        weights_dir: Folder of the files that networks can start from; None for none.
        secret: At least 32 random bytes; signs page tokens and the tokens of attempts.
        code_version: Version of this program; workers of another one get no work.
        lease_seconds: How long an attempt holds its trial without a heartbeat.
        heartbeat_seconds: How often workers are told to send one.
        sweep_seconds: Pause between two looks for leases that ran out. With the longest pause before a trial's next
            attempt and the worker's between two questions it must stay within the minute that the README promises.
        history_seconds: How long after its end the lines and events of a job are kept; figures and results stay.
        max_body_bytes: Longest body of a request.
        max_worker_body_bytes: Longest body of a worker's request, which may be a batch of long lines.
        allowed_hosts: Names under which the server may be addressed, without port; "*" for any.
        rate_limits: How much one caller may ask.
        queue_limits: How many unfinished jobs are accepted.
        events: How events are followed.
        draining: Set when the server is about to end: it is not ready any more, hands out no work and ends streams.
    """

    storage_root: str
    data_dir: Path
    secret: bytes
    code_version: str
    datasets_dir: Path | None = None
    weights_dir: Path | None = None
    lease_seconds: float = 90.0
    heartbeat_seconds: float = 10.0
    sweep_seconds: float = 5.0
    history_seconds: float = 90 * 86_400.0
    max_body_bytes: int = 1 << 20
    max_worker_body_bytes: int = 8 << 20
    allowed_hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    rate_limits: RateLimits = field(default_factory=RateLimits)
    queue_limits: QueueLimits = field(default_factory=QueueLimits)
    events: EventLimits = field(default_factory=EventLimits)
    draining: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Refuse a secret that could be guessed."""
        if len(self.secret) < 32:
            raise ValueError(f"The secret must have at least 32 bytes, got {len(self.secret)}. Make a new one.")
