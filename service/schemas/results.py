"""Bodies of answers about what was found: networks, fronts, estimates."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from db.records.results import ArchitectureRecord
from db.records.states import JobState
from service.schemas.jobs import AnswerBody, JsonObject, Time


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
    metrics: Annotated[
        JsonObject | None, Field(description="Per task {metric, value, higher_is_better}; of one network `details`.")
    ]
    delta_m: Annotated[float | None, Field(description="Gain over single-task networks in percent.")]
    latency_ms: Annotated[float | None, Field(description="Measured for one image on the worker's device.")]
    created_at: Time

    @classmethod
    def of(cls, record: ArchitectureRecord) -> ArchitectureSummary:
        """Return a record as an answer; lists leave out the details of its metrics, which may be long."""
        fields = _architecture_fields(record)
        if fields["metrics"] is not None:
            fields["metrics"] = {task: _leave_out_details(measured) for task, measured in fields["metrics"].items()}
        return cls(**fields)


def _leave_out_details(measured: Any) -> Any:
    """Return a metric without what stands behind it."""
    return (
        {key: value for key, value in measured.items() if key != "details"} if isinstance(measured, dict) else measured
    )


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


class TrialFile(AnswerBody):
    """A file that can be downloaded: its name, size and SHA-256 in hexadecimal."""

    name: str
    bytes: int
    sha256: str


class TrialFileList(AnswerBody):
    """The files of a network or a trial, by name."""

    items: list[TrialFile]


class ArchitecturePage(AnswerBody):
    """A page of architectures."""

    items: list[ArchitectureSummary]
    next_page_token: Annotated[str, Field(description="Absent on the last page.")] = ""


@with_config(ConfigDict(extra="forbid"))
class FrontPoint(TypedDict):
    """One network in a front; x and y are what was asked to be compared. A dict, since there may be thousands."""

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
