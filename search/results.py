"""`results.json`: a study, its baselines and the candidates it found, as frozen values.

`search.pipeline` fills them, the command line and the report read them. Pure: no torch, no I/O.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from search.costs.cost_table import CostTable
from search.data.catalogue import TaskKind
from search.errors import StateFileError
from search.spec import OptionalWeights, WeightsSpec
from search.strict_json import describe_validation, read_strict_json

Name = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=0)]
Side = Annotated[int, Field(ge=1)]
HistoryRow = dict[str, float]
History = dict[str, tuple[HistoryRow, ...]]
WAITING = "waiting"
"""Figure in a row of history: share of the epoch that training waited for samples; differs from run to run."""


def _is_none(value: object) -> bool:
    """Return whether an optional part is not there; documents leave it out."""
    return value is None


class _Frozen(BaseModel):
    """Base of all parts: frozen, no unknown keys, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StudyTask(_Frozen):
    """One task of a study: kind, output channels, and the metric it is judged by."""

    kind: TaskKind
    channels: Side
    metric: Name
    higher_is_better: bool


class StudyCosts(_Frozen):
    """What networks of this study cost, in MAdds of one image and in parameters.

    Attributes:
        stem_madds: The stem, once.
        layer_names: Names of the L encoder layers.
        layer_madds: One copy of each of the L layers.
        decoder_madds: The head of each task.
        shared_madds: Everything shared but the heads: the cheapest tree.
        split_madds: One stem, everything else separate: the dearest tree.
        single_madds: T separate networks with stems of their own.
        shared_params: Parameters of the cheapest tree; None where they were not counted.
        single_params: Parameters of T separate networks; None where they were not counted.
        layer_params: Parameters of one copy of each of the L layers; empty where they were not counted.
    """

    stem_madds: Count
    layer_names: tuple[Name, ...]
    layer_madds: tuple[Count, ...]
    decoder_madds: dict[str, Count]
    shared_madds: Count
    split_madds: Count
    single_madds: Count
    shared_params: Count | None = None
    single_params: Count | None = None
    layer_params: tuple[Count, ...] = ()

    @classmethod
    def of(cls, costs: CostTable) -> StudyCosts:
        """Return what stands of a look-up table in results."""
        return cls(
            stem_madds=costs.stem_madds,
            layer_names=costs.layer_names,
            layer_madds=costs.layer_madds,
            layer_params=costs.layer_params,
            decoder_madds=dict(costs.decoder_madds),
            shared_madds=costs.shared_madds,
            split_madds=costs.split_madds,
            single_madds=costs.single_madds,
            shared_params=costs.shared_params,
            single_params=costs.single_params,
        )


class Study(_Frozen):
    """What makes results comparable: data, tasks, backbone, input size and recipe; and what names the run."""

    dataset: Name
    dataset_fingerprint: str
    tasks: Annotated[dict[str, StudyTask], Field(min_length=1)]
    backbone: Name
    input_size: tuple[Side, Side]
    image_channels: Side
    preset: str
    seed: Count
    objective: Name
    spec_hash: str
    code_version: str
    created: str
    costs: StudyCosts
    weights: OptionalWeights = None


class ClassFigure(_Frozen):
    """The metric of one class; None where the class occurs neither in labels nor in predictions."""

    name: Name
    value: float | None


class SideFigure(_Frozen):
    """A figure that is usually told beside a metric; the unit is "" for a plain number."""

    name: Name
    value: float
    unit: str = ""


class MetricDetails(_Frozen):
    """What stands behind a metric.

    Attributes:
        per_class: One row per class in the order of the classes, in the metric's own unit; empty without classes.
        figures: The side figures that are usual for the kind of task.
    """

    per_class: tuple[ClassFigure, ...] = ()
    figures: tuple[SideFigure, ...] = ()


class MetricValue(_Frozen):
    """A measured metric of one task, in the metric's own unit, with what stands behind it where that was kept."""

    metric: Name
    value: float
    higher_is_better: bool
    details: Annotated[MetricDetails | None, Field(exclude_if=_is_none)] = None


class Latency(_Frozen):
    """How long a network takes for one image: the median of some passes, on one device.

    Attributes:
        latency_ms: Milliseconds of a forward pass of one image in evaluation mode.
        device: Name of the processor or the GPU.
        threads: Threads of the processor that the pass could use.
        num_passes: Passes that were timed.
    """

    latency_ms: Annotated[float, Field(gt=0)]
    device: Name
    threads: Side
    num_passes: Side


OptionalLatency = Annotated[Latency | None, Field(exclude_if=_is_none)]


class WeightsNote(_Frozen):
    """What a network started from: the file, how many parameters it gave, and how many were drawn at random."""

    file: WeightsSpec
    loaded: Count
    new: Count
    unused: Count


OptionalWeightsNote = Annotated[WeightsNote | None, Field(exclude_if=_is_none)]


class Evaluation(_Frozen):
    """`evaluation.json`: what a trained network reached on the validation samples, and how it got there.

    Attributes:
        preset: The recipe it was trained by.
        madds: Multiply-adds of one image.
        params: Parameters.
        metrics: Per task.
        history: One row per epoch.
        latency: How long it takes for one image, on the device that trained it; differs from run to run.
        weights: What it started from; None for random weights.
        computed: How it was trained, e.g. "bfloat16, channels last, 2 processes"; None for float32 by one process.
    """

    preset: str
    madds: Count
    params: Count
    metrics: dict[str, MetricValue]
    history: tuple[HistoryRow, ...]
    latency: OptionalLatency = None
    weights: OptionalWeightsNote = None
    computed: Annotated[str | None, Field(exclude_if=_is_none)] = None

    def to_json_bytes(self) -> bytes:
        """Return the document as UTF-8 JSON, newline at the end."""
        return f"{json.dumps(self.model_dump(mode='json'), indent=2, allow_nan=False)}\n".encode()

    @classmethod
    def from_json_bytes(cls, content: bytes, source_name: str = "evaluation.json") -> Evaluation:
        """Return the evaluation that `to_json_bytes` wrote.

        Raises:
            StateFileError: Not such a document.
        """
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            reason = describe_validation(error).rstrip(".")
        raise StateFileError(f"The state file {source_name} is corrupt: {reason}. Delete it to run this stage again.")


