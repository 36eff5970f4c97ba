"""Optimisers from their specs, and the poly schedule."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from search.spec import OptimiserSpec
from search.training.optimiser import build_optimiser, poly_factor, set_learning_rate

SGD = OptimiserSpec(method="sgd", learning_rate=0.1, momentum=0.5, weight_decay=0.2)
ADAM = OptimiserSpec(method="adam", learning_rate=0.1, weight_decay=0.0)


def test_sgd_is_the_papers_step() -> None:
    """Two steps with momentum and weight decay are those written out by hand."""
    weight = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
    optimiser = build_optimiser([weight], SGD)
    expected, velocity = 1.0, 0.0
    for _ in range(2):
        weight.grad = torch.tensor(3.0, dtype=torch.float64)
        optimiser.step()
        velocity = 0.5 * velocity + 3.0 + 0.2 * expected
        expected -= 0.1 * velocity
    assert weight.item() == pytest.approx(expected, abs=1e-12)


def test_adams_first_step_has_the_length_of_the_rate() -> None:
    """Adam moves by the rate against the gradient's sign, however long the gradient is."""
    weight = nn.Parameter(torch.tensor([1.0, 1.0]))
    optimiser = build_optimiser([weight], ADAM)
    weight.grad = torch.tensor([1e-3, -1e3])
    optimiser.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([0.9, 1.1]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("spec", [SGD, ADAM], ids=["sgd", "adam"])
def test_parameters_without_gradients_stay(spec: OptimiserSpec) -> None:
    """Neither weight decay nor momentum moves a parameter that has no gradient."""
    used, idle = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimiser = build_optimiser([used, idle], spec.model_copy(update={"weight_decay": 0.1}))
    used.grad = torch.ones(2)
    optimiser.step()
    assert torch.equal(idle, torch.ones(2))
    assert not torch.equal(used, torch.ones(2))


@given(done=st.floats(0, 1), power=st.floats(0.1, 3))
def test_the_poly_factor_falls_from_one_to_zero(done: float, power: float) -> None:
    """The factor is 1 at the start, 0 at the end, and never rises in between."""
    assert poly_factor(0.0, power) == 1.0
    assert poly_factor(1.0, power) == 0.0
    assert poly_factor(1.0, power) <= poly_factor(done, power) <= poly_factor(done / 2, power) <= 1.0


def test_a_power_of_zero_keeps_the_rate() -> None:
    """With power 0 the schedule is constant."""
    assert [poly_factor(done, 0.0) for done in (0.0, 0.5, 0.99)] == [1.0, 1.0, 1.0]


def test_groups_get_their_share_of_the_rate() -> None:
    """A group with a share gets that part of the rate, a group without one the whole."""
    groups: list[dict[str, object]] = [
        {"params": [nn.Parameter(torch.ones(1))], "share": 0.25},
        {"params": [nn.Parameter(torch.ones(1))]},
    ]
    optimiser = build_optimiser(groups, SGD)
    set_learning_rate(optimiser, 0.8)
    assert [group["lr"] for group in optimiser.param_groups] == [pytest.approx(0.2), pytest.approx(0.8)]
