"""PASCAL-Context is read label by label as published, from a small folder whose every value is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from search.data.catalogue import DATASETS, TaskInfo
from search.data.files.pascal_context import (
    NORMALS_CLASSES,
    PARTS,
    PascalContextSource,
    find_edges,
    read_label_map,
    read_parts,
)
from search.errors import DatasetError, SampleError
from tests.search.data.files.paper_trees import (
    SIZE,
    TILT,
    halves,
    make_person,
    make_struct,
    save_array,
    save_variable,
    write_pascal,
)

TASKS = DATASETS["pascal_context"].tasks


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder PASCAL_MT."""
    write_pascal(tmp_path)
    return tmp_path


def read(root: Path, task: str, sample_id: str = "2008_000001") -> NDArray[Any]:
    """Return the label of one task."""
    label = PascalContextSource(root).read(sample_id, [DATASETS["pascal_context"].task(task)]).labels[task]
    assert isinstance(label, np.ndarray)
    return label


def test_splits_are_those_of_the_folder(root: Path) -> None:
    """Lists come in their order, and the facts count them."""
    source = PascalContextSource(root)
    assert (source.ids("train"), source.ids("val")) == (("2008_000001", "b"), ("v",))
    assert (source.info.num_train, source.info.num_val, source.info.tasks) == (2, 1, TASKS)
    assert source.info.fit == "pad"


def test_images_are_read_as_stored(root: Path) -> None:
    """JPEG of the highest quality differs little from what was painted."""
    sample = PascalContextSource(root).read("2008_000001", [])
    assert (sample.image_HWC.shape, sample.labels) == ((*SIZE, 3), {})


def test_objects_are_the_stored_numbers_and_the_border_is_ignored(root: Path) -> None:
    """Drawn by hand where VOC has it, else from PASCAL-Context; 255 stays 255."""
    np.testing.assert_array_equal(read(root, "semseg"), halves(15, 255))
    np.testing.assert_array_equal(read(root, "semseg", "b"), halves(15, 255))
    save_array(root / "semseg" / "VOC12" / "b.png", halves(20, 0))
    np.testing.assert_array_equal(read(root, "semseg", "b"), halves(20, 0))


def test_parts_of_people_are_six_and_a_background(root: Path) -> None:
    """Hair is the head, the left foot a lower leg; a dog's head is background."""
    expected_HW = np.zeros(SIZE, np.uint8)
    expected_HW[0:4, 0:5], expected_HW[10:12, 20:24] = 1, 6
    np.testing.assert_array_equal(read(root, "parts"), expected_HW)


def test_every_named_part_has_its_label(tmp_path: Path) -> None:
    """All 24 names of a person's parts lead to one of six labels."""
    expected = {"nose": 1, "rebrow": 1, "neck": 2, "luarm": 3, "rhand": 4, "llarm": 4, "ruleg": 5, "llleg": 6}
    assert len(PARTS) == 24
    for name, label in expected.items():
        thing = make_struct(imname="x", objects=make_person(15, {name: halves(1, 0)}))
        save_variable(tmp_path / "a.mat", "anno", thing)
        np.testing.assert_array_equal(read_parts(tmp_path / "a.mat", SIZE), halves(label, 0))


def test_images_without_parts_do_not_train_that_task(root: Path) -> None:
    """Nobody in the image, or nobody with parts, is no label rather than all background."""
    assert PascalContextSource(root).read("b", TASKS).labels["parts"] is None


@pytest.mark.parametrize("annotation", [1.0, make_struct(a=1), make_struct(a="x", b=make_struct(c=1))])
def test_broken_annotations_are_refused(tmp_path: Path, annotation: object) -> None:
    """A struct of another form is refused with the file's name."""
    save_variable(tmp_path / "a.mat", "anno", annotation)
    with pytest.raises(SampleError, match=r"a\.mat"):
        read_parts(tmp_path / "a.mat", SIZE)


def test_unknown_parts_and_masks_of_another_size_are_refused(tmp_path: Path) -> None:
    """A part that nobody has is not guessed, a small mask not stretched."""
    tail = make_struct(imname="x", objects=make_person(15, {"tail": halves(1, 0)}))
    small = make_struct(imname="x", objects=make_person(15, {"head": np.ones((3, 3), np.uint8)}))
    for annotation, reason in ((tail, "'tail'"), (small, "3x3")):
        save_variable(tmp_path / "a.mat", "anno", annotation)
        with pytest.raises(SampleError, match=reason):
            read_parts(tmp_path / "a.mat", SIZE)


