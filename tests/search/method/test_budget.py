"""The budget controller: pushes while the cost falls too slowly, lets go when it falls by itself, and arrives."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from search.method.budget import HIGHEST, LOWEST, BudgetController

STEPS_PER_EPOCH = 10


def controller(budget_share: float = 0.6, steps_per_epoch: int = STEPS_PER_EPOCH) -> BudgetController:
    """Return a controller that has seen nothing, with twelve epochs to the budget."""
    return BudgetController(budget_share, 12.0, steps_per_epoch)


def feed(start: BudgetController, shares: list[float], loss: float = 2.0) -> list[BudgetController]:
    """Return the controllers after each of the expected costs."""
    seen = [start]
    for share in shares:
        seen.append(seen[-1].updated(share, loss))
    return seen[1:]


def simulate(start: BudgetController, loss: float, half_weight: float, delay_epochs: float) -> list[float]:
    """Return the cost after each of 24 epochs of a plant whose cost settles at a level that falls with the weight.

    Args:
        start: The controller.
        loss: Weighted loss of all tasks, the unit of the weight.
        half_weight: Weight, in losses, at which the cost settles in the middle of its range from 0.35 to 0.95.
        delay_epochs: Epochs in which the cost comes closer to its level by a factor of e.
    """
    share, by_epoch, state = 0.94, [], start
    for step in range(24 * start.steps_per_epoch):
        state = state.updated(share, loss)
        level = 0.35 + 0.6 / (1 + state.weight / loss / half_weight)
        share += (level - share) / (delay_epochs * start.steps_per_epoch)
        if (step + 1) % start.steps_per_epoch == 0:
            by_epoch.append(share)
    return by_epoch


def test_a_cost_that_stays_too_high_raises_the_weight() -> None:
    """While the cost stands above the budget and does not fall, every step raises the weight, up to the bound."""
    weights = [state.log_weight for state in feed(controller(), [0.9] * 300)]
    assert all(later > earlier or later == math.log(HIGHEST) for earlier, later in itertools.pairwise(weights))
    assert weights[-1] == math.log(HIGHEST)


def test_a_cost_that_falls_fast_enough_lowers_the_weight() -> None:
    """A cost that would arrive long before it must lets the weight go down, though it is still above the budget."""
    states = feed(controller(), [0.95 - 0.01 * step for step in range(30)])
    assert states[-1].last_share is not None
    assert states[-1].last_share > 0.6
    assert states[-1].log_weight < states[10].log_weight < controller().log_weight


def test_a_cost_below_the_budget_lowers_the_weight_to_its_bound() -> None:
    """Below the budget the pressure goes, but never to nothing, so that it can come back."""
    assert feed(controller(), [0.4] * 400)[-1].log_weight == math.log(LOWEST)


def test_a_cost_at_the_budget_leaves_the_weight() -> None:
    """At the budget and at rest there is nothing to do."""
    states = feed(controller(), [0.6] * 50)
    assert {state.log_weight for state in states} == {controller().log_weight}


@given(shares=st.lists(st.floats(0, 1), min_size=1, max_size=60), steps_per_epoch=st.integers(1, 50))
@examples(max_examples=50)
def test_the_weight_is_bounded_and_finite(shares: list[float], steps_per_epoch: int) -> None:
    """Whatever the cost does, the weight stays within its bounds and at most triples or thirds in an epoch."""
    states = feed(controller(steps_per_epoch=steps_per_epoch), shares)
    assert all(math.log(LOWEST) <= state.log_weight <= math.log(HIGHEST) for state in states)
    moves = [abs(b.log_weight - a.log_weight) * steps_per_epoch for a, b in itertools.pairwise(states)]
    assert all(move <= math.log(3) for move in moves)


@given(scale=st.floats(0.01, 100), shares=st.lists(st.floats(0.3, 1), min_size=1, max_size=20))
@examples(max_examples=30)
def test_the_weight_is_counted_in_losses(scale: float, shares: list[float]) -> None:
    """Losses that are larger by a factor get a weight larger by that factor, so no task set needs other gains."""
    plain, scaled = feed(controller(), shares, 2.0)[-1], feed(controller(), shares, 2.0 * scale)[-1]
    assert scaled.weight == pytest.approx(scale * plain.weight)


def test_the_unit_is_the_first_loss_there_is() -> None:
    """Steps without labels have no loss; until one has, the weight is 0, and later losses do not change the unit."""
    state = controller().updated(0.9, 0.0)
    assert state.weight == 0.0
    first = state.updated(0.9, 2.0)
    later = first.updated(0.9, 50.0)
    assert (first.first_loss, later.first_loss) == (2.0, 2.0)


@pytest.mark.parametrize("budget_share", [0.5, 0.6, 0.8])
@pytest.mark.parametrize("steps_per_epoch", [5, 9, 50])
@pytest.mark.parametrize(("half_weight", "delay_epochs"), [(0.05, 1), (0.05, 3), (0.2, 1), (0.2, 3)])
def test_a_simulated_search_arrives_at_its_budget(
    budget_share: float, steps_per_epoch: int, half_weight: float, delay_epochs: float
) -> None:
    """Ready and reluctant, fast and slow: by mid-search the cost is near the budget, and from there on it stays."""
    by_epoch = simulate(controller(budget_share, steps_per_epoch), 3.0, half_weight, delay_epochs)
    assert abs(by_epoch[11] - budget_share) < 0.08
    assert max(abs(share - budget_share) for share in by_epoch[15:]) < 0.03


def test_blocks_cost_more_as_the_search_goes_on() -> None:
    """The price of blocks starts at nothing and stands at its full height, in first losses, when the cost is due."""
    states = feed(controller(), [0.9] * 240, loss=3.0)
    prices = [state.price_blocks(0.5) for state in states]
    assert controller().price_blocks(0.5) == 0.0
    assert prices == sorted(prices)
    assert prices[60] == pytest.approx(0.5 * 3.0 * 61 / 120)
    assert prices[-1] == pytest.approx(1.5)
