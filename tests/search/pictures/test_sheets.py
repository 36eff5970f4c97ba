"""Contact sheets: what stands where, in which words, and that drawing leaves the network alone."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from search.data.catalogue import DATASETS, DatasetInfo, TaskInfo
from search.data.loading import TaskDataset, load_data
from search.pictures.colouring import Colours, colour_label
from search.pictures.sheets import (
    PAGE_WIDTH,
    describe_answer,
    draw_predictions,
    draw_samples,
    find_depth_range,
    fit_tile,
)
from search.spec import DataSpec

LETTER = TaskInfo("letter", "classification", 3, ("a", "b", "c"))
CPU = torch.device("cpu")


class Oracle(nn.Module):
    """Says what it was told, and counts its calls by mode."""

    def __init__(self, outputs: dict[str, Tensor]) -> None:
        super().__init__()
        self.outputs = outputs
        self.modes: list[bool] = []

    def forward(self, image_BCHW: Tensor) -> dict[str, Tensor]:
        """Return the outputs."""
        del image_BCHW
        self.modes.append(self.training)
        return self.outputs


class Memory:
    """A dataset of one batch."""

    def __init__(self, samples: dict[str, Tensor]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples["image"])

    def batch(self, indices: Sequence[int] | Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Return the samples asked for."""
        del generator
        return {name: value[torch.as_tensor(indices)] for name, value in self.samples.items()}


def read(png: bytes) -> Colours:
    """Return the pixels of a PNG."""
    return np.asarray(Image.open(io.BytesIO(png)))


def count_red(png: bytes) -> int:
    """Return the pixels in which something wrong is written."""
    return int((read(png) == (190, 20, 30)).all(axis=-1).sum())


def load_val(name: str, size: tuple[int, int], num: int, cache_dir: Path) -> tuple[DatasetInfo, TaskDataset]:
    """Return facts and the first validation samples of a dataset."""
    info = DATASETS[name]
    spec = DataSpec(input_size=size, num_train=2, num_val=num)
    return info, load_data(info, info.tasks, spec, cache_dir=cache_dir).val


def test_only_wrong_answers_are_red() -> None:
    """The same sample is drawn black when the network is right and red when it is not."""
    dataset = Memory({"image": torch.zeros(1, 1, 24, 24), "letter": torch.tensor([1])})
    right = Oracle({"letter": torch.tensor([[0.0, 1.0, 0.0]])})
    wrong = Oracle({"letter": torch.tensor([[0.0, 0.0, 1.0]])})
    assert count_red(draw_predictions(right, dataset, [LETTER], [0], device=CPU).sheet) == 0
    assert count_red(draw_predictions(wrong, dataset, [LETTER], [0], device=CPU).sheet) > 20


@pytest.mark.parametrize(
    ("label", "predicted", "text", "is_wrong"),
    [
        (1, 1, "letter: b (b)", False),
        (1, 2, "letter: c (b)", True),
        (255, 2, "letter: c (no label)", False),
        (2, None, "letter: c", False),
        (255, None, "letter: no label", False),
    ],
)
def test_answers_in_words(label: int, predicted: int | None, text: str, is_wrong: bool) -> None:
    """Prediction first, the label in brackets; without a label nothing is wrong."""
    answer = describe_answer(LETTER, label, predicted)
    assert (answer.text, answer.is_wrong) == (text, is_wrong)


def test_drawing_leaves_the_network_as_it_was() -> None:
    """The network is asked once, in evaluation mode, and is in training mode again afterwards."""
    network = Oracle({"letter": torch.zeros(2, 3)}).train()
    dataset = Memory({"image": torch.zeros(3, 1, 24, 24), "letter": torch.tensor([1, 255, 0])})
    draw_predictions(network, dataset, [LETTER], [2, 0], device=CPU)
    assert network.modes == [False]
    assert network.training


