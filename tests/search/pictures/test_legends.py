"""Legends: a colour and a name per class, a scale for depth, words for the rest; never wider than told."""

from __future__ import annotations

import numpy as np
import pytest

from search.data.catalogue import DATASETS, TaskInfo
from search.pictures.colouring import class_colours
from search.pictures.legends import draw_legend
from search.pictures.lettering import LINE

OBJECTS = DATASETS["nyud"].task("semseg")


def test_every_class_has_its_colour() -> None:
    """The chips of all classes stand in the strip, in as many lines as they need."""
    strip = np.asarray(draw_legend(OBJECTS, 300, classes=range(OBJECTS.channels), depth_range=(0.0, 1.0)))
    assert strip.shape[1] == 300
    assert strip.shape[0] > 5 * LINE
    shown = {tuple(pixel) for pixel in strip.reshape(-1, 3).tolist()}
    assert {tuple(colour) for colour in class_colours(OBJECTS.channels).tolist()} <= shown


def test_few_classes_need_one_line() -> None:
    """Only classes that occur are told of."""
    assert draw_legend(OBJECTS, 300, classes=[0, 1], depth_range=(0.0, 1.0)).height == LINE


def test_depth_has_a_scale() -> None:
    """Yellow for near on the left, violet for far on the right."""
    strip = np.asarray(draw_legend(TaskInfo("depth", "depth", 1), 400, classes=(), depth_range=(1.0, 8.0)))
    shown = {tuple(pixel) for pixel in strip.reshape(-1, 3).tolist()}
    assert {(253, 231, 37), (68, 1, 84)} <= shown


@pytest.mark.parametrize("kind", ["saliency", "edge", "normals"])
def test_the_rest_is_told_in_words(kind: str) -> None:
    """Words are cut to the width."""
    task = next(task for task in DATASETS["scenes"].tasks if task.kind == kind)
    strip = draw_legend(task, 60, classes=(), depth_range=(0.0, 1.0))
    assert strip.size == (60, LINE)
    assert (np.asarray(strip) != 255).any()