def test_saliency_is_more_than_half_of_white(root: Path) -> None:
    """127 is not salient, 128 is, and an almost black map has nothing salient."""
    np.testing.assert_array_equal(read(root, "sal"), halves(0, 1))
    save_array(root / "sal_distill" / "b.png", halves(0, 1))
    np.testing.assert_array_equal(read(root, "sal", "b"), halves(0, 0))


def test_distilled_normals_count_where_their_network_knew_the_class(root: Path) -> None:
    """On the person a unit vector as stored, on the sky and where the vector is zero nothing."""
    normals_HW3 = read(root, "normals")
    unit = TILT / 255 * 2 - 1
    assert (normals_HW3[:, :15] == 255).all()
    assert (normals_HW3[5] == 255).all()
    known = np.delete(normals_HW3[:, 15:], 5, axis=0)
    np.testing.assert_allclose(known, np.broadcast_to(unit / np.linalg.norm(unit), known.shape), rtol=1e-5)


def test_known_classes_are_those_that_both_datasets_name() -> None:
    """People, chairs and tv monitors are known; aeroplanes, sky and no class at all are not."""
    assert len(NORMALS_CLASSES) == len(set(NORMALS_CLASSES)) == 170
    assert {284, 72, 427, 440, 158} <= set(NORMALS_CLASSES)
    assert not {0, 2, 360, 431} & set(NORMALS_CLASSES)


def test_edges_are_the_thinned_boundaries_of_all_classes(root: Path) -> None:
    """The two columns on both sides of a boundary are worn down to one."""
    edges_HW = read(root, "edge")
    assert edges_HW.dtype == np.uint8
    assert set(np.flatnonzero(edges_HW.any(0))) <= {14, 15}
    assert (edges_HW[1:-1].sum(1) == 1).all()


def test_edges_equal_a_plain_laplacian() -> None:
    """The Laplacian with the neighbour inside standing for the one outside, entry by entry."""
    classes_HW = np.random.default_rng(0).integers(0, 3, (8, 9)).repeat(3, 0).repeat(3, 1)
    padded = np.pad(classes_HW, 1, mode="reflect")
    plain_HW = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * classes_HW
    edges_HW = find_edges(classes_HW)
    assert (plain_HW[edges_HW == 1] != 0).all()
    assert 0 < edges_HW.sum() <= (plain_HW != 0).sum()


@pytest.mark.parametrize("value", [460, -1, 1.5])
def test_maps_of_other_classes_are_refused(tmp_path: Path, value: float) -> None:
    """There are 459 classes."""
    save_variable(tmp_path / "a.mat", "LabelMap", np.full(SIZE, value))
    with pytest.raises(SampleError, match="from 0 to 459"):
        read_label_map(tmp_path / "a.mat", SIZE)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_missing_files_are_named_with_their_sample(root: Path, task: TaskInfo) -> None:
    """A dataset that is published whole has lost a file."""
    source = PascalContextSource(root)
    for path in source.files("b", [task])[1:]:
        path.unlink()
    with pytest.raises(SampleError, match=r"^Sample 'b': .*is missing"):
        source.read("b", [task])


def test_files_of_a_sample_are_all_that_its_labels_depend_on(root: Path) -> None:
    """The map of classes counts for normals and edges, and once."""
    names = [str(path.relative_to(root)) for path in PascalContextSource(root).files("b", TASKS)]
    folders = ["human_parts/b.mat", "sal_distill/b.png", "normals_distill/b.png", "pascal-context/trainval/b.mat"]
    assert names == ["JPEGImages/b.jpg", "semseg/pascal-context/b.png", *folders]


@pytest.mark.parametrize("name", ["../b", "a/b", "..", "na\udce9", "b\n"])
def test_hostile_names_in_lists_are_refused(tmp_path: Path, name: str) -> None:
    """No line of a list leads out of the folder."""
    write_pascal(tmp_path)
    path = tmp_path / "ImageSets" / "Context" / "train.txt"
    path.write_bytes(f"{name}\n{name}".encode("utf-8", "surrogateescape"))
    with pytest.raises(DatasetError, match=r"train\.txt|list"):
        PascalContextSource(tmp_path).ids("train")


def test_samples_in_both_lists_are_refused(tmp_path: Path) -> None:
    """What is trained on is not validated on."""
    write_pascal(tmp_path, train=("a", "b"), val=("b",))
    with pytest.raises(DatasetError, match="one split"):
        PascalContextSource(tmp_path).ids("train")


def test_links_out_of_the_folder_are_refused(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """An image that lies elsewhere is not read, and the sample is named."""
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "x.jpg"
    (root / "JPEGImages" / "b.jpg").rename(elsewhere)
    (root / "JPEGImages" / "b.jpg").symlink_to(elsewhere)
    with pytest.raises(SampleError, match=r"Sample 'b': .* must lie in its folder"):
        PascalContextSource(root).read("b", [])
