"""NYUD-v2 is read label by label as published, from small folders in both layouts whose every value is known."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from search.data.catalogue import DATASETS
from search.data.files.nyud import NyudSource
from search.errors import DatasetError, SampleError
from tests.search.data.files.paper_trees import SIZE, TILT, halves, save_array, save_variable, write_nyud

LAYOUTS = pytest.mark.parametrize("layout", ["A", "B"])


def open_layout(root: Path, layout: str) -> NyudSource:
    """Return the samples of a small folder NYUD_MT."""
    write_nyud(root, layout)
    return NyudSource(root)


def read(source: NyudSource, task: str) -> NDArray[Any]:
    """Return the label of one task of the first sample."""
    label = source.read("1", [source.info.task(task)]).labels[task]
    assert isinstance(label, np.ndarray)
    return label


@LAYOUTS
def test_the_layout_is_recognised(tmp_path: Path, layout: str) -> None:
    """By the files of the first sample; splits are those of the folder."""
    source = open_layout(tmp_path, layout)
    assert source.layout == layout
    assert (source.ids("train"), source.ids("val")) == (("1", "2"), ("3",))
    assert (source.info.num_train, source.info.num_val, source.info.fit) == (2, 1, "pad")


def test_the_background_is_a_class_in_layout_a(tmp_path: Path) -> None:
    """41 classes, numbered as stored."""
    source = open_layout(tmp_path, "A")
    assert source.info.task("semseg") == DATASETS["nyud"].task("semseg")
    np.testing.assert_array_equal(read(source, "semseg"), halves(0, 40))


def test_the_background_is_ignored_in_layout_b(tmp_path: Path) -> None:
    """40 classes: 0 says nothing, the others are one less; the facts say that this is another dataset."""
    source = open_layout(tmp_path, "B")
    task = source.info.task("semseg")
    assert (task.channels, len(task.class_names), task.class_names[0]) == (40, 40, "wall")
    assert source.info.definition != open_layout(tmp_path.parent / "other", "A").info.definition
    np.testing.assert_array_equal(read(source, "semseg"), halves(255, 39))


@LAYOUTS
def test_depth_is_in_metres_and_zero_is_none(tmp_path: Path, layout: str) -> None:
    """MATLAB's doubles and NumPy's floats give the same."""
    depth_HW = read(open_layout(tmp_path, layout), "depth")
    np.testing.assert_array_equal(depth_HW, halves(255, 6, "float32") / np.where(halves(255, 6) == 255, 1, 4))


@LAYOUTS
def test_normals_are_unit_vectors_as_stored(tmp_path: Path, layout: str) -> None:
    """JPEG blurs them by a little, .npy does not."""
    normals_HW3 = read(open_layout(tmp_path, layout), "normals")
    unit = TILT / 255 * 2 - 1
    unit = unit / np.linalg.norm(unit)
    np.testing.assert_allclose(normals_HW3, np.broadcast_to(unit, (*SIZE, 3)), atol=0.02 if layout == "A" else 1e-6)
    np.testing.assert_allclose(np.linalg.norm(normals_HW3, axis=2), 1, rtol=1e-6)


@LAYOUTS
def test_edges_are_one_or_none(tmp_path: Path, layout: str) -> None:
    """White of a PNG and 1 of an array mean the same."""
    edges_HW = read(open_layout(tmp_path, layout), "edge")
    assert edges_HW.dtype == np.uint8
    assert (edges_HW[:, 14] == 1).all()
    assert edges_HW.sum() == SIZE[0]


def test_folders_of_neither_or_both_layouts_are_refused(tmp_path: Path) -> None:
    """The sentence says how a folder must look and what was seen."""
    write_nyud(tmp_path, "A")
    write_nyud(tmp_path, "B")
    with pytest.raises(DatasetError, match=r"either segmentation/ID\.mat.*holds .*segmentation/1\.png"):
        _ = NyudSource(tmp_path).layout
    for folder in ("segmentation", "normals", "depth", "edge"):
        shutil.rmtree(tmp_path / folder)
    with pytest.raises(DatasetError, match="holds none of them"):
        _ = NyudSource(tmp_path).info


@LAYOUTS
def test_what_does_not_fit_is_named_with_its_sample(tmp_path: Path, layout: str) -> None:
    """NaN depth, classes beyond the last, and labels of another size."""
    source = open_layout(tmp_path, layout)
    if layout == "A":
        save_variable(tmp_path / "depth" / "1.mat", "depth", np.full(SIZE, np.nan))
        save_variable(tmp_path / "segmentation" / "1.mat", "segmentation", halves(0, 41))
        save_array(tmp_path / "edge" / "1.png", np.zeros((3, 4), np.uint8))
    else:
        save_array(tmp_path / "depth" / "1.npy", np.full(SIZE, np.inf))
        save_array(tmp_path / "segmentation" / "1.png", halves(0, 41))
        save_array(tmp_path / "edge" / "1.npy", np.zeros((3, 4)))
    for task, reason in (("depth", "NaN or"), ("semseg", "got 41"), ("edge", "3x4")):
        with pytest.raises(SampleError, match=f"^Sample '1': .*{reason}"):
            read(source, task)


@LAYOUTS
def test_files_of_a_sample_are_its_image_and_labels(tmp_path: Path, layout: str) -> None:
    """One file a task."""
    source = open_layout(tmp_path, layout)
    paths = source.files("2", source.info.tasks)
    assert len(paths) == 5
    assert {path.stem for path in paths} == {"2"}
    paths[1].unlink()
    assert len(source.files("2", source.info.tasks)) == 4
