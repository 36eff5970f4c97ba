"""Presets: a person's few words -> a whole JobSpec.

One recipe per preset and family of backbones. "smoke" shows that everything runs, "quick" gives a result worth having
in minutes, "paper" follows Bruggemann et al., BMVC 2020, Sec. 4 and supplement. No torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from models.foreign import check_backbone_name, get_family
from search.data.catalogue import DatasetInfo, resolve_tasks
from search.data.shelf import BUILT_IN, DatasetShelf
from search.errors import InputSizeError, SettingError
from search.spec import (
    DataSpec,
    JobSpec,
    Objective,
    OptimiserSpec,
    SearchSpec,
    TrainSpec,
    WeightsSpec,
    parse_budget,
)


@dataclass(frozen=True)
class PaperRun:
    """How the paper trains on one of its datasets.

    Attributes:
        updates: Updates of the weights in the search, and of the network that is trained after it.
        warmup_updates: Those before the first update of the logits.
        resolution_scale: Side of the images in the search as a share of the input size.
    """

    updates: int
    warmup_updates: int
    resolution_scale: float


PAPER_RUNS = {
    "pascal_context": PaperRun(updates=40_000, warmup_updates=2_000, resolution_scale=1 / 2),
    # Half of everything; of the warm-up the paper does not say so, but its code makes it a share of the whole.
    "nyud": PaperRun(updates=20_000, warmup_updates=1_000, resolution_scale=2 / 3),
}


@dataclass(frozen=True)
class Recipe:
    """What a preset fixes for one family of backbones; sample limits are None for all samples."""

    search: SearchSpec
    retrain: TrainSpec
    augment: bool
    num_train: int | None = None
    num_val: int | None = None

    def data_spec(self, info: DatasetInfo, input_size: tuple[int, int] | None) -> DataSpec:
        """Return which samples of a dataset this recipe takes, at (H, W) in pixels or the dataset's own size.

        Raises:
            InputSizeError: The dataset does not offer this size.
        """
        return DataSpec(
            input_size=_check_size(info, input_size or info.default_size),
            num_train=_at_most(self.num_train, info.num_train),
            num_val=_at_most(self.num_val, info.num_val),
            augment=self.augment,
            fit=info.fit,
            definition=info.definition,
        )

    def follow(self, run: PaperRun, num_train: int) -> Recipe:
        """Return this recipe with as many whole epochs of so many samples as make the paper's updates."""
        weight_samples = num_train - min(max(round(num_train * self.search.arch_fraction), 1), num_train - 1)
        search_batches = max(1, weight_samples // self.search.batch_size)
        epochs = max(2, run.updates // search_batches)
        search = {
            "epochs": epochs,
            "warmup_epochs": min(max(1, run.warmup_updates // search_batches), epochs - 1),
            "resolution_scale": run.resolution_scale,
        }
        train_epochs = max(1, run.updates // max(1, num_train // self.retrain.batch_size))
        return replace(
            self,
            search=self.search.model_copy(update=search),
            retrain=self.retrain.model_copy(update={"epochs": train_epochs}),
        )


_ADAM = OptimiserSpec(method="adam", learning_rate=8e-3, weight_decay=0.0, poly_power=0.9)
_SGD = OptimiserSpec(method="sgd", learning_rate=5e-3)

# A network of a few thousand weights learns from scratch: Adam, larger steps for the logits, and a temperature that
# falls exponentially, which leaves time for the logits to settle among hard choices.
_TINY_SEARCH = SearchSpec(
    starts=2,
    epochs=32,
    warmup_epochs=1,
    batch_size=64,
    arch_fraction=0.4,
    weights=_ADAM,
    arch_learning_rate=3e-2,
    temperature_schedule="exponential",
    budget_by=0.6,
    block_price=0.5,
    drop_below=0.03,
)
_TINY_TRAIN = TrainSpec(epochs=15, batch_size=64, weights=_ADAM.model_copy(update={"learning_rate": 1e-2}))

_PAPER_TRAIN = TrainSpec(epochs=160, batch_size=16, weights=_SGD, dropout=0.1)
_PAPER_SEARCH = SearchSpec(epochs=160, warmup_epochs=8, batch_size=16, resolution_scale=0.5, weights=_SGD)

# From random weights and in minutes, SGD at the paper's rate would learn nothing.
_QUICK_DENSE_SEARCH = SearchSpec(
    epochs=12,
    warmup_epochs=2,
    batch_size=8,
    resolution_scale=0.5,
    weights=OptimiserSpec(method="adam", learning_rate=1e-3, weight_decay=1e-4),
    arch_learning_rate=5e-2,
    temperature_schedule="exponential",
    budget_by=0.5,
    block_price=0.5,
    drop_below=0.03,
)
_QUICK_DENSE_TRAIN = TrainSpec(
    epochs=20, batch_size=8, weights=OptimiserSpec(method="adam", learning_rate=1e-3, weight_decay=1e-4), dropout=0.1
)


RECIPES: dict[tuple[str, str], Recipe] = {
    ("smoke", "tiny"): Recipe(
        _TINY_SEARCH.model_copy(update={"starts": 1, "epochs": 6}),
        _TINY_TRAIN.model_copy(update={"epochs": 3}),
        augment=False,
        num_train=1000,
        num_val=500,
    ),
    ("quick", "tiny"): Recipe(_TINY_SEARCH, _TINY_TRAIN, augment=False),
    ("paper", "tiny"): Recipe(
        _TINY_SEARCH.model_copy(
            update={
                "starts": 1,
                "epochs": 60,
                "warmup_epochs": 3,
                "arch_fraction": 0.2,
                "temperature_schedule": "linear",
                "block_price": 0.0,
                "drop_below": 0.0,
            }
        ),
        _TINY_TRAIN.model_copy(update={"epochs": 30}),
        augment=False,
    ),
    ("smoke", "mobilenet"): Recipe(
        _QUICK_DENSE_SEARCH.model_copy(update={"epochs": 5, "warmup_epochs": 1}),
        _QUICK_DENSE_TRAIN.model_copy(update={"epochs": 6}),
        augment=False,
        num_train=200,
        num_val=40,
    ),
    ("quick", "mobilenet"): Recipe(_QUICK_DENSE_SEARCH, _QUICK_DENSE_TRAIN, augment=True),
    ("paper", "mobilenet"): Recipe(_PAPER_SEARCH, _PAPER_TRAIN, augment=True),
}
for _preset in ("smoke", "quick"):
    RECIPES[_preset, "resnet"] = RECIPES[_preset, "mobilenet"]
RECIPES["paper", "resnet"] = Recipe(  # memory for half the images
    _PAPER_SEARCH.model_copy(update={"batch_size": 8}), _PAPER_TRAIN.model_copy(update={"batch_size": 8}), augment=True
)
# Networks of other packages are as large as ResNets, or larger.
for _preset in ("smoke", "quick", "paper"):
    RECIPES[_preset, "custom"] = RECIPES[_preset, "resnet"]
PRESETS = tuple(dict.fromkeys(preset for preset, _ in RECIPES))


def get_recipe(preset: str, backbone: str, info: DatasetInfo) -> Recipe:
    """Return what a preset fixes for a backbone on a dataset; "paper" trains on the paper's as long as the paper.

    Raises:
        SettingError: No such preset.
    """
    family = get_family(backbone)
    if preset not in PRESETS:
        raise SettingError(f"Unknown preset '{preset}'. Choose one of: {', '.join(PRESETS)}.")
    recipe, run = RECIPES[preset, family], PAPER_RUNS.get(info.name)
    return recipe if run is None or preset != "paper" else recipe.follow(run, info.num_train)


def build_spec(  # noqa: PLR0913 - these are the words a person says
    *,
    dataset: str,
    tasks: Sequence[str] | None,
    backbone: str,
    budgets: Sequence[str],
    seed: int = 0,
    preset: str = "quick",
    objective: Objective = "exact",
    with_retrain: bool = True,
    input_size: tuple[int, int] | None = None,
    weights: WeightsSpec | None = None,
    datasets: DatasetShelf = BUILT_IN,
) -> JobSpec:
    """Return the whole job that a person's words stand for.

    Args:
        dataset: Its name on the shelf.
        tasks: Names of its tasks in any order, None for all.
        backbone: Name in the catalogue.
        budgets: One or more, such as "9.1G", "550M" or "60%".
        seed: Names all the randomness of the job.
        preset: "smoke", "quick" or "paper".
        objective: How the expected cost is computed.
        with_retrain: Whether candidates and baselines are trained and evaluated.
        input_size: (H, W) in pixels; None takes the dataset's default.
        datasets: The datasets that can be named.
        weights: The file that encoders start from, as `search.weights_shelf` found it; None for random weights.

    Raises:
        SearchError, ModelsError: A name is unknown or a value out of range; the sentence says what to do.
    """
    info = datasets.get_trainable(dataset)
    chosen = tuple(task.name for task in resolve_tasks(info, tasks))
    check_backbone_name(backbone)
    recipe = get_recipe(preset, backbone, info)
    if not budgets:
        raise SettingError("A search needs at least one budget such as 60% or 9.1G, got none. Add --budget.")
    if not 0 <= seed < 2**31:
        raise SettingError(f"The seed must lie between 0 and {2**31 - 1}, got {seed}.")
    return JobSpec(
        dataset=dataset,
        tasks=chosen,
        backbone=backbone,
        budgets=tuple(dict.fromkeys(parse_budget(budget) for budget in budgets)),
        seed=seed,
        preset=preset,
        objective=objective,
        with_retrain=with_retrain,
        data=recipe.data_spec(info, input_size),
        search=recipe.search,
        retrain=recipe.retrain,
        weights=weights,
    )


def _at_most(limit: int | None, available: int) -> int | None:
    """Return a limit on the samples of a split that has so many, None for all of them."""
    return None if limit is None else min(limit, available)


def _check_size(info: DatasetInfo, size: tuple[int, int]) -> tuple[int, int]:
    """Return the size, or refuse one that the dataset does not offer."""
    smallest, largest = info.sizes
    if not all(smallest <= side <= largest for side in size):
        allowed = f"{smallest}x{smallest} only" if smallest == largest else f"{smallest} to {largest} pixels a side"
        raise InputSizeError(f"Dataset '{info.name}' offers {allowed}, got {size[0]}x{size[1]}.")
    return size