def test_the_prediction_stands_under_its_label() -> None:
    """One dense task: the same picture twice, one below the other, when the network is right."""
    task = TaskInfo("sal", "saliency", 1)
    label_B1HW = torch.zeros(1, 1, 96, 100)
    label_B1HW[..., 30:50, 20:70] = 1
    dataset = Memory({"image": torch.zeros(1, 3, 96, 100), "sal": label_B1HW})
    page = read(draw_predictions(Oracle({"sal": 60 * label_B1HW - 30}), dataset, [task], [0], device=CPU).sheet)
    tile = colour_label(task, label_B1HW[0], (0.0, 1.0))
    left, top = 10 + 100 + 4 + 20, 10 + 17
    assert (page[top : top + 96, left : left + 100] == tile).all()
    assert (page[top + 100 : top + 196, left : left + 100] == tile).all()


def test_every_task_has_a_picture_of_its_own(tmp_path: Path) -> None:
    """Beside the sheet of all tasks stands one of each, its legend below; the network is asked once for all of them."""
    info, dataset = load_val("scenes", (96, 112), 2, tmp_path)
    shapes = {task.name: torch.zeros(2, task.channels, 96, 112) for task in info.tasks}
    network = Oracle(shapes)
    pictures = draw_predictions(network, dataset, info.tasks, [0, 1], device=CPU)
    assert network.modes == [False]
    assert list(pictures.by_task) == [task.name for task in info.tasks]
    sheet = read(pictures.sheet)
    for png in pictures.by_task.values():
        page = read(png)
        assert page.shape[1] < sheet.shape[1]
        assert (page[-27:-10] != 255).any()  # the legend


def test_samples_of_every_dense_task_fill_a_row_each(tmp_path: Path) -> None:
    """Six tasks beside the image, and each further sample makes the sheet longer by the same height."""
    info, dataset = load_val("scenes", (96, 112), 2, tmp_path)
    one, two = (read(draw_samples(dataset, info.tasks, indices)) for indices in ([0], [0, 1]))
    assert one.shape[1] == two.shape[1] >= 7 * 112
    assert two.shape[0] - one.shape[0] == one.shape[0] - 2
    assert (one[27:123, 10:122] != 255).any()


def test_small_images_are_enlarged_and_stand_side_by_side(tmp_path: Path) -> None:
    """Digits have no dense task: samples share rows as long as they fit on the page."""
    info, dataset = load_val("digits", (24, 24), 9, tmp_path)
    outputs = {task.name: torch.zeros(9, task.channels) for task in info.tasks}
    page = read(draw_predictions(Oracle(outputs), dataset, info.tasks, range(9), device=CPU).sheet)
    assert 144 * 4 < page.shape[1] <= PAGE_WIDTH
    assert page.shape[0] > 2 * 144


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((24, 24), (144, 144)),
        ((8, 16), (72, 144)),
        ((128, 100), (128, 100)),
        ((512, 512), (160, 160)),
        ((425, 560), (121, 160)),
        ((1, 2048), (1, 160)),
    ],
)
def test_tiles_have_a_size_that_can_be_looked_at(size: tuple[int, int], shown: tuple[int, int]) -> None:
    """Small pictures grow by a whole factor, large ones shrink, the shape stays."""
    assert fit_tile(size) == shown


def test_the_range_of_depth_is_that_of_the_labels() -> None:
    """What is ignored does not count; nothing labelled gives some range all the same."""
    assert find_depth_range(torch.tensor([[[[2.5, 255.0, 7.0]]]])) == (2.5, 7.0)
    assert find_depth_range(torch.full((1, 1, 2, 2), 255.0)) == (0.0, 1.0)


def test_the_same_samples_give_the_same_bytes() -> None:
    """Nothing random and no time stands in the file."""
    dataset = Memory({"image": torch.zeros(2, 3, 80, 80), "letter": torch.tensor([0, 255])})
    assert draw_samples(dataset, [LETTER], [0, 1]) == draw_samples(dataset, [LETTER], [0, 1])


def test_a_long_name_is_cut_to_the_width_of_its_picture() -> None:
    """Headings never run into each other."""
    tasks = [TaskInfo(name * 40, "saliency", 1) for name in "ab"]
    label = torch.full((1, 1, 80, 80), 255.0)
    dataset = Memory({"image": torch.ones(1, 3, 80, 80), tasks[0].name: label, tasks[1].name: label})
    page = read(draw_samples(dataset, tasks, [0]))
    between = 10 + 80 + 4 + 80
    assert (page[:27, between : between + 4] == 255).all()
