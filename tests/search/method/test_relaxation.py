"""The relaxed routing: its distribution, its thinning, its temperature, and which ops are let go."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search.method.relaxation import (
    compute_temperature,
    drop_unlikely,
    identity_mix,
    sample_gumbel,
    sample_mix,
    thin_mix,
)

LOGITS_K = torch.tensor([1.0, 0.0, -1.0])
NUM_DRAWS = 200_000


def draw_mixes(temperature: float) -> torch.Tensor:
    """Return many draws for the logits (1, 0, -1), shape (NUM_DRAWS, 1, 3)."""
    return sample_mix(LOGITS_K.expand(NUM_DRAWS, 1, 3), temperature, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("temperature", [5.0, 1.0, 0.1])
def test_heaviest_op_is_distributed_as_the_softmax(temperature: float) -> None:
    """At any temperature the argmax of a draw follows softmax(logits)."""
    frequency_K = torch.bincount(draw_mixes(temperature).argmax(-1).flatten(), minlength=3) / NUM_DRAWS
    torch.testing.assert_close(frequency_K, torch.softmax(LOGITS_K, dim=-1), atol=0.005, rtol=0)


@pytest.mark.parametrize(("temperature", "heaviest"), [(5.0, 0.43), (0.1, 0.97)])
def test_draws_harden_as_the_temperature_falls(temperature: float, heaviest: float) -> None:
    """The mean weight of the heaviest op is 0.43 at temperature 5 and 0.97 at 0.1."""
    assert draw_mixes(temperature).amax(-1).mean().item() == pytest.approx(heaviest, abs=0.005)


def test_gumbel_noise_has_the_moments_of_a_gumbel() -> None:
    """Its mean is Euler's constant, its variance pi^2 / 6, and it is always finite."""
    noise = sample_gumbel((NUM_DRAWS,), torch.Generator().manual_seed(1))
    assert noise.isfinite().all()
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.01)
    assert noise.var().item() == pytest.approx(math.pi**2 / 6, rel=0.02)


@settings(max_examples=25, deadline=None)
@given(
    num_tasks=st.integers(1, 5),
    temperature=st.floats(0.05, 5),
    threshold=st.floats(0.05, 0.9),
    seed=st.integers(0, 1000),
)
def test_thinning_keeps_the_heaviest_op_and_light_ops_weigh_the_threshold(
    num_tasks: int, temperature: float, threshold: float, seed: int
) -> None:
    """Ops at or above the threshold and the heaviest one stay as they are; others weigh nothing or the threshold."""
    generator = torch.Generator().manual_seed(seed)
    mix_LTK = sample_mix(torch.randn(4, num_tasks, num_tasks, generator=generator), temperature, generator)
    thinned_LTK = thin_mix(mix_LTK, threshold, generator)
    stays = (mix_LTK >= threshold) | (mix_LTK == mix_LTK.amax(-1, keepdim=True))
    torch.testing.assert_close(thinned_LTK[stays], mix_LTK[stays])
    light = thinned_LTK[~stays]
    torch.testing.assert_close(light, torch.where(light > 0, torch.full_like(light, threshold), light))


def test_thinning_is_unbiased_in_value_and_gradient() -> None:
    """Over many draws the mean of a thinned mix, and of its gradient with respect to the logits, is that of the mix."""
    logits_K = torch.tensor([1.5, 0.0, -0.5, -2.0], requires_grad=True)
    slopes_K = torch.tensor([1.0, -2.0, 3.0, 0.5])
    mix_K = torch.softmax(logits_K, dim=-1)
    thinned_NTK = thin_mix(mix_K.expand(NUM_DRAWS, 1, 4), 0.3, torch.Generator().manual_seed(2))
    assert (thinned_NTK == 0).any(dim=0)[0].tolist() == [False, True, True, True]
    torch.testing.assert_close(thinned_NTK.mean(dim=(0, 1)), mix_K, atol=2e-3, rtol=0)
    (plain_K,) = torch.autograd.grad((mix_K * slopes_K).sum(), logits_K, retain_graph=True)
    (seen_K,) = torch.autograd.grad((thinned_NTK.mean(dim=(0, 1)) * slopes_K).sum(), logits_K)
    torch.testing.assert_close(seen_K, plain_K, atol=5e-3, rtol=0)


def test_thinning_leaves_no_row_empty() -> None:
    """With every op below the threshold one op still stays."""
    thinned_LTK = thin_mix(torch.full((50, 8, 8), 1 / 8), 0.9, torch.Generator().manual_seed(3))
    assert ((thinned_LTK > 0).sum(-1) >= 1).all()


@pytest.mark.parametrize("schedule", ["linear", "exponential"])
def test_temperature_falls_from_start_to_end(schedule: str) -> None:
    """Both schedules begin and end where they should and never rise."""
    values = [compute_temperature(step / 10, 5.0, 0.1, schedule) for step in range(11)]
    assert values[0] == pytest.approx(5.0)
    assert values[-1] == pytest.approx(0.1)
    assert values == sorted(values, reverse=True)
    assert values[5] == pytest.approx({"linear": 2.55, "exponential": math.sqrt(0.5)}[schedule])


def test_draws_are_named_by_their_generator() -> None:
    """The same seed draws the same mix, whatever torch's own generator does."""
    draws = []
    for _ in range(2):
        draws.append(sample_mix(torch.zeros(3, 2, 2), 1.0, torch.Generator().manual_seed(7)))
        torch.rand(5)
    assert torch.equal(*draws)


def test_identity_mix_picks_one_op_in_every_layer() -> None:
    """In the warm-up op t is trained by task t alone."""
    assert identity_mix(3, 4, 2).tolist() == [[0.0, 0.0, 1.0, 0.0]] * 3


@settings(max_examples=25, deadline=None)
@given(below=st.floats(0.0, 0.49), seed=st.integers(0, 1000))
def test_dropped_ops_are_gone_and_the_likeliest_stays(below: float, seed: int) -> None:
    """An op under the limit has probability exactly 0 in every later draw; the likeliest keeps its logit."""
    generator = torch.Generator().manual_seed(seed)
    logits_LTK = 3 * torch.randn(4, 3, 3, generator=generator)
    dropped_LTK = drop_unlikely(logits_LTK, below)
    probabilities_LTK = torch.softmax(logits_LTK.double(), dim=-1)
    gone = (probabilities_LTK < below) & (probabilities_LTK < probabilities_LTK.amax(-1, keepdim=True))
    assert torch.equal(dropped_LTK[~gone], logits_LTK[~gone])
    assert not sample_mix(dropped_LTK, 5.0, generator)[gone].any()


def test_even_a_limit_above_all_leaves_the_likeliest_op() -> None:
    """With five equally likely ops under the limit, one of each row stays."""
    dropped_LTK = drop_unlikely(torch.zeros(2, 5, 5), 0.4)
    assert ((dropped_LTK == 0).sum(-1) == 1).all()
