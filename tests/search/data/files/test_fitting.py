from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.data.catalogue import TaskInfo
from search.data.files.fitting import InputForm, count_bytes, fit_sample, place
from search.data.files.sources import Label, Sample
from search.spec import Fit

SEMSEG = TaskInfo("semseg", "segmentation", 255)
DEPTH = TaskInfo("depth", "depth", 1)
NORMALS = TaskInfo("normals", "normals", 3)
EDGE = TaskInfo("edge", "edge", 1, positive_weight=0.9)
SCENE = TaskInfo("scene", "classification", 4)
TASKS = (SEMSEG, DEPTH, NORMALS, EDGE, SCENE)


def _sample(height: int, width: int, labels: Mapping[str, Label] | None = None) -> Sample:
    """Return a random image with the labels given, or one label map whose values name their pixel."""
    rng = np.random.default_rng(height * 1000 + width)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    codes = (np.arange(height * width) % 251).astype(np.uint8).reshape(height, width)
    return Sample(image, {"semseg": codes} if labels is None else labels)


sides = st.integers(1, 12)


@settings(max_examples=60, deadline=None)
@given(native=st.tuples(sides, sides), wanted=st.tuples(sides, sides), fit=st.sampled_from(["resize", "pad"]))
def test_every_label_is_that_of_the_nearest_pixel(native: tuple[int, int], wanted: tuple[int, int], fit: Fit) -> None:
    """A plain loop over the pixels of the input finds the same label, and 255 outside of the image."""
    form, sample = InputForm(wanted, fit), _sample(*native)
    placement = place(native, form)
    label, codes = fit_sample(sample, [SEMSEG], form)["semseg"], np.asarray(sample.labels["semseg"])
    assert label.shape == wanted
    for row in range(wanted[0]):
        for col in range(wanted[1]):
            if row >= placement.size[0] or col >= placement.size[1]:
                assert label[row, col] == 255
                continue
            own_row = int((row + 0.5) / placement.scale[0] + 1e-9)
            own_col = int((col + 0.5) / placement.scale[1] + 1e-9)
            assert label[row, col] == codes[own_row, own_col]


@settings(max_examples=60, deadline=None)
@given(native=st.tuples(sides, sides), wanted=st.tuples(sides, sides), share=st.sampled_from([1.0, 0.5, 2 / 3]))
def test_a_padded_image_lies_inside_and_is_never_enlarged(
    native: tuple[int, int], wanted: tuple[int, int], share: float
) -> None:
    """Both sides fit, and the larger side of an image that is too large fills the input."""
    form = InputForm(wanted, "pad", share)
    placement = place(native, form)
    assert (placement.top, placement.left) == (0, 0)
    assert all(inside <= side for inside, side in zip(placement.size, form.size, strict=True))
    assert all(1 <= inside <= max(1, own) for inside, own in zip(placement.size, native, strict=True))
    if any(own >= side for own, side in zip(native, wanted, strict=True)):
        assert any(inside == side for inside, side in zip(placement.size, form.size, strict=True))


def test_an_image_of_the_right_size_is_left_alone() -> None:
    """Neither way of fitting changes a byte of it."""
    sample = _sample(5, 7)
    for form in (InputForm((5, 7)), InputForm((5, 7), "pad")):
        arrays = fit_sample(sample, [SEMSEG], form)
        assert np.array_equal(arrays["image"], sample.image_HWC.transpose(2, 0, 1))
        assert arrays["semseg"].tobytes() == np.asarray(sample.labels["semseg"]).tobytes()
        assert arrays["native size"].tolist() == [5, 7]


