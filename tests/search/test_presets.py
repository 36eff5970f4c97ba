"""Presets: every combination of words gives a whole job, and every wrong word a sentence."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from models.catalogue import BACKBONES
from models.errors import UnknownBackboneError
from search.data.catalogue import DATASETS
from search.errors import BudgetError, DatasetError, InputSizeError, SettingError, TaskSetError, UnknownNameError
from search.judging.tasks import get_loss_weight
from search.presets import PRESETS, build_spec, get_recipe
from search.spec import JobSpec

EMBEDDED = [name for name, info in DATASETS.items() if info.embedded]
DIGITS: dict[str, Any] = {"dataset": "digits", "tasks": ["left", "right"], "backbone": "tiny4", "budgets": ["60%"]}


@pytest.mark.parametrize(("preset", "backbone", "dataset"), list(itertools.product(PRESETS, BACKBONES, EMBEDDED)))
def test_every_combination_gives_a_valid_job(preset: str, backbone: str, dataset: str) -> None:
    """All presets, backbones and datasets go together, within the samples there are, and survive their own JSON."""
    spec = build_spec(dataset=dataset, tasks=None, backbone=backbone, budgets=["60%"], preset=preset)
    info = DATASETS[dataset]
    assert JobSpec.model_validate_json(spec.canonical_json()) == spec
    assert spec.tasks == tuple(task.name for task in info.tasks)
    assert spec.data.input_size == info.default_size
    assert (spec.data.num_train or 2) <= info.num_train
    assert (spec.data.num_val or 1) <= info.num_val
    assert spec.search.warmup_epochs < spec.search.epochs
    assert spec.search.temperature_end < spec.search.temperature_start


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_paper_preset_is_the_papers(backbone: str) -> None:
    """The preset "paper" lowers the temperature linearly from 5.0 to 0.1, splits 20/80 and drops no op."""
    search = build_spec(dataset="scenes", tasks=None, backbone=backbone, budgets=["60%"], preset="paper").search
    assert (search.temperature_start, search.temperature_end, search.temperature_schedule) == (5.0, 0.1, "linear")
    assert (search.arch_fraction, search.drop_below) == (0.2, 0.0)


@given(order=st.permutations(["left", "right", "left_group", "right_group"]), count=st.integers(2, 4))
@examples(max_examples=30)
def test_the_order_of_tasks_changes_nothing(order: list[str], count: int) -> None:
    """Tasks named in any order make the same job with the same hash."""
    named = build_spec(**(DIGITS | {"tasks": order[:count]}))
    other = build_spec(**(DIGITS | {"tasks": sorted(order[:count])}))
    assert named == other
    assert named.spec_hash == other.spec_hash


@pytest.mark.parametrize(
    ("words", "error", "sentence"),
    [
        ({"dataset": "mnist"}, UnknownNameError, "Unknown dataset 'mnist'. Choose one of: digits, scenes"),
        ({"dataset": "nyud", "tasks": None}, DatasetError, "The files of 'nyud' are not here"),
        ({"backbone": "vgg"}, UnknownBackboneError, "Unknown backbone 'vgg'. Choose one of: tiny4"),
        ({"preset": "slow"}, SettingError, "Unknown preset 'slow'. Choose one of: smoke, quick, paper"),
        ({"tasks": ["left", "depth"]}, UnknownNameError, "'digits' has no task 'depth'. Choose from: left"),
        ({"tasks": ["left"]}, TaskSetError, "at least two tasks, got left"),
        ({"tasks": []}, TaskSetError, "at least two tasks, got none"),
        ({"tasks": ["left", "right", "left"]}, TaskSetError, "named once, got left more than once"),
        ({"budgets": []}, SettingError, "at least one budget such as 60% or 9.1G, got none"),
        ({"budgets": ["sixty"]}, BudgetError, "got 'sixty'"),
        ({"seed": -1}, SettingError, "between 0 and 2147483647, got -1"),
        ({"seed": 2**31}, SettingError, "between 0 and 2147483647, got 2147483648"),
        ({"input_size": (32, 24)}, InputSizeError, "24x24 only, got 32x24"),
        ({"dataset": "scenes", "tasks": None, "input_size": (63, 64)}, InputSizeError, "64 to 512 pixels a side"),
    ],
)
def test_wrong_words_get_a_sentence(words: dict[str, Any], error: type[Exception], sentence: str) -> None:
    """A word that cannot be meant is refused by a sentence with what was seen and what there is."""
    with pytest.raises(error) as caught:
        build_spec(**(DIGITS | words))
    assert sentence in str(caught.value)


@pytest.mark.parametrize(("preset", "backbone"), list(itertools.product(PRESETS, BACKBONES)))
def test_a_recipe_alone_is_that_of_a_job(preset: str, backbone: str) -> None:
    """A network that is trained outside a job gets the recipe and the samples it would get in one."""
    spec = build_spec(**(DIGITS | {"preset": preset, "backbone": backbone}))
    recipe = get_recipe(preset, backbone, DATASETS["digits"])
    assert (recipe.search, recipe.retrain) == (spec.search, spec.retrain)
    assert recipe.data_spec(DATASETS["digits"], None) == spec.data


@pytest.mark.parametrize(
    ("dataset", "backbone", "search", "train"),
    [
        # (batch size, epochs, warm-up epochs) of the search, (batch size, epochs) of the training after it
        ("pascal_context", "mobilenet_v2", (16, 160, 8), (16, 128)),
        ("pascal_context", "resnet50", (8, 80, 4), (8, 64)),
        ("nyud", "mobilenet_v2", (16, 512, 25), (16, 408)),
        ("nyud", "resnet50", (8, 253, 12), (8, 202)),
    ],
)
def test_the_paper_is_followed_on_its_datasets(
    dataset: str, backbone: str, search: tuple[int, ...], train: tuple[int, ...]
) -> None:
    """40,000 updates of the weights on PASCAL-Context, half of that on NYUD-v2, in whole epochs."""
    info = DATASETS[dataset]
    recipe = get_recipe("paper", backbone, info)
    assert (recipe.search.batch_size, recipe.search.epochs, recipe.search.warmup_epochs) == search
    assert (recipe.retrain.batch_size, recipe.retrain.epochs) == train
    updates = search[1] * (round(info.num_train * 0.8) // search[0])
    assert 0.98 < updates / (40_000 if dataset == "pascal_context" else 20_000) <= 1
    assert recipe.search.resolution_scale == (0.5 if dataset == "pascal_context" else 2 / 3)


@pytest.mark.parametrize(("dataset", "size"), [("pascal_context", (512, 512)), ("nyud", (425, 560))])
def test_the_papers_images_are_padded_and_augmented(dataset: str, size: tuple[int, int]) -> None:
    """At the paper's sizes; its weights of losses and of edges go with the tasks."""
    info = DATASETS[dataset]
    data = get_recipe("paper", "mobilenet_v2", info).data_spec(info, None)
    assert (data.input_size, data.fit, data.augment, data.num_train) == (size, "pad", True, None)
    assert info.task("edge").positive_weight == (0.95 if dataset == "pascal_context" else 0.8)
    weights = {task.name: get_loss_weight(task) for task in info.tasks}
    assert {"semseg": 1, "parts": 2, "sal": 5, "normals": 10, "edge": 50, "depth": 1}.items() >= weights.items()


@pytest.mark.parametrize("num_train", [2, 3, 17, 100])
def test_few_samples_of_the_paper_make_a_whole_recipe(num_train: int) -> None:
    """A part of a dataset is trained on as long as all of it."""
    info = replace(DATASETS["nyud"], num_train=num_train)
    recipe = get_recipe("paper", "mobilenet_v2", info)
    assert 0 < recipe.search.warmup_epochs < recipe.search.epochs <= 20_000
    assert 0 < recipe.retrain.epochs <= 20_000


def test_a_size_of_ones_own_is_kept() -> None:
    """An input size that the dataset offers replaces its default."""
    spec = build_spec(dataset="scenes", tasks=None, backbone="resnet18", budgets=["60%"], input_size=(64, 96))
    assert spec.data.input_size == (64, 96)
