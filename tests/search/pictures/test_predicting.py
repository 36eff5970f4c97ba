"""What a network makes of photographs of any size, and the pictures of it."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from search.data.catalogue import TaskInfo
from search.data.files.fitting import InputForm
from search.pictures.colouring import class_colours, colour_normals
from search.pictures.predicting import Prediction, Predictor, draw_prediction, write_raw

SEMSEG = TaskInfo("semseg", "segmentation", 3, ("road", "car", "person"))
DEPTH = TaskInfo("depth", "depth", 1)
NORMALS = TaskInfo("normals", "normals", 3)
EDGE = TaskInfo("edge", "edge", 1, positive_weight=0.9)
SCENE = TaskInfo("scene", "classification", 3, ("kitchen", "office"))
TASKS = (SEMSEG, DEPTH, NORMALS, EDGE, SCENE)
CPU = torch.device("cpu")


class Echo(nn.Module):
    """Gives the image back as every task's output."""

    def forward(self, image_BCHW: Tensor) -> Mapping[str, Tensor]:
        """Return the channels of the image, as many as each task needs."""
        channels_B3HW = image_BCHW.expand(-1, 3, -1, -1)
        return {
            "semseg": channels_B3HW,
            "depth": channels_B3HW[:, :1] - 0.2,
            "normals": channels_B3HW,
            "edge": 9 * channels_B3HW[:, :1],
            "scene": channels_B3HW.mean((2, 3)),
        }


def predict(image_hwC: np.ndarray, form: InputForm, channels: int = 3) -> dict[str, Prediction]:
    """Return what the echo makes of a photograph."""
    found = Predictor(Echo(), CPU, TASKS, form, channels).predict(image_hwC)
    return {prediction.task.name: prediction for prediction in found}


def draw_photograph(height: int, width: int) -> np.ndarray:
    """Return a photograph whose left half is red and whose right half is blue."""
    image_hwC = np.zeros((height, width, 3), dtype=np.uint8)
    image_hwC[:, : width // 2, 0] = image_hwC[:, width // 2 :, 2] = 255
    return image_hwC


@pytest.mark.parametrize("size", [(9, 12), (60, 40), (1, 300)])
@pytest.mark.parametrize("fit", ["resize", "pad"])
def test_predictions_have_the_size_of_the_photograph(size: tuple[int, int], fit: str) -> None:
    """Whatever the network's input is, every pixel of the photograph gets its answer, where it lies."""
    form = InputForm((16, 24), "pad" if fit == "pad" else "resize")
    found = predict(draw_photograph(*size), form)
    shapes = {name: prediction.values.shape for name, prediction in found.items()}
    assert shapes == {"semseg": size, "depth": size, "normals": (*size, 3), "edge": size, "scene": (3,)}
    classes_HW = found["semseg"].values
    assert (classes_HW[:, 0] == 0).all()
    assert (classes_HW[:, -1] == 2).all()


def test_values_are_in_the_units_that_people_read() -> None:
    """Depth is never below zero, normals have length 1, edges and classes are probabilities."""
    found = predict(draw_photograph(10, 20), InputForm((10, 20)))
    assert (found["depth"].values.min(), found["depth"].values.max()) == (0, pytest.approx(0.8))
    assert np.allclose(np.linalg.norm(found["normals"].values, axis=-1), 1, atol=1e-5)
    assert ((found["edge"].values >= 0) & (found["edge"].values <= 1)).all()
    assert found["scene"].values.sum() == pytest.approx(1)


def test_figures_say_most_first() -> None:
    """Shares of classes come in falling order under their names, a class without a name under its number."""
    found = predict(draw_photograph(10, 30), InputForm((10, 30)))
    assert found["semseg"].describe() == {"road": 0.5, "person": 0.5}
    assert list(found["scene"].describe()) == ["kitchen", "2", "office"]
    assert found["depth"].describe().keys() == {"nearest", "farthest"}
    assert found["edge"].describe() == {"above one half": 0.5}


def test_grey_networks_see_grey() -> None:
    """A network of one channel gets the brightness of a photograph."""
    found = predict(np.full((6, 8, 3), 255, dtype=np.uint8), InputForm((6, 8)), channels=1)
    assert np.allclose(found["depth"].values, 0.8, atol=1e-2)


@pytest.mark.parametrize(("height", "width"), [(40, 500), (5, 7), (30, 2400)])
def test_pictures_show_every_pixel_above_a_legend(height: int, width: int) -> None:
    """The photograph's rows come first, in the colours of the classes; the legend stands below, legible in any size."""
    found = predict(draw_photograph(height, width), InputForm((16, 24)))["semseg"]
    picture = Image.open(io.BytesIO(draw_prediction(found)))
    shown_HW3 = np.asarray(picture)[:height, :width]
    assert (shown_HW3 == class_colours(3)[found.values]).all()
    assert picture.width >= width
    assert height + 17 <= picture.height <= height + 17 * 4 + 12


@pytest.mark.parametrize("task", [DEPTH, NORMALS, EDGE])
def test_every_dense_task_has_a_picture(task: TaskInfo) -> None:
    """Depth, directions and edges are drawn in their colours."""
    found = predict(draw_photograph(20, 30), InputForm((20, 30)))[task.name]
    shown_HW3 = np.asarray(Image.open(io.BytesIO(draw_prediction(found))))[:20, :30]
    assert (shown_HW3[:, 2] != shown_HW3[:, -3]).any()
    if task is NORMALS:
        assert (shown_HW3 == colour_normals(found.values.transpose(2, 0, 1))).all()


def test_large_photographs_are_predicted_in_strips() -> None:
    """Strips of rows give what the whole gives."""
    image, form = draw_photograph(50, 40), InputForm((16, 24))
    whole = predict(image, form)
    for prediction in Predictor(Echo(), CPU, TASKS, form, 3, max_numbers=600).predict(image):
        assert np.array_equal(prediction.values, whole[prediction.task.name].values)
    assert draw_prediction(whole["depth"], max_numbers=600) == draw_prediction(whole["depth"])


def test_raw_numbers_read_back() -> None:
    """Classes are the greys of a PNG, metres an array without any object in it."""
    found = predict(draw_photograph(9, 8), InputForm((9, 8)))
    content, suffix = write_raw(found["semseg"])
    assert suffix == ".png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), found["semseg"].values)
    content, suffix = write_raw(found["depth"])
    assert suffix == ".npy"
    assert np.array_equal(np.load(io.BytesIO(content), allow_pickle=False), found["depth"].values)