@pytest.mark.parametrize("fit", ["resize", "pad"])
def test_lines_stay_lines_in_a_smaller_input(fit: Fit) -> None:
    """Fine contours of a large photograph are not thinned out to dashes; ignored pixels stay ignored elsewhere."""
    edges = np.zeros((90, 120), dtype=np.uint8)
    edges[:, 37], edges[50], edges[:9] = 1, 1, 255
    label = fit_sample(_sample(90, 120, {"edge": edges}), [EDGE], InputForm((30, 40), fit))["edge"]
    assert (label[3:, 37 // 3] == 1).all()
    assert (label[50 // 3] == 1).all()
    assert (label[:3, :12] == 255).all()
    assert (label == 1).sum() == 27 + 40 - 1


def test_lines_stay_lines_where_one_side_grows_and_the_other_shrinks() -> None:
    """Neither gaps nor dots, whatever the stretching."""
    edges = np.zeros((60, 30), dtype=np.uint8)
    edges[:, 7], edges[21] = 1, 1
    label = fit_sample(_sample(60, 30, {"edge": edges}), [EDGE], InputForm((30, 90)))["edge"]
    assert (label[:, 21:24] == 1).all()
    assert (label[10] == 1).all()
    assert (label == 1).sum() == 30 * 3 + 90 - 3


def test_around_a_padded_image_is_its_mean_colour() -> None:
    """The image keeps its own pixels, so that nothing is smoothed that need not be."""
    sample = _sample(4, 6)
    image = fit_sample(sample, [], InputForm((6, 8), "pad"))["image"]
    assert np.array_equal(image[:, :4, :6], sample.image_HWC.transpose(2, 0, 1))
    mean = sample.image_HWC.mean((0, 1)).round()
    assert (image[:, 4:] == mean[:, None, None]).all()
    assert (image[:, :, 6:] == mean[:, None, None]).all()


def test_a_large_image_is_averaged_and_not_thinned_out() -> None:
    """Fine stripes turn grey; taking every other pixel would make them black or white."""
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    image = fit_sample(Sample(stripes, {}), [], InputForm((16, 16)))["image"]
    assert 110 < image[:, :, 1:-1].min() <= image[:, :, 1:-1].max() < 145


def test_every_kind_of_label_keeps_its_values() -> None:
    """Metres stay metres, directions stay directions, ignored pixels stay ignored, and a class is no map."""
    direction = np.array([0.6, -0.8, 0.0], dtype=np.float32)
    normals = np.tile(direction, (2, 2, 1))
    normals[0, 0] = 255
    depth = np.array([[255, 1.25], [2.5, 300.0]], dtype=np.float32)
    labels: dict[str, Label] = {
        "depth": depth,
        "normals": normals,
        "edge": np.array([[0, 1], [255, 0]], dtype=np.uint8),
        "scene": 3,
    }
    arrays = fit_sample(_sample(2, 2, labels), TASKS, InputForm((4, 4)))
    assert "semseg" not in arrays
    assert np.array_equal(arrays["depth"], depth.repeat(2, 0).repeat(2, 1))
    assert (arrays["normals"][:, :2, :2] == 255).all()
    assert np.allclose(arrays["normals"][:, 2:, 2:].transpose(1, 2, 0), direction, atol=5e-4)
    assert np.array_equal(arrays["edge"], np.array([[0, 1], [255, 0]]).repeat(2, 0).repeat(2, 1))
    assert arrays["scene"] == 3
    assert [arrays[name].dtype for name in ("depth", "normals", "edge", "scene")] == ["f4", "f2", "u1", "i8"]


@pytest.mark.parametrize("fit", ["resize", "pad"])
def test_the_search_sees_the_same_view_at_a_lower_resolution(fit: Fit) -> None:
    """Half the resolution halves the place of the image, to the pixel."""
    full, half = (place((40, 60), InputForm((64, 64), fit, share)) for share in (1.0, 0.5))
    assert [2 * side for side in half.size] == list(full.size)
    assert half.size == ((20, 30) if fit == "pad" else (32, 32))


def test_the_bytes_of_a_sample_are_known_before_it_is_made() -> None:
    """What a cache sets aside is enough and not much more."""
    height, width = 64, 48
    dense = (height, width)
    labels: dict[str, Label] = {
        "semseg": np.zeros(dense, np.uint8),
        "depth": np.ones(dense, np.float32),
        "normals": np.tile(np.array([0, 0, 1], np.float32), (height, width, 1)),
        "edge": np.zeros(dense, np.uint8),
        "scene": 1,
    }
    form = InputForm(dense)
    arrays = fit_sample(_sample(height, width, labels), TASKS, form)
    assert 0 < count_bytes(TASKS, form) - sum(array.nbytes for array in arrays.values()) <= 4096
