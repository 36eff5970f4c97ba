"""JobSpec: all that a person asks of a run, frozen, validated and hashed.

One sub-spec per stage. The same object travels through the command line, the service and the method; its canonical
JSON is hashed, and hash, seed and code version name a run. No torch here, so that a web process can validate jobs.
"""

from __future__ import annotations

import hashlib
import json
import re
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from search.errors import BudgetError, InputSizeError, SettingError

Objective = Literal["exact", "paper", "sampled"]
Fit = Literal["resize", "pad"]
_BUDGET = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[KMG%]?)", re.ASCII)
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


def parse_budget(text: str | int) -> str:
    """Return a budget in canonical form: MAdds as a whole number ("9100000000") or a share of the single cost ("60%").

    Args:
        text: For example "9.1G", "550M", "1200000" or "60%".

    Raises:
        BudgetError: Malformed, zero, less than one MAdd or 10^18 of them, over a million percent.
    """
    match = _BUDGET.fullmatch(str(text).strip())
    # In decimals, since 9.1 is no binary number; 18 digits times a unit stay exact in them.
    number = Decimal(match["number"]) if match and len(match["number"]) <= 18 else Decimal(0)
    percentage = match is not None and match["unit"] == "%"
    madds = 0 if match is None or percentage else round(number * _UNITS[match["unit"]])
    if not (0 < number <= 10**6 if percentage else 0 < madds < 10**18):
        raise BudgetError(
            f"A budget is a number of MAdds such as 9.1G, 550M or 1200000, or a percentage of the single-task total "
            f"such as 60%, got {str(text)[:40]!r}."
        )
    return f"{number.normalize():f}%" if percentage else str(madds)


