"""The look-up table of costs, against hand counts, torch's own counter and whole branched networks."""

import json
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models.backbones import get_backbone
from models.branched import BranchedNetwork
from models.branching import Branching
from models.catalogue import HeadSpec
from models.errors import BranchingError, InputSizeError, UnknownBackboneError
from models.heads import build_head
from search.costs.cost_table import CostTable
from search.costs.lut import count_madds, measure_costs
from search.data.catalogue import DATASETS, TaskInfo
from search.errors import TaskSetError

TASKS = (TaskInfo("semseg", "segmentation", 5), TaskInfo("depth", "depth", 1), TaskInfo("scene", "classification", 4))


@lru_cache(maxsize=1)
def tiny_costs() -> CostTable:
    """Return the costs of the tiny network with two dense tasks and one of labels."""
    return measure_costs("tiny4", TASKS, (24, 16), image_channels=3)


def routings(num_layers: int, num_tasks: int) -> st.SearchStrategy[list[list[int]]]:
    """Return a strategy of picks per layer and task."""
    row = st.lists(st.integers(0, num_tasks - 1), min_size=num_tasks, max_size=num_tasks)
    return st.lists(row, min_size=num_layers, max_size=num_layers)


def test_the_planted_network_costs_what_a_hand_count_says() -> None:
    """Nine products per input channel, output channel and pixel; one per weight of the linear heads."""
    costs = measure_costs("tiny4", DATASETS["digits"].tasks, (24, 24), image_channels=1)
    block = 9 * 4 * 4
    assert costs.stem_madds == 9 * 4 * 24 * 24
    assert costs.layer_madds == (block * 576, block * 144, block * 144, block * 36, block * 36)
    assert costs.decoder_madds == {"left": 40, "right": 40, "left_group": 8, "right_group": 8}
    assert costs.layer_params == (block + 8,) * 5
    assert costs.stem_params == 36 + 8
    assert costs.decoder_params == {"left": 50, "right": 50, "left_group": 10, "right_group": 10}


@pytest.mark.parametrize("name", ["tiny16", "mobilenet_v2", "resnet18", "resnet50"])
def test_fvcore_counts_half_of_torchs_own_counter(name: str) -> None:
    """PyTorch counts a multiply-add as two operations; part by part its count is exactly twice ours."""
    backbone = get_backbone(name)
    costs = measure_costs(name, TASKS, (65, 96), image_channels=3)
    counts = []
    with torch.device("meta"), torch.no_grad():
        features_BCHW = low_level_BCHW = torch.empty(1, 3, 65, 96)
        for index, part in enumerate([backbone.build_stem(3), *(layer.build() for layer in backbone.layers)]):
            with FlopCounterMode(display=False) as counter:
                features_BCHW = part.eval()(features_BCHW)
            counts.append(counter.get_total_flops())
            if index == backbone.low_level_layer + 1:
                low_level_BCHW = features_BCHW
        for dense, channels in ((True, 5), (True, 1), (False, 4)):
            with FlopCounterMode(display=False) as counter:
                build_head(backbone, dense, channels).eval()(features_BCHW, low_level_BCHW, (65, 96))
            counts.append(counter.get_total_flops())
    ours = [costs.stem_madds, *costs.layer_madds, *costs.decoder_madds.values()]
    assert counts == [2 * madds for madds in ours]


def test_the_totals_are_sums_of_the_parts() -> None:
    """Shared, split and single networks differ by copies of the layers, then by copies of the stem."""
    costs = tiny_costs()
    heads, layers = sum(costs.decoder_madds.values()), sum(costs.layer_madds)
    assert costs.base_madds == costs.stem_madds + heads
    assert costs.shared_madds == costs.stem_madds + layers + heads
    assert costs.split_madds == costs.stem_madds + 3 * layers + heads
    assert costs.single_madds == 3 * costs.stem_madds + 3 * layers + heads
    assert costs.single_params - costs.shared_params == 2 * (costs.stem_params + sum(costs.layer_params))


def test_the_extreme_trees_cost_the_extreme_totals() -> None:
    """All-shared and all-split branchings cost what the table says of them."""
    costs, names = tiny_costs(), [task.name for task in TASKS]
    assert costs.madds(Branching.shared(names, 5)) == costs.shared_madds
    assert costs.params(Branching.shared(names, 5)) == costs.shared_params
    assert costs.madds(Branching.split(names, 5)) == costs.split_madds
    assert costs.encoder_madds(Branching.split(names, 5)) == 3 * sum(costs.layer_madds)


@settings(max_examples=8, deadline=None)
@given(routing_LT=routings(5, 3))
def test_a_tree_costs_what_its_network_costs(routing_LT: list[list[int]]) -> None:
    """Looking up and adding gives the count of the branched network as a whole, in multiply-adds and parameters."""
    branching = Branching.from_routing([task.name for task in TASKS], routing_LT)
    heads = {task.name: HeadSpec(task.kind != "classification", task.channels) for task in TASKS}
    with torch.device("meta"):
        network = BranchedNetwork(get_backbone("tiny4"), heads, 3, branching).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 3, 24, 16, device="meta"))
    assert counter.get_total_flops() == 2 * tiny_costs().madds(branching)
    assert sum(parameter.numel() for parameter in network.parameters()) == tiny_costs().params(branching)


