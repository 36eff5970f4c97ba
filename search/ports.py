"""What a run needs from outside: a place for its events, a place for its files, and word whether to stop.

The stages are handed these; they open no file and print nothing. The shell implements them on a terminal and a folder
(`service`), the in-memory twins below serve tests and notebooks. Pure: no torch, no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from search.data.cache_size import DEFAULT_CACHE_BYTES
from search.data.shelf import BUILT_IN, DatasetShelf
from search.weights_shelf import EMPTY_SHELF, WeightsShelf


@dataclass(frozen=True)
class StageStarted:
    """A stage begins, or goes on after an interruption.

    Attributes:
        stage: Name of the stage, e.g. "search 60%" or "baseline depth".
        first_step: Steps that are already done (more than 0 after a resume).
        total_steps: Steps of the whole stage.
    """

    stage: str
    first_step: int
    total_steps: int


@dataclass(frozen=True)
class StageProgress:
    """A step of a stage is done; `values` holds named figures such as losses or the expected MAdds."""

    stage: str
    step: int
    total_steps: int
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class StageFinished:
    """A stage is done and its result is stored; `reused` when it was found finished and not run again."""

    stage: str
    values: Mapping[str, float] = field(default_factory=dict)
    reused: bool = False


@dataclass(frozen=True)
class Message:
    """A sentence for the person who watches."""

    text: str


Precision = Literal["auto", "fp32", "bf16"]
Event = StageStarted | StageProgress | StageFinished | Message
Cancelled = Callable[[], bool]
SECONDS_BETWEEN_SAVES = 20.0
SAMPLES_NAME = "samples.sha256"
"""File of a run on a dataset made of files: what the samples were when it began."""


class Reporter(Protocol):
    """Takes the events of a run."""

    def emit(self, event: Event) -> None:
        """Take one event; must not raise for what it shows."""
        ...


class ArtifactStore(Protocol):
    """Keeps the files of one run under relative names, e.g. "candidates/60pct/architecture.json"."""

    def write(self, name: str, content: bytes) -> None:
        """Store content under a name, whole or not at all, replacing what was there."""
        ...

    def read(self, name: str) -> bytes:
        """Return the content of a name.

        Raises:
            FileNotFoundError: Nothing is stored under that name.
        """
        ...

    def exists(self, name: str) -> bool:
        """Return whether something is stored under a name."""
        ...

    def delete(self, name: str) -> None:
        """Forget a name; a name that holds nothing is no error."""
        ...


@dataclass(frozen=True)
class Surroundings:
    """What a run is handed from outside.

    Attributes:
        store: Takes its files, and holds those of an earlier, interrupted run of the same job.
        reporter: Takes its events.
        cancelled: Says whether to stop.
        device: "auto", "cpu" or "cuda".
        precision: Format of convolutions in training; "auto" takes bfloat16 where a GPU has it.
        gpus: How many train one network together; a search takes one.
        compiled: Whether networks are compiled before they are trained.
        cache_dir: Folder for look-up tables, rendered and finished samples, shared by all runs.
        cache_bytes: What finished samples may take there.
        now: Tells the time.
        seconds_between_saves: Least time between two checkpoints of a stage; 0 saves after every step.
        datasets: Knows the datasets by name, and where those made of files lie.
        weights: Where the file lies that a job's encoders start from.
    """

    store: ArtifactStore
    reporter: Reporter
    cancelled: Cancelled
    device: str
    cache_dir: Path
    now: Callable[[], datetime]
    seconds_between_saves: float = SECONDS_BETWEEN_SAVES
    cache_bytes: int = DEFAULT_CACHE_BYTES
    precision: Precision = "auto"
    gpus: int = 1
    compiled: bool = False
    datasets: DatasetShelf = BUILT_IN
    weights: WeightsShelf = EMPTY_SHELF


class MemoryReporter:
    """In-memory twin of a reporter: keeps the events in the order they came."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        """Keep one event."""
        self.events.append(event)


class MemoryStore:
    """In-memory twin of an artifact store."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    def write(self, name: str, content: bytes) -> None:
        """Store content under a name."""
        self.contents[name] = bytes(content)

    def read(self, name: str) -> bytes:
        """Return the content of a name, or raise FileNotFoundError."""
        if name not in self.contents:
            raise FileNotFoundError(name)
        return self.contents[name]

    def exists(self, name: str) -> bool:
        """Return whether something is stored under a name."""
        return name in self.contents

    def delete(self, name: str) -> None:
        """Forget a name."""
        self.contents.pop(name, None)


def never_cancelled() -> bool:
    """Return False: the run of a caller who never stops it."""
    return False