def resolve_budget(budget: str, single_madds: int) -> int:
    """Return the MAdds that a canonical budget allows, given the total of the single-task networks."""
    if budget.endswith("%"):
        return int(Fraction(budget[:-1]) * single_madds // 100)
    return int(budget)


def budget_name(budget: str) -> str:
    """Return the name of the candidate of a canonical budget: "60%" -> "60pct", "9100000000" -> "9.1G"."""
    if budget.endswith("%"):
        return f"{budget[:-1]}pct"
    for unit, size in (("G", 10**9), ("M", 10**6), ("K", 10**3)):
        text = f"{int(budget) / size:g}"
        if int(budget) >= size and round(float(text) * size) == int(budget):
            return f"{text}{unit}"
    return budget


def parse_size(text: str) -> tuple[int, int]:
    """Return (H, W) from "HxW" or a single side.

    Raises:
        InputSizeError: Malformed.
    """
    match = re.fullmatch(r"(\d{1,5})(?:[xX](\d{1,5}))?", text.strip(), re.ASCII)
    if match is None:
        raise InputSizeError(f"A size is HEIGHTxWIDTH in pixels such as 128x128, got {text[:40]!r}.")
    return int(match[1]), int(match[2] or match[1])


class _Frozen(BaseModel):
    """Base of all specs: frozen, no unknown keys, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class WeightsSpec(_Frozen):
    """Which weights the encoders of a job start from; `search.weights_shelf` finds the file.

    Attributes:
        file: Name of the file, without any folder.
        sha256: Of its content, in hexadecimal.
    """

    file: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^/\\\x00]+$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _is_none(value: object) -> bool:
    """Return whether an optional part is not there; documents leave it out."""
    return value is None


OptionalWeights = Annotated[WeightsSpec | None, Field(exclude_if=_is_none)]
"""None for random weights; left out of documents then, which keeps the hashes of older jobs."""


def _is_resize(fit: object) -> bool:
    """Return whether images are stretched to the input size."""
    return fit == "resize"


OptionalDefinition = Annotated[str | None, Field(exclude_if=_is_none)]
"""None for built-in datasets, and left out of documents then, so that the hashes of their jobs stay what they were."""


class DataSpec(_Frozen):
    """Which samples a run sees.

    Attributes:
        input_size: (H, W) in pixels at which networks are retrained, evaluated and counted.
        num_train: Training samples to use, from the first; None for all.
        num_val: Validation samples to use, from the first; None for all.
        augment: Whether training images are flipped, scaled and cropped at random.
        fit: How images that come in other sizes are brought to the input size: stretched, or padded as they are.
        definition: SHA-256 of what a person's own dataset was defined as when the job was made; None for built-in ones.
    """

    input_size: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
    num_train: Annotated[int, Field(ge=2)] | None = None
    num_val: Annotated[int, Field(ge=1)] | None = None
    augment: bool = False
    fit: Annotated[Fit, Field(exclude_if=_is_resize)] = "resize"  # left out where stretched, as `definition`
    definition: OptionalDefinition = None


class OptimiserSpec(_Frozen):
    """How weights move: SGD with momentum as the paper, or Adam for the small networks trained from scratch."""

    method: Literal["sgd", "adam"]
    learning_rate: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    poly_power: Annotated[float, Field(ge=0)] = 0.9


def _is_one(number: object) -> bool:
    """Return whether a number is 1."""
    return number == 1


class _Batches(_Frozen):
    """What a search and a training have in common: images per step, and in how many micro batches they are taken."""

    batch_size: Annotated[int, Field(ge=2)]
    # Left out of documents where it is 1, which keeps the hashes of jobs from before there was a choice.
    accumulate: Annotated[int, Field(ge=1, exclude_if=_is_one)] = 1

    @model_validator(mode="after")
    def _check_micro_batches(self) -> Self:
        if self.accumulate > self.batch_size:
            raise ValueError(f"accumulate must be at most batch_size, got {self.accumulate} and {self.batch_size}")
        return self


class SearchSpec(_Batches):
    """The search stage.

    Attributes:
        starts: Searches from different weights and noise, of which the best tree is delivered; 1 as the paper.
        epochs: Epochs of each, warm-up included.
        warmup_epochs: Epochs in which op t is trained through task t only and the logits stay at zero.
        batch_size: Images per step, of both passes.
        accumulate: Micro batches that a batch is taken in, one after another, to save memory; see TrainSpec.
        arch_fraction: Share of the training samples that trains the logits; the rest trains the weights.
        resolution_scale: Side of the images in the search as a share of the input size.
        weights: How the network weights move.
        arch_learning_rate: Adam's rate for the logits.
        arch_weight_decay: Adam's L2 term for the logits.
        temperature_start: Gumbel-Softmax temperature after the warm-up.
        temperature_end: Temperature of the last epoch.
        temperature_schedule: "linear" as the paper, or "exponential".
        budget_by: Share of the epochs after the warm-up by which the expected cost must have come down to the budget.
        resource_weight: None lets the budget controller find it; a number fixes it (0 switches the term off), in loss
            per share of the single-task cost.
        block_price: What all blocks of T separate encoders cost besides their MAdds, in losses of the first step: a
            branch must earn its keep even where it costs few MAdds. 0 as the paper.
        drop_below: Ops with less probability than this are not evaluated any more; 0 keeps all (as the paper).
    """

    starts: Annotated[int, Field(ge=1, le=20)] = 1
    epochs: Annotated[int, Field(ge=1)]
    warmup_epochs: Annotated[int, Field(ge=0)]
    arch_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    resolution_scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    weights: OptimiserSpec
    arch_learning_rate: Annotated[float, Field(gt=0)] = 0.01
    arch_weight_decay: Annotated[float, Field(ge=0)] = 5e-5
    temperature_start: Annotated[float, Field(gt=0)] = 5.0
    temperature_end: Annotated[float, Field(gt=0)] = 0.1
    temperature_schedule: Literal["linear", "exponential"] = "linear"
    budget_by: Annotated[float, Field(gt=0, le=1)] = 0.4
    resource_weight: Annotated[float, Field(ge=0)] | None = None
    block_price: Annotated[float, Field(ge=0)] = 0.0
    drop_below: Annotated[float, Field(ge=0, lt=0.5)] = 0.0


class TrainSpec(_Batches):
    """Training of one concrete network: candidates and baselines share this recipe.

    Attributes:
        epochs: Passes over the training samples.
        batch_size: Images per step.
        accumulate: Micro batches that a batch is taken in, one after another, to save memory. Their gradients add up to
            that of the batch, but batch norm sees one of them at a time; so it is part of the recipe.
        weights: How the weights move; the rate of an op shared by n tasks is divided by n.
        dropout: Dropout in the ASPP module.
    """

    epochs: Annotated[int, Field(ge=1)]
    weights: OptimiserSpec
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


def _canonical_budget(text: str) -> str:
    """Return the canonical form of a budget, for pydantic."""
    return parse_budget(text)


class JobSpec(_Frozen):
    """One job: search a branching per budget, retrain it, and compare it with the baselines.

    `search.presets.build_spec` fills it from a person's words. Tasks stand in the dataset's own order, so that the
    order in which a person names them changes nothing.
    """

    dataset: str
    tasks: Annotated[tuple[str, ...], Field(min_length=2)]
    backbone: str
    budgets: Annotated[tuple[Annotated[str, AfterValidator(_canonical_budget)], ...], Field(min_length=1)]
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    preset: str
    objective: Objective = "exact"
    with_retrain: bool = True
    data: DataSpec
    search: SearchSpec
    retrain: TrainSpec
    weights: OptionalWeights = None

    def canonical_json(self) -> str:
        """Return the one JSON text of this job: keys sorted, no spaces."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    def in_micro_batches(self, accumulate: int) -> JobSpec:
        """Return this job with its batches taken in so many micro batches, to save memory; see `TrainSpec`.

        Raises:
            SettingError: A micro batch would hold no image.
        """
        smallest = min(self.search.batch_size, self.retrain.batch_size)
        if not 1 <= accumulate <= smallest:
            raise SettingError(
                f"A batch of {smallest} images can be taken in 1 to {smallest} micro batches, got {accumulate}. "
                "Ask for fewer with --accumulate."
            )
        search = self.search.model_copy(update={"accumulate": accumulate})
        return self.model_copy(
            update={"search": search, "retrain": self.retrain.model_copy(update={"accumulate": accumulate})}
        )

    @property
    def spec_hash(self) -> str:
        """Return the SHA-256 of the canonical JSON, in hexadecimal."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()