class SingleBaseline(_Frozen):
    """T separate networks: what delta_m is measured against; their latency is that of one after the other."""

    madds: Count
    params: Count
    metrics: dict[str, MetricValue]
    latency: OptionalLatency = None


class SharedBaseline(_Frozen):
    """One encoder for all tasks; delta_m in percent."""

    madds: Count
    params: Count
    metrics: dict[str, MetricValue]
    delta_m: float
    latency: OptionalLatency = None


class Baselines(_Frozen):
    """Both baselines of a study."""

    single: SingleBaseline
    shared: SharedBaseline


class Candidate(_Frozen):
    """One branched network that the search found.

    Attributes:
        name: Unique within the study.
        budget_madds: Budget of the whole network; None where there was none.
        madds: Multiply-adds of one image.
        params: Parameters.
        delta_m: Multi-task gain over the single baseline in percent; None when it was not retrained.
        metrics: Per task; None when it was not retrained.
        architecture: Path of its architecture.json below the folder of results.json, with forward slashes.
        seed: Seed of the trial.
        latency: How long it takes for one image; None when it was not retrained.
    """

    name: Name
    budget_madds: Count | None
    madds: Count
    params: Count
    delta_m: float | None
    metrics: dict[str, MetricValue] | None
    architecture: Name
    seed: Count
    latency: OptionalLatency = None


class Results(_Frozen):
    """All that a run found.

    Attributes:
        study: What was asked.
        baselines: None when nothing was retrained.
        candidates: The networks found, in the order of their budgets.
        front: Names of the candidates on the Pareto front.
        history: Per stage, rows of {"step": n, figure: value}; see `thin_history`.
    """

    study: Study
    baselines: Baselines | None
    candidates: tuple[Candidate, ...]
    front: tuple[str, ...]
    history: History = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_names(self) -> Results:
        """Refuse repeated candidates, a front of unknown ones, and metrics of other tasks."""
        names = [candidate.name for candidate in self.candidates]
        if len(set(names)) != len(names):
            raise ValueError(f"candidate names must be distinct, got {names}")
        unknown = [name for name in self.front if name not in names]
        if unknown:
            raise ValueError(f"'front' names the candidates {unknown}, which are not in {names}")
        measured = [candidate.metrics for candidate in self.candidates if candidate.metrics is not None]
        if self.baselines is not None:
            measured += [self.baselines.single.metrics, self.baselines.shared.metrics]
        for metrics in measured:
            if set(metrics) != set(self.study.tasks):
                raise ValueError(f"metrics must be those of the tasks {list(self.study.tasks)}, got {list(metrics)}")
        return self

    def to_json_bytes(self) -> bytes:
        """Return the document as UTF-8 JSON, keys in a fixed order, newline at the end."""
        text = json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
        return f"{text}\n".encode()

    @classmethod
    def from_json_bytes(cls, content: bytes, source_name: str = "results.json") -> Results:
        """Return the results that `to_json_bytes` wrote.

        Args:
            content: UTF-8 JSON.
            source_name: What to call the file in an error.

        Raises:
            StateFileError: Not such a document.
        """
        try:
            return read_strict_json(cls, content)
        except ValueError as error:
            message = f"{source_name} is not a usable results file: {error}. Run the search again."
            raise StateFileError(message) from None


def add_latencies(latencies: Sequence[Latency | None]) -> Latency | None:
    """Return the latency of networks that run one after the other; None where one, or its device, is not the same."""
    known = [latency for latency in latencies if latency is not None]
    if len(known) < len(latencies) or len({(latency.device, latency.threads) for latency in known}) != 1:
        return None
    total_ms = sum(latency.latency_ms for latency in known)
    return known[0].model_copy(
        update={"latency_ms": total_ms, "num_passes": min(latency.num_passes for latency in known)}
    )


def thin_history(history: Mapping[str, Sequence[Mapping[str, object]]], max_rows: int = 150) -> History:
    """Return a history of at most `max_rows` rows per stage, first and last kept, plain finite figures only.

    Args:
        history: Per stage, rows of {figure: value} in order. What is no number, or not finite, is left out. A row
            without "step" gets its "epoch" as its step, or else its place in the list, from 1.
        max_rows: Rows to keep of each stage, at least 2.
    """
    thinned: History = {}
    for stage, rows in history.items():
        kept = min(len(rows), max_rows)
        picks = [round(index * (len(rows) - 1) / max(kept - 1, 1)) for index in range(kept)]
        thinned[stage] = tuple({"step": float(pick + 1), **_figures(rows[pick])} for pick in picks)
    return thinned


def _figures(row: Mapping[str, object]) -> HistoryRow:
    """Return the finite numbers of a row, its epoch as its step where it has no step of its own."""
    figures = {
        "step" if name == "epoch" and "step" not in row else name: float(value)
        for name, value in row.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return {name: value for name, value in figures.items() if math.isfinite(value)}
