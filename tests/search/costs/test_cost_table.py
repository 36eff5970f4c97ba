"""The cost table filled by arithmetic, against the look-up table that fvcore measured on the networks."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.catalogue import BACKBONES
from models.errors import InputSizeError, UnknownBackboneError
from search.costs.cost_table import compute_costs
from search.costs.lut import measure_costs
from search.data.catalogue import DATASETS, TaskInfo

TASKS = (TaskInfo("semseg", "segmentation", 5), TaskInfo("depth", "depth", 1), TaskInfo("scene", "classification", 4))


@pytest.mark.parametrize("image_channels", [1, 3])
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 40), (97, 33)])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_arithmetic_equals_fvcore_in_every_part(backbone: str, size: tuple[int, int], image_channels: int) -> None:
    """Every backbone, at even, odd and oblong sizes: the same MAdds and parameters in every part, to the last one."""
    assert compute_costs(backbone, TASKS, size, image_channels) == measure_costs(backbone, TASKS, size, image_channels)


@settings(max_examples=20)
@given(
    backbone=st.sampled_from([name for name in BACKBONES if name not in ("resnet50", "resnet101")]),
    sides=st.tuples(st.integers(0, 80), st.integers(0, 80)),
    image_channels=st.integers(1, 5),
    kinds=st.lists(st.tuples(st.sampled_from(["depth", "classification"]), st.integers(1, 50)), min_size=1, max_size=4),
)
def test_arithmetic_equals_fvcore_at_any_size(
    backbone: str, sides: tuple[int, int], image_channels: int, kinds: list[tuple[str, int]]
) -> None:
    """Any allowed size, any number of channels, any heads."""
    smallest = BACKBONES[backbone].min_size
    size = (smallest + sides[0], smallest + sides[1])
    tasks = [
        TaskInfo(f"task{index}", "depth" if kind == "depth" else "classification", channels)
        for index, (kind, channels) in enumerate(kinds)
    ]
    assert compute_costs(backbone, tasks, size, image_channels) == measure_costs(backbone, tasks, size, image_channels)


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet50"])
@pytest.mark.parametrize("dataset", ["scenes", "pascal_context", "nyud"])
def test_arithmetic_equals_fvcore_at_the_sizes_of_the_datasets(backbone: str, dataset: str) -> None:
    """The datasets' own sizes, up to 512x512 and 425x560."""
    info = DATASETS[dataset]
    asked = (backbone, info.tasks, info.default_size, info.image_channels)
    assert compute_costs(*asked) == measure_costs(*asked)


def test_the_digits_cost_the_same_on_every_small_network() -> None:
    """The demo's dataset at its only size."""
    info = DATASETS["digits"]
    for backbone in ("tiny4", "tiny8", "tiny16"):
        asked = (backbone, info.tasks, info.default_size, info.image_channels)
        assert compute_costs(*asked) == measure_costs(*asked)


def test_requests_without_a_network_are_refused() -> None:
    """An unknown backbone and images too small for the strides are refused as measuring refuses them."""
    with pytest.raises(UnknownBackboneError, match="resnet152"):
        compute_costs("resnet152", TASKS, (64, 64), 3)
    with pytest.raises(InputSizeError, match="at least 32x32"):
        compute_costs("resnet18", TASKS, (64, 31), 3)


def test_costs_are_known_without_torch() -> None:
    """The web process computes a cost without loading torch, fvcore or numpy."""
    code = (
        "import sys; from search.costs.cost_table import compute_costs; from search.data.catalogue import DATASETS; "
        "print(compute_costs('tiny4', DATASETS['digits'].tasks, (24, 24), 1).single_madds); "
        "assert not {'torch', 'fvcore', 'numpy', 'scipy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) > 0
