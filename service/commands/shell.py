"""What every command gets from the outside: the settings, the engine that does the work, and the process's streams.

`Engine` says what the commands ask of `search.pipeline`; the module itself is one. Loading it imports torch, so that
happens only in the command that needs it and after the request was checked. No torch here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from service.settings import Settings

if TYPE_CHECKING:
    from search.architecture import Architecture
    from search.data.shelf import DatasetShelf
    from search.ports import Surroundings
    from search.results import MetricValue, Results
    from search.spec import JobSpec, WeightsSpec


class Engine(Protocol):
    """Does the work of the commands."""

    def run_job(self, spec: JobSpec, surroundings: Surroundings, /) -> Results:
        """Return the results of a job, going on with whatever the store already holds of it."""
        ...

    def retrain_architecture(
        self,
        architecture: Architecture,
        dataset: str,
        preset: str,
        seed: int,
        surroundings: Surroundings,
        weights: WeightsSpec | None = None,
        /,
    ) -> Mapping[str, MetricValue]:
        """Return the metrics of an architecture after training it, going on with whatever the store holds of it."""
        ...

    def evaluate_candidate(
        self, architecture: Architecture, weights: bytes, preset: str, surroundings: Surroundings, /
    ) -> Mapping[str, MetricValue]:
        """Return the metrics of a trained network, on the validation samples of a preset."""
        ...


@dataclass(frozen=True)
class Shell:
    """The surroundings of one command.

    Attributes:
        settings: What the environment says.
        load_engine: Imports the method, torch with it.
        dataset_files: Datasets that the command names by their files.
    """

    settings: Settings
    load_engine: Callable[[], Engine]
    dataset_files: tuple[Path, ...] = ()

    @property
    def datasets(self) -> DatasetShelf:
        """Return the datasets that can be named on this machine."""
        from search.data.shelf import DatasetShelf  # noqa: PLC0415 - keeps pydantic and YAML out of `bmtas --help`

        return DatasetShelf(self.settings.datasets_dir, self.dataset_files)


def load_pipeline() -> Engine:
    """Return the method itself as an engine."""
    from search import pipeline  # noqa: PLC0415 - imports torch, which only some commands need

    return pipeline
