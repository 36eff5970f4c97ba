"""Batches in parts: losses and gradients of all parts add up to those of the batch, for every kind of task."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor

from search.data.catalogue import IGNORE_LABEL, TaskInfo
from search.judging.tasks import build_loss
from search.training.parts import build_losses, split_batch

TASKS = (
    TaskInfo("classes", "classification", 4),
    TaskInfo("semseg", "segmentation", 3),
    TaskInfo("sal", "saliency", 1),
    TaskInfo("normals", "normals", 3),
    TaskInfo("depth", "depth", 1),
    TaskInfo("edge", "edge", 1, positive_weight=0.95),
)


def draw(task: TaskInfo, size: int, generator: torch.Generator, *, silent: float) -> tuple[Tensor, Tensor]:
    """Return outputs and labels of a task for a batch; a share of pixels and of samples has no label."""
    output = torch.randn(size, task.channels, *(() if task.kind == "classification" else (3, 4)), generator=generator)
    if task.kind in ("classification", "segmentation"):
        label = torch.randint(task.channels, (size, *output.shape[2:]), generator=generator)
    elif task.kind == "normals":
        label = torch.nn.functional.normalize(torch.randn(output.shape, generator=generator), dim=1)
    else:
        label = torch.randint(2, output.shape, generator=generator).float()
    hidden = torch.rand((size, 1, *label.shape[2:]) if label.dim() == 4 else label.shape, generator=generator)
    gone = torch.rand(size, generator=generator) < silent
    label = torch.where(hidden < silent, IGNORE_LABEL, label)
    label[gone] = IGNORE_LABEL
    return output.requires_grad_(), label


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@given(
    seed=st.integers(0, 2**20),
    size=st.integers(1, 7),
    num_parts=st.integers(2, 5),
    silent=st.sampled_from([0.0, 0.4, 0.8, 1.0]),
)
@examples(max_examples=25)
def test_parts_add_up_to_the_batch(task: TaskInfo, seed: int, size: int, num_parts: int, silent: float) -> None:
    """However labels are missing, parts give the whole loss and its gradient, also where a part has no label at all."""
    output, label = draw(task, size, torch.Generator().manual_seed(seed), silent=silent)
    batch = {"image": output.detach(), task.name: label}
    whole = build_loss(task)(output, label)
    (slope,) = torch.autograd.grad(whole, output)
    loss_of = build_losses([task], batch, num_parts)[task.name]
    pieces = zip(output.tensor_split(min(num_parts, size)), split_batch(batch, num_parts), strict=True)
    total = torch.stack([loss_of(piece, part[task.name]) for piece, part in pieces]).sum()
    torch.testing.assert_close(total, whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(torch.autograd.grad(total, output)[0], slope, rtol=1e-4, atol=1e-7)


@given(size=st.integers(1, 9), num_parts=st.integers(1, 12))
@examples(max_examples=30)
def test_parts_are_the_batch_cut_evenly(size: int, num_parts: int) -> None:
    """Put together again the parts are the batch; none is empty, and they differ by one sample at most."""
    batch = {"image": torch.arange(size)[:, None], "a": torch.arange(size)}
    parts = list(split_batch(batch, num_parts))
    assert all(torch.equal(torch.cat([part[name] for part in parts]), whole) for name, whole in batch.items())
    sizes = [len(part["a"]) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 1


def test_one_part_has_the_plain_loss() -> None:
    """A batch that is not cut gets the loss of its task, to the bit and without counting its labels."""
    output, label = draw(TASKS[2], 5, torch.Generator().manual_seed(1), silent=0.3)
    loss_of = build_losses([TASKS[2]], {"sal": label}, 1)["sal"]
    assert torch.equal(loss_of(output, label), build_loss(TASKS[2])(output, label))