def test_a_restricted_tree_pays_only_for_its_own_heads() -> None:
    """Leaving a task out leaves its head out."""
    names = [task.name for task in TASKS]
    whole = Branching.shared(names, 5)
    part = whole.restricted_to(["depth", "scene"])
    assert tiny_costs().madds(whole) - tiny_costs().madds(part) == tiny_costs().decoder_madds["semseg"]
    assert tiny_costs().params(whole) - tiny_costs().params(part) == tiny_costs().decoder_params["semseg"]


def test_trees_of_other_jobs_are_refused() -> None:
    """A wrong number of layers or an unknown task gives a sentence, not a wrong number."""
    with pytest.raises(BranchingError, match="needs 5 layers, got 4"):
        tiny_costs().madds(Branching.shared(["semseg", "depth"], 4))
    with pytest.raises(TaskSetError, match="got edge"):
        tiny_costs().params(Branching.shared(["semseg", "edge"], 5))


def test_unmeasurable_requests_are_refused() -> None:
    """An unknown backbone and a size below its strides raise their own errors."""
    with pytest.raises(UnknownBackboneError):
        measure_costs("vgg", TASKS, (64, 64), image_channels=3)
    with pytest.raises(InputSizeError, match="32x32"):
        measure_costs("resnet50", TASKS, (16, 64), image_channels=3)


def test_measuring_leaves_the_random_numbers_alone() -> None:
    """A run draws the same numbers whether its costs were measured or looked up."""
    before = torch.get_rng_state()
    measure_costs("mobilenet_v2", TASKS, (36, 40), image_channels=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_second_measurement_reads_the_file_of_the_first(tmp_path: Path) -> None:
    """What the file says is believed, for tasks of other names and order as well."""
    measure_costs("tiny4", TASKS, (24, 16), image_channels=3, cache_dir=tmp_path / "costs")
    (path,) = (tmp_path / "costs").iterdir()
    document = json.loads(path.read_text())
    document["stem"][0] = 123
    path.write_text(json.dumps(document))
    renamed = (TaskInfo("scene type", "classification", 4), TaskInfo("height", "depth", 1), TASKS[0])
    again = measure_costs("tiny4", renamed, (24, 16), image_channels=3, cache_dir=tmp_path / "costs")
    assert again.stem_madds == 123
    assert again.decoder_madds["height"] == tiny_costs().decoder_madds["depth"]


@pytest.mark.parametrize("change", [{"image_channels": 1}, {"input_size": (24, 24)}, {"tasks": TASKS[:2]}])
def test_another_request_gets_another_file(tmp_path: Path, change: dict[str, object]) -> None:
    """Size, image channels and heads all name the file."""
    image_channels = 1 if "image_channels" in change else 3
    size = (24, 24) if "input_size" in change else (24, 16)
    tasks = TASKS[:2] if "tasks" in change else TASKS
    measure_costs("tiny4", TASKS, (24, 16), image_channels=3, cache_dir=tmp_path)
    measure_costs("tiny4", tasks, size, image_channels=image_channels, cache_dir=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("content", ["", "{", '{"stem": [1, 2]}', "[]", "\x00"])
def test_an_unreadable_file_is_measured_again_and_mended(tmp_path: Path, content: str) -> None:
    """A cut or foreign file changes no cost, and the next reader finds a good one."""
    measure_costs("tiny4", TASKS, (24, 16), image_channels=3, cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    good = path.read_text()
    path.write_text(content)
    assert measure_costs("tiny4", TASKS, (24, 16), image_channels=3, cache_dir=tmp_path) == tiny_costs()
    assert path.read_text() == good


@pytest.mark.parametrize(
    ("part", "value"), [("key", "another"), ("layers", [[1, 1]]), ("heads", []), ("stem", [-1, 1])]
)
def test_a_file_of_another_shape_is_measured_again(tmp_path: Path, part: str, value: object) -> None:
    """A well-formed file that cannot be this request's answer is not believed."""
    measure_costs("tiny4", TASKS, (24, 16), image_channels=3, cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_text(json.dumps({**json.loads(path.read_text()), part: value}))
    assert measure_costs("tiny4", TASKS, (24, 16), image_channels=3, cache_dir=tmp_path) == tiny_costs()


def test_a_folder_that_cannot_be_written_is_no_hindrance(tmp_path: Path) -> None:
    """Where a file stands in the folder's place the costs are measured and nothing is written."""
    (tmp_path / "costs").write_text("not a folder")
    costs = measure_costs("tiny4", TASKS, (24, 16), image_channels=3, cache_dir=tmp_path / "costs")
    assert costs == tiny_costs()
    assert [path.name for path in tmp_path.iterdir()] == ["costs"]


def test_a_failed_write_leaves_no_half_file(tmp_path: Path) -> None:
    """Where the final name is taken by a folder, the temporary file is cleared away."""
    measure_costs("tiny4", TASKS, (24, 16), image_channels=3, cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    path.unlink()
    path.mkdir()
    measure_costs("tiny4", TASKS, (24, 16), image_channels=3, cache_dir=tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_only_convolutions_and_linear_layers_are_counted() -> None:
    """Norms, activations and pooling cost nothing; a bias adds nothing."""
    network = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 5)
    )
    assert count_madds(network.eval(), (torch.zeros(1, 2, 6, 6),)) == 18 * 3 * 16 + 60
