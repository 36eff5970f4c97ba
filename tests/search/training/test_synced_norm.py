"""Batch norm over several processes: with one process it is torch's own; two are in tests/search/test_lesson.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from models.blocks import PooledBatchNorm2d
from search.training.ranks import join_ranks
from search.training.synced_norm import GlobalBatchNorm2d, use_global_norms

CPU = torch.device("cpu")


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """Stand in a crew of one process."""
    with join_ranks(0, 1, CPU, tmp_path / "meeting"):
        yield


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_one_process_sees_torchs_own_norm(affine: bool, momentum: float | None) -> None:
    """Outputs, gradients and running statistics are those of nn.BatchNorm2d, in training and in evaluation."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4, affine=affine, momentum=momentum)
    twin = nn.BatchNorm2d(4, affine=affine, momentum=momentum)
    shared = GlobalBatchNorm2d.sharing(norm)
    for _ in range(3):
        image_BCHW = 3 + 5 * torch.randn(5, 4, 3, 2)
        left_BCHW, right_BCHW = (image_BCHW.clone().requires_grad_() for _ in range(2))
        shared(left_BCHW).pow(3).sum().backward()
        twin(right_BCHW).pow(3).sum().backward()
        torch.testing.assert_close(left_BCHW.grad, right_BCHW.grad, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(dict(norm.state_dict()), dict(twin.state_dict()))
    image_BCHW = torch.randn(2, 4, 3, 3)
    assert torch.equal(shared.eval()(image_BCHW), norm.eval()(image_BCHW))


def test_norms_are_replaced_with_what_they_hold() -> None:
    """Parameters and statistics are the very same tensors under the same names, and the modes stay."""
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Sequential(PooledBatchNorm2d(2).eval()))
    before = dict(network.state_dict(keep_vars=True))
    use_global_norms(network)
    after = dict(network.state_dict(keep_vars=True))
    assert before.keys() == after.keys()
    assert all(before[name] is after[name] for name in before)
    assert [type(each) for each in network.modules()].count(GlobalBatchNorm2d) == 2
    assert [each.training for each in network.modules() if isinstance(each, nn.BatchNorm2d)] == [True, False]
