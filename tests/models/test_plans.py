"""The backbones in numbers, against their facts and against each other."""

from itertools import pairwise

import pytest

from models.catalogue import BACKBONES
from models.errors import UnknownBackboneError
from models.plans import get_plan


@pytest.mark.parametrize("name", BACKBONES)
def test_plans_agree_with_the_facts(name: str) -> None:
    """Number of layers and output stride are those of the catalogue."""
    plan, info = get_plan(name), BACKBONES[name]
    stride = plan.stem_stride * (2 if plan.stem_pools else 1)
    for layer in plan.layers:
        stride *= layer.stride
    assert len(plan.layers) == info.num_layers
    assert stride == info.output_stride


@pytest.mark.parametrize("name", BACKBONES)
def test_every_layer_takes_what_the_one_before_gives(name: str) -> None:
    """Channels fit from layer to layer, names are unique, and the low-level layer is one of them."""
    layers = get_plan(name).layers
    assert all(before.out_channels == after.in_channels for before, after in pairwise(layers))
    assert len({layer.name for layer in layers}) == len(layers)
    assert 0 <= get_plan(name).low_level_layer < len(layers)


def test_unknown_backbones_have_no_plan() -> None:
    """A name outside the table raises the room's own error."""
    with pytest.raises(UnknownBackboneError, match="resnet152"):
        get_plan("resnet152")
