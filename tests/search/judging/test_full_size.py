"""Photographs judged in their own size: outputs cut out of the padding or stretched back, labels as files hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from search.data.catalogue import IGNORE_LABEL, TaskInfo
from search.data.files.fitting import InputForm, Placement, fit_sample, place
from search.data.files.sources import Label, Sample
from search.errors import DatasetError
from search.judging import full_size
from search.judging.evaluate import choose_batch_size, evaluate
from search.results import MetricValue

SEMSEG = TaskInfo("semseg", "segmentation", 3, ("a", "b", "c"))
DEPTH = TaskInfo("depth", "depth", 1)
NORMALS = TaskInfo("normals", "normals", 3)
SAL = TaskInfo("sal", "saliency", 1)
EDGE = TaskInfo("edge", "edge", 1, positive_weight=0.9)
SCENE = TaskInfo("scene", "classification", 4)
TASKS = (SEMSEG, DEPTH, NORMALS, SAL, EDGE, SCENE)


def draw_label(task: TaskInfo, size: tuple[int, int], random: np.random.Generator) -> Label:
    """Return a label as files hold it, some of its pixels ignored, or None for a sample without one."""
    if random.random() < 0.25:
        return None
    ignored_HW = random.random(size) < 0.3
    if task.kind == "classification":
        return int(random.choice([0, 1, 2, 3, IGNORE_LABEL]))
    if task.kind == "normals":
        normals_HW3 = random.normal(size=(*size, 3)).astype(np.float32)
        normals_HW3 /= np.linalg.norm(normals_HW3, axis=-1, keepdims=True)
        return np.where(ignored_HW[..., None], np.float32(IGNORE_LABEL), normals_HW3)
    if task.kind == "depth":
        return np.where(ignored_HW, IGNORE_LABEL, random.uniform(0.5, 9, size)).astype(np.float32)
    classes_HW = random.integers(0, 3 if task.kind == "segmentation" else 2, size)
    return np.where(ignored_HW, IGNORE_LABEL, classes_HW).astype(np.uint8)


class Photographs:
    """Images of many sizes fitted to one, as a data set made of files gives them.

    Args:
        sizes: (h, w) of each.
        form: The network's input.
        seed: Draws images and labels.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]], form: InputForm, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.form = form
        self.samples = [
            Sample(
                random.integers(0, 256, (*size, 3), dtype=np.uint8),
                {task.name: draw_label(task, size, random) for task in TASKS},
            )
            for size in sizes
        ]

    def __len__(self) -> int:
        return len(self.samples)

    def batch(self, indices: Sequence[int] | Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Return fitted images; nobody may look at the fitted labels."""
        images = [fit_sample(self.samples[int(index)], (), self.form)["image"] for index in indices]
        return {"image": torch.from_numpy(np.stack(images)).float() / 127.5 - 1}

    def native(self, index: int) -> Sample:
        """Return a sample in its own size."""
        return self.samples[index]

    def placement(self, index: int) -> Placement:
        """Return where its image lies."""
        height, width = self.samples[index].image_HWC.shape[:2]
        return place((height, width), self.form)


class Guesser(nn.Module):
    """Makes something of the image for every task, so that outputs differ from pixel to pixel."""

    def forward(self, image_BCHW: Tensor) -> Mapping[str, Tensor]:
        """Return an output per task."""
        mean_B1HW = image_BCHW.mean(1, keepdim=True)
        scene_B4 = torch.cat([image_BCHW.mean((2, 3)), mean_B1HW.mean((2, 3))], dim=1)
        return {
            "semseg": image_BCHW.flip(1) * torch.tensor([2.9, 3.1, 3.37])[:, None, None],  # no two channels tie
            "depth": 4 + mean_B1HW,
            "normals": image_BCHW + 0.1,
            "sal": 2 * mean_B1HW,
            "edge": 3 * image_BCHW[:, :1],
            "scene": scene_B4,
        }


def measure(dataset: Photographs, tasks: Sequence[TaskInfo] = TASKS, batch_size: int = 2) -> dict[str, MetricValue]:
    """Return the metrics of the guesser."""
    return evaluate(Guesser(), dataset, tasks, batch_size=batch_size, device="cpu")


def judge_plainly(dataset: Photographs, task: TaskInfo) -> float:
    """Return a metric computed in one go over all pixels of all images, stretched by torch's own function."""
    found, true = [], []
    for index, sample in enumerate(dataset.samples):
        label, placement = sample.labels[task.name], dataset.placement(index)
        output_CHW = Guesser()(dataset.batch([index])["image"])[task.name][0]
        if label is None:
            continue
        if isinstance(label, int):
            found.append(output_CHW[None])
            true.append(torch.tensor([label]))
            continue
        inside_CHW = output_CHW[:, : placement.size[0], : placement.size[1]]
        stretched = nn.functional.interpolate(inside_CHW[None], placement.native_size, mode="bilinear")[0]
        found.append(stretched.flatten(1).T)
        true.append(torch.from_numpy(label.reshape(-1, *label.shape[2:])))
    return score_plainly(task, torch.cat(found).double(), torch.cat(true))


def score_plainly(task: TaskInfo, output_PC: Tensor, label_P: Tensor) -> float:
    """Return the metric of a list of pixels, or of images."""
    valid_P = label_P != IGNORE_LABEL if label_P.dim() == 1 else (label_P != IGNORE_LABEL).any(1)
    output_PC, label_P = output_PC[valid_P], label_P[valid_P]
    if task.kind == "depth":
        return float((output_PC[:, 0] - label_P.double()).square().mean().sqrt())
    if task.kind == "normals":
        cosine_P = nn.functional.cosine_similarity(output_PC, label_P.double())
        return float(torch.rad2deg(torch.acos(cosine_P.clamp(-1, 1))).mean())
    guess_P = output_PC.argmax(1)
    if task.kind == "classification":
        return 100 * float((guess_P == label_P).double().mean())
    both = [((guess_P == k) & (label_P == k)).sum() / ((guess_P == k) | (label_P == k)).sum() for k in range(3)]
    return 100 * float(torch.stack(both).nanmean())


SIZES = st.lists(st.tuples(st.integers(5, 40), st.integers(5, 40)), min_size=2, max_size=5)


@settings(max_examples=25, deadline=None)
@given(sizes=SIZES, fit=st.sampled_from(["resize", "pad"]), seed=st.integers(0, 10**6))
def test_every_image_is_judged_in_its_own_size(sizes: list[tuple[int, int]], fit: str, seed: int) -> None:
    """Partly labelled samples of many sizes give the metrics of a plain twin that puts all pixels into one list."""
    form = InputForm((16, 24), "pad" if fit == "pad" else "resize")
    dataset = Photographs(sizes, form, seed)
    for task in (SEMSEG, DEPTH, NORMALS, SCENE):
        labels = [sample.labels[task.name] for sample in dataset.samples]
        if any(label is not None and (np.asarray(label) != IGNORE_LABEL).any() for label in labels):
            value = measure(dataset, [task])[task.name].value
            assert value == pytest.approx(judge_plainly(dataset, task), abs=1e-3)
        else:
            with pytest.raises(DatasetError, match=f"Task '{task.name}' cannot be judged"):
                measure(dataset, [task])


def test_padding_counts_for_nothing() -> None:
    """An image smaller than the input is compared pixel by pixel where it lies, without any interpolation."""
    dataset = Photographs([(11, 13)] * 3, InputForm((32, 32), "pad"))
    placement = dataset.placement(0)
    output_CHW = torch.randn(3, 32, 32)
    assert torch.equal(full_size.stretch(output_CHW, placement), output_CHW[:, :11, :13])


@pytest.mark.parametrize("native_size", [(9, 30), (64, 48), (1, 1), (37, 5)])
def test_rows_are_stretched_as_the_whole(native_size: tuple[int, int]) -> None:
    """A large output is stretched strip by strip to what torch's own function gives for the whole."""
    torch.manual_seed(0)
    placement = place(native_size, InputForm((16, 24)))
    output_CHW = torch.randn(3, 16, 24)
    whole = nn.functional.interpolate(output_CHW[None], native_size, mode="bilinear")[0]
    assert torch.allclose(full_size.stretch(output_CHW, placement), whole, atol=1e-5)
    label = np.zeros(native_size, dtype=np.uint8)
    strips = list(full_size.pair_in_full(SEMSEG, output_CHW, label, placement, max_numbers=500))
    assert torch.allclose(torch.cat([strip[0] for strip, _ in strips], dim=1), whole, atol=1e-5)
    assert sum(strip.shape[-2] for _, strip in strips) == native_size[0]


def test_the_size_of_batches_changes_nothing() -> None:
    """One image at a time or all at once: the same metrics and the same figures behind them."""
    dataset = Photographs([(20, 31), (16, 24), (40, 40), (33, 17), (25, 25), (12, 50)], InputForm((16, 24)), seed=3)
    assert measure(dataset, batch_size=1) == measure(dataset, batch_size=6)


def test_edges_are_counted_at_the_thresholds_of_papers() -> None:
    """The best threshold is one of 0.01, 0.02 .. 0.99."""
    dataset = Photographs([(40, 40)] * 4, InputForm((32, 32)), seed=5)
    details = measure(dataset, [EDGE])["edge"].details
    assert details is not None
    best = next(figure.value for figure in details.figures if figure.name == "best threshold")
    assert best == pytest.approx(round(best, 2))


@pytest.mark.parametrize(("input_size", "expected"), [((16, 24), 50), ((512, 512), 16), ((2048, 4096), 1)])
def test_large_photographs_come_in_small_batches(input_size: tuple[int, int], expected: int) -> None:
    """A batch has no more pixels than a small memory takes, and at least one photograph."""
    assert choose_batch_size(Photographs([(8, 8)], InputForm(input_size)), 50) == expected


def test_helping_processes_count_alike() -> None:
    """Two processes give the edges and everything beside them to the bit what this one alone gives."""
    dataset = Photographs([(40, 44)] * 6, InputForm((32, 32)), seed=7)
    together = evaluate(Guesser(), dataset, TASKS, batch_size=2, device="cpu", num_processes=2)
    assert together == measure(dataset)
