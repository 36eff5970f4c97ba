"""One of several processes, tried in a crew of one; two are in tests/search/test_lesson.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from search.training.crew import Alone, Crew
from search.training.ranks import join_ranks
from search.training.synced_norm import GlobalBatchNorm2d

CPU = torch.device("cpu")


@pytest.fixture(params=["alone", "ranks"])
def crew(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Crew]:
    """Return a crew of one, of either kind."""
    if request.param == "alone":
        yield Alone()
        return
    with join_ranks(0, 1, CPU, tmp_path / "meeting") as ranks:
        yield ranks


def test_the_only_one_speaks_for_all(crew: Crew) -> None:
    """It is the first of one, sums are its own values, and all agree with what it says."""
    assert (crew.rank, crew.size) == (0, 1)
    values_N = torch.tensor([1.0, 2.5])
    assert crew.sum(values_N).tolist() == [1.0, 2.5]
    assert [crew.agree(True), crew.agree(False)] == [True, False]


def test_joining_changes_no_number(crew: Crew) -> None:
    """Outputs and gradients are those of the network by itself, also where they are kept apart for a while."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1))
    twin = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1))
    twin.load_state_dict(network.state_dict())
    runner, (one_BCHW, other_BCHW) = crew.join(network), torch.randn(2, 4, 1, 6, 6)
    with crew.apart(runner):
        runner(one_BCHW).square().sum().backward()
    runner(other_BCHW).square().sum().backward()
    (twin(one_BCHW).square().sum() + twin(other_BCHW).square().sum()).backward()
    for mine, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(dict(network.state_dict()), dict(twin.state_dict()))


def test_joining_replaces_the_batch_norms(tmp_path: Path) -> None:
    """Those of a crew see the batches of all; the names of parameters stay those of the network."""
    network = nn.Sequential(nn.BatchNorm2d(2))
    with join_ranks(0, 1, CPU, tmp_path / "meeting") as ranks:
        ranks.join(network)
    assert isinstance(network[0], GlobalBatchNorm2d)
    assert "0.weight" in network.state_dict()
