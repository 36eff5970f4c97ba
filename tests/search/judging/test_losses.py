"""Losses: against sums written out, with ignored regions, on one-sided and empty labels."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from search.judging import losses

FEW = settings(max_examples=15, deadline=None)


def value_and_gradient(loss: losses.Loss, output: Tensor, label: Tensor) -> tuple[float, Tensor]:
    """Return the loss and its gradient with respect to the output."""
    leaf = output.clone().requires_grad_()
    value = loss(leaf, label)
    value.backward()
    assert leaf.grad is not None
    return float(value.detach()), leaf.grad


def edge_loss(output: Tensor, label: Tensor) -> Tensor:
    """Return the edge loss with the paper's weight on PASCAL-Context."""
    return losses.fixed_binary_cross_entropy(output, label, 0.95)


def draw_binary(seed: int, ignored_share: float) -> tuple[Tensor, Tensor]:
    """Return logits and a binary label with an ignored share, both (2, 1, 5, 4)."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, 1, 5, 4, generator=generator)
    label = (torch.rand(2, 1, 5, 4, generator=generator) < 0.3).float()
    label[torch.rand(label.shape, generator=generator) < ignored_share] = 255
    return logits, label


def plain_binary(logits: Tensor, label: Tensor, weight: float) -> float:
    """Return the weighted binary cross-entropy pixel by pixel."""
    terms = []
    for logit, truth in zip(logits.flatten().tolist(), label.flatten().tolist(), strict=True):
        probability = 1 / (1 + math.exp(-logit))
        if truth == 1:
            terms.append(-weight * math.log(probability))
        elif truth == 0:
            terms.append(-(1 - weight) * math.log(1 - probability))
    return sum(terms) / max(len(terms), 1)


@FEW
@given(seed=st.integers(0, 10**6), ignored_share=st.sampled_from([0.0, 0.4, 0.9]))
def test_balanced_loss_is_the_sum_written_out(seed: int, ignored_share: float) -> None:
    """Positives weigh the share of negatives among the labelled pixels, negatives the rest."""
    logits, label = draw_binary(seed, ignored_share)
    negatives, positives = int((label == 0).sum()), int((label == 1).sum())
    expected = plain_binary(logits, label, negatives / max(negatives + positives, 1))
    assert float(losses.balanced_binary_cross_entropy(logits, label)) == pytest.approx(expected, rel=1e-5, abs=1e-7)


@FEW
@given(seed=st.integers(0, 10**6), weight=st.floats(0.05, 0.95))
def test_edge_loss_is_the_sum_written_out(seed: int, weight: float) -> None:
    """An edge pixel weighs a fixed share and every other labelled pixel the rest."""
    logits, label = draw_binary(seed, 0.3)
    expected = plain_binary(logits, label, weight)
    assert float(losses.fixed_binary_cross_entropy(logits, label, weight)) == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_leaves_ignored_pixels_out() -> None:
    """The loss is that of the labelled pixels alone, and ignored ones get no gradient."""
    logits = torch.randn(2, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    label = torch.randint(5, (2, 4, 4), generator=torch.Generator().manual_seed(1))
    label[:, :2] = 255
    value, gradient = value_and_gradient(losses.cross_entropy, logits, label)
    kept = torch.nn.functional.cross_entropy(logits[:, :, 2:], label[:, 2:])
    assert value == pytest.approx(float(kept), rel=1e-6)
    assert not gradient[:, :, :2].any()
    assert gradient[:, :, 2:].any()


def test_cross_entropy_of_whole_images() -> None:
    """A label per image works as a label per pixel does."""
    logits = torch.tensor([[0.0, math.log(3.0)], [5.0, -5.0]])
    assert float(losses.cross_entropy(logits, torch.tensor([1, 255]))) == pytest.approx(-math.log(0.75), rel=1e-6)


def test_normals_loss_ignores_the_length_of_the_prediction() -> None:
    """Only the direction counts: here (1, 0, 0) against (0, 1, 0) differs by 2 over three components."""
    label = torch.tensor([0.0, 1.0, 0.0]).reshape(1, 3, 1, 1)
    output = torch.tensor([7.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    assert float(losses.normals_l1(output, label)) == pytest.approx(2 / 3)
    assert float(losses.normals_l1(4 * label, label)) == pytest.approx(0, abs=1e-7)


def test_normals_loss_is_safe_at_the_zero_vector() -> None:
    """A prediction that points nowhere gives a finite gradient, so that it can be learned away from."""
    label = torch.tensor([0.6, 0.0, 0.8]).reshape(1, 3, 1, 1)
    value, gradient = value_and_gradient(losses.normals_l1, torch.zeros(1, 3, 1, 1), label)
    assert value == pytest.approx(1.4 / 3)
    assert gradient.isfinite().all()
    assert gradient.any()


def test_depth_loss_is_the_mean_absolute_error_of_labelled_pixels() -> None:
    """A pixel without depth is left out of sum and count."""
    output = torch.tensor([1.0, 2.0, 9.0]).reshape(1, 1, 1, 3)
    label = torch.tensor([1.5, 4.0, 255.0]).reshape(1, 1, 1, 3)
    assert float(losses.depth_l1(output, label)) == pytest.approx(1.25)


@pytest.mark.parametrize(
    ("loss", "output_shape", "label"),
    [
        pytest.param(losses.cross_entropy, (2, 4, 3, 3), torch.full((2, 3, 3), 255), id="segmentation"),
        pytest.param(losses.cross_entropy, (2, 4), torch.full((2,), 255), id="classification"),
        pytest.param(
            losses.balanced_binary_cross_entropy, (2, 1, 3, 3), torch.full((2, 1, 3, 3), 255.0), id="saliency"
        ),
        pytest.param(edge_loss, (2, 1, 3, 3), torch.full((2, 1, 3, 3), 255.0), id="edge"),
        pytest.param(losses.normals_l1, (2, 3, 3, 3), torch.full((2, 3, 3, 3), 255.0), id="normals"),
        pytest.param(losses.depth_l1, (2, 1, 3, 3), torch.full((2, 1, 3, 3), 255.0), id="depth"),
    ],
)
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_nothing_labelled_is_no_loss(
    loss: losses.Loss, output_shape: tuple[int, ...], label: Tensor, scale: float, device: torch.device
) -> None:
    """A batch without any label has loss 0 and gradient 0, whatever the network says."""
    output = scale * torch.randn(output_shape, generator=torch.Generator().manual_seed(0)).to(device)
    value, gradient = value_and_gradient(loss, output, label.to(device))
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize("side", [0.0, 1.0])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_one_sided_saliency_is_no_loss(side: float, scale: float) -> None:
    """With background only or foreground only there is nothing to balance: loss 0, gradient 0."""
    logits = scale * torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    value, gradient = value_and_gradient(losses.balanced_binary_cross_entropy, logits, torch.full_like(logits, side))
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize("side", [0.0, 1.0])
def test_one_sided_edges_stay_finite(side: float) -> None:
    """An image without edges, or of edges only, still teaches, and never gives NaN."""
    logits = 1e4 * torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    value, gradient = value_and_gradient(edge_loss, logits, torch.full_like(logits, side))
    assert math.isfinite(value)
    assert gradient.isfinite().all()


def test_a_label_of_another_shape_is_no_broadcast() -> None:
    """A label that would broadcast silently stops the run."""
    with pytest.raises(AssertionError, match="against label"):
        losses.depth_l1(torch.zeros(2, 1, 3, 3), torch.zeros(2, 3, 3))
    with pytest.raises(AssertionError, match="against label"):
        edge_loss(torch.zeros(2, 1, 3, 3), torch.zeros(2, 3, 3))
