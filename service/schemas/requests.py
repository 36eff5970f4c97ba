"""Bodies of requests: what a person may ask, strictly typed, no unknown keys. Neighbour: `web.planning.jobs`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from search.errors import BudgetError
from search.presets import PRESETS
from search.spec import parse_budget
from search.weights_shelf import NO_WEIGHTS

MAX_CANDIDATES = 64
_BUDGET_RULE = "A budget is a whole number of MAdds such as 1200000, or text such as 9.1G, 550M or 60%."
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_BUT_LINES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _one_line(text: str) -> str:
    """Return a text without control characters, or refuse it."""
    if _CONTROL.search(text):
        raise ValueError("Control characters are not allowed here.")
    return text


def _lines(text: str) -> str:
    """Return a text without control characters but tabs and line ends, or refuse it."""
    if _CONTROL_BUT_LINES.search(text):
        raise ValueError("Control characters other than tabs and line ends are not allowed here.")
    return text


def _budget(value: Any) -> str:
    """Return a budget in canonical form."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str) or len(str(value)) > 40:
        raise ValueError(_BUDGET_RULE)
    try:
        return parse_budget(value)
    except BudgetError:
        raise ValueError(_BUDGET_RULE) from None


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line)]
Key = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")]
Labels = Annotated[dict[Key, Annotated[str, Field(max_length=200), AfterValidator(_one_line)]], Field(max_length=32)]
Word = Annotated[str, Field(min_length=1, max_length=64)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Priority = Annotated[int, Field(ge=-100, le=100, description="Higher goes first.")]
Budget = Annotated[
    str,
    BeforeValidator(_budget),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "exclusiveMaximum": 10**18},
                {"type": "string", "pattern": r"^[1-9][0-9]{0,5}([KMG%])?$", "maxLength": 40},
            ],
            "description": _BUDGET_RULE,
        }
    ),
]
Weights = Annotated[
    str,
    Field(
        min_length=1,
        max_length=255,
        pattern=r"^[^/\\\x00-\x1f\x7f]+$",
        description="Weights that encoders start from: none, imagenet or a name in GET /api/v1/weights.",
    ),
]
Preset = Literal["smoke", "quick", "paper"]
assert set(PRESETS) == {"smoke", "quick", "paper"}  # a Literal cannot be made from a table


class RequestBody(BaseModel):
    """Base of all bodies: no unknown keys, no silent conversion, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ResourcesBody(RequestBody):
    """What one trial occupies; fractions share a core or a GPU."""

    cpus: Annotated[float, Field(gt=0, le=1024)] = 1.0
    gpus: Annotated[float, Field(ge=0, le=64)] = 0.0


class JobOptions(RequestBody):
    """How a job is run, whatever it does."""

    name: Name | None = None
    labels: Labels = Field(default_factory=dict)
    priority: Priority = 0
    deadline_seconds: Annotated[float, Field(ge=1, le=10**8, description="From submission on.")] | None = None
    max_attempts: Annotated[int, Field(ge=1, le=20, description="Counted tries per trial.")] = 3
    resources: ResourcesBody = Field(default_factory=ResourcesBody)


class SearchBody(JobOptions):
    """A search: one candidate is searched per budget and seed, then trained and compared with the baselines."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "two digits",
                    "dataset": "digits",
                    "tasks": ["left", "right"],
                    "backbone": "tiny4",
                    "budgets": ["60%", 280000],
                    "seeds": [0],
                    "preset": "smoke",
                    "labels": {"team": "vision"},
                }
            ]
        }
    )

    dataset: Annotated[Word, Field(description="A name in GET /api/v1/datasets.")]
    backbone: Annotated[Word, Field(description="A name in GET /api/v1/backbones.")]
    budgets: Annotated[list[Budget], Field(min_length=1, max_length=16, json_schema_extra={"uniqueItems": True})]
    tasks: Annotated[list[Word], Field(min_length=2, max_length=32, json_schema_extra={"uniqueItems": True})] | None = (
        Field(default=None, description="Names of tasks of the dataset; all of them without it.")
    )
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=16, json_schema_extra={"uniqueItems": True})] = Field(
        default_factory=lambda: [0]
    )
    preset: Preset = "quick"
    objective: Literal["exact", "paper", "sampled"] = "exact"
    input_size: Annotated[list[Annotated[int, Field(ge=1, le=4096)]], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="[H, W] in pixels; the dataset's own without it."
    )
    retrain: Annotated[bool, Field(description="Whether candidates and baselines are trained and measured.")] = True
    weights: Weights = NO_WEIGHTS


class RetrainBody(JobOptions):
    """The training of a network that is already found."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"preset": "quick", "seed": 1}]})

    dataset: Annotated[Word, Field(description="The architecture's own without it.")] | None = None
    preset: Preset = "quick"
    seed: Seed = 0
    weights: Weights = NO_WEIGHTS


class ExportBody(JobOptions):
    """A trained network as a file: json is answered at once, onnx and pt2 are written by a worker."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"format": "onnx"}]})

    format: Literal["json", "onnx", "pt2"]
    tasks: Annotated[list[Word], Field(min_length=1, max_length=32)] | None = Field(
        default=None, description="Keep only the branches that these tasks need."
    )


class JobPatch(RequestBody):
    """What may be changed of a job."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "a better name", "priority": 10}]})

    name: Name | None = None
    labels: Labels | None = None
    priority: Priority | None = None
    notes: Annotated[str, Field(max_length=10_000), AfterValidator(_lines)] | None = None


class TokenBody(RequestBody):
    """An access token to be made."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "laptop", "role": "operator", "expires_in_days": 90}]}
    )

    name: Name
    role: Literal["viewer", "operator", "admin", "worker"]
    owner: Annotated[Name, Field(max_length=100, description="Yourself without it.")] | None = None
    expires_in_days: Annotated[float, Field(gt=0, le=3660, description="Never without it.")] | None = None
