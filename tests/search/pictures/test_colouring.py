"""The colours of labels and predictions: known content gives known colours."""

import numpy as np
import pytest
import torch

from search.data.catalogue import DATASETS, TaskInfo
from search.pictures.colouring import (
    FIRST_CLASS,
    class_colours,
    colour_classes,
    colour_depth,
    colour_image,
    colour_label,
    colour_mask,
    colour_normals,
    colour_prediction,
)

SEGMENTATION = TaskInfo("semseg", "segmentation", 3)
DEPTH = TaskInfo("depth", "depth", 1)
NORMALS = TaskInfo("normals", "normals", 3)
EDGE = TaskInfo("edge", "edge", 1, positive_weight=0.95)
RANGE = (1.0, 5.0)


def luminance(colours: np.ndarray) -> np.ndarray:
    """Return the perceived brightness of colours (..., 3)."""
    brightness: np.ndarray = colours.astype(np.float64) @ np.array([0.2126, 0.7152, 0.0722])
    return brightness


def test_every_class_of_the_catalogue_has_a_colour_of_its_own() -> None:
    """Even 41 classes are told apart, and none is the grey of what is ignored."""
    most = max(task.channels for info in DATASETS.values() for task in info.tasks if "seg" in task.name)
    colours = {tuple(int(value) for value in colour) for colour in class_colours(most)}
    assert len(colours) == most == 41
    assert not any(red == green == blue for red, green, blue in colours)


def test_many_classes_repeat_colours_but_never_that_of_the_background() -> None:
    """255 classes get colours too; the first one stays alone."""
    colours = class_colours(255)
    assert colours.shape == (255, 3)
    assert tuple(colours[0]) == FIRST_CLASS
    assert (colours[1:] != colours[0]).any(axis=1).all()


def test_a_pixel_gets_the_colour_of_its_class() -> None:
    """The picture is the palette, looked up."""
    picture = colour_classes(np.array([[0, 2], [1, 2]]), 3)
    assert picture.shape == (2, 2, 3)
    assert (picture[0, 1] == picture[1, 1]).all()
    assert tuple(picture[1, 0]) == tuple(class_colours(3)[1])


def test_probabilities_are_grey() -> None:
    """0 is black, 1 is white, one half lies between; what is not a number is black."""
    picture = colour_mask(np.array([[0.0, 1.0, 0.5, np.nan]]))
    assert picture[0, :, 0].tolist() == [0, 255, 128, 0]
    assert (picture == picture[..., :1]).all()


def test_normals_are_coloured_by_direction_whatever_their_length() -> None:
    """Each axis has its colour, (n + 1) / 2, and the zero vector is mid-grey."""
    vectors_3HW = np.array([[3.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, -0.5, 0.0]])[:, None]
    assert colour_normals(vectors_3HW)[0].tolist() == [[255, 128, 128], [128, 255, 128], [128, 128, 0], [128] * 3]


def test_depth_darkens_with_the_distance() -> None:
    """Brightness falls all the way; what lies outside the range gets the colour of its end."""
    picture = colour_depth(np.linspace(1, 5, 50)[None], RANGE)[0]
    assert (np.diff(luminance(picture)) < 0).all()
    ends = colour_depth(np.array([[-1.0, 1.0, 5.0, 99.0]]), RANGE)[0]
    assert ends[0].tolist() == ends[1].tolist() == [253, 231, 37]
    assert ends[2].tolist() == ends[3].tolist() == [68, 1, 84]


def test_a_flat_depth_has_a_colour() -> None:
    """A range of no width is no division by zero."""
    assert colour_depth(np.full((2, 2), 3.0), (3.0, 3.0)).shape == (2, 2, 3)


def test_images_come_back_from_their_range() -> None:
    """-1 is black and 1 is white; a grey image gets three equal channels."""
    colours = colour_image(torch.tensor([[[-1.0, 1.0]]]))
    assert colours.tolist() == [[[0, 0, 0], [255, 255, 255]]]
    assert colour_image(torch.zeros(3, 4, 5)).shape == (4, 5, 3)


@pytest.mark.parametrize(
    ("task", "label"),
    [
        (SEGMENTATION, torch.tensor([[1, 255]])),
        (EDGE, torch.tensor([[[1.0, 255.0]]])),
        (DEPTH, torch.tensor([[[2.0, 255.0]]])),
        (NORMALS, torch.tensor([[[0.0, 255.0]], [[1.0, 255.0]], [[0.0, 255.0]]])),
    ],
    ids=["segmentation", "edge", "depth", "normals"],
)
def test_what_is_ignored_is_grey_in_every_kind(task: TaskInfo, label: torch.Tensor) -> None:
    """The labelled pixel has a colour, the ignored one a grey of the stripes."""
    known, ignored = colour_label(task, label, RANGE)[0]
    assert ignored.tolist() in ([165] * 3, [205] * 3)
    assert known.tolist() not in ([165] * 3, [205] * 3)


@pytest.mark.parametrize(
    ("task", "output", "label"),
    [
        (SEGMENTATION, torch.tensor([[[0.0]], [[-3.0]], [[0.5]]]), torch.tensor([[2]])),
        (EDGE, torch.tensor([[[20.0]]]), torch.tensor([[[1.0]]])),
        (DEPTH, torch.tensor([[[2.0]]]), torch.tensor([[[2.0]]])),
        (NORMALS, torch.tensor([[[0.0]], [[7.0]], [[0.0]]]), torch.tensor([[[0.0]], [[1.0]], [[0.0]]])),
    ],
    ids=["segmentation", "edge", "depth", "normals"],
)
def test_a_right_prediction_looks_like_its_label(task: TaskInfo, output: torch.Tensor, label: torch.Tensor) -> None:
    """Raw outputs that mean the label get its colours."""
    assert (colour_prediction(task, output, RANGE) == colour_label(task, label, RANGE)).all()
