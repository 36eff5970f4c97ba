from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from search.data.catalogue import TaskKind
from search.data.transforms import SCALES, Augmentation, augment, draw_augmentations, resize, scale_size

KINDS: dict[str, TaskKind] = {
    "semseg": "segmentation",
    "normals": "normals",
    "depth": "depth",
    "edge": "edge",
    "scene": "classification",
}
DENSE = ("semseg", "normals", "depth", "edge")


def _sample(height: int = 4, width: int = 6) -> dict[str, Tensor]:
    """Return a sample whose labels name their pixel, the first pixel ignored in every dense task."""
    code_HW = (torch.arange(height * width) % 255).view(height, width)
    code = code_HW.float() / 256
    sample = {
        "image": code_HW.to(torch.uint8).expand(3, height, width).contiguous(),
        "semseg": code_HW.to(torch.uint8),
        "normals": torch.stack([code, torch.full_like(code, 0.5), -code]).half(),
        "depth": code_HW + 1.0,
        "edge": (code_HW % 2).to(torch.uint8),
        "scene": torch.tensor(3),
    }
    for name in DENSE:
        sample[name][..., 0, 0] = 255
    return sample


def _plain_label(label: Tensor, kind: TaskKind, done: Augmentation) -> Tensor:
    """Return an augmented label (C, H, W) by a loop over its pixels; the plain twin."""
    height, width = label.shape[1:]
    scaled = scale_size((height, width), done.scale)
    out = torch.full_like(label, 255)
    for row in range(height):
        for col in range(width):
            large_row, large_col = row + done.top, (width - 1 - col if done.flip else col) + done.left
            if not (0 <= large_row < scaled[0] and 0 <= large_col < scaled[1]):
                continue
            # The pixel that holds the centre of this one, in whole numbers.
            own_row = (2 * large_row + 1) * height // (2 * scaled[0])
            own_col = (2 * large_col + 1) * width // (2 * scaled[1])
            value = label[:, own_row, own_col].clone()
            if kind == "depth" and value[0] != 255:
                value = value / done.scale
            if kind == "normals" and done.flip and value[0] != 255:
                value[0] = -value[0]
            if kind == "edge" and done.scale < 1 and (large_row, large_col) in _shrunk_edges(label, scaled):
                value[0] = 1
            out[:, row, col] = value
    return out


def _shrunk_edges(label: Tensor, size: tuple[int, int]) -> set[tuple[int, int]]:
    """Return the pixels of a smaller label (1, H, W) that an edge falls into."""
    pixels = (label[0] == 1).nonzero().tolist()
    return {(row * size[0] // label.shape[1], col * size[1] // label.shape[2]) for row, col in pixels}


sides = st.integers(1, 14)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), height=sides, width=sides)
def test_every_label_is_where_a_plain_loop_puts_it(seed: int, height: int, width: int) -> None:
    """After scaling, cropping or padding, and flipping, to the bit, in every kind of task."""
    sample = _sample(height, width)
    (drawn,) = draw_augmentations(1, (height, width), torch.Generator().manual_seed(seed))
    out = augment(sample, KINDS, drawn)
    assert list(out) == list(sample)
    for name in DENSE:
        label = sample[name] if sample[name].dim() == 3 else sample[name][None]
        wanted = _plain_label(label, KINDS[name], drawn).view(sample[name].shape)
        assert torch.equal(out[name], wanted), (name, drawn)
        assert out[name].dtype == sample[name].dtype
    assert out["scene"] == 3


@settings(max_examples=60, deadline=None)
@given(own=st.tuples(st.integers(1, 40), st.integers(1, 40)), wanted=st.tuples(sides, sides))
def test_resized_labels_are_those_of_the_nearest_pixels(own: tuple[int, int], wanted: tuple[int, int]) -> None:
    """In whole numbers, whatever the two sizes; metres stay metres, and a class label is no map."""
    sample = _sample(*own)
    out = resize(sample, KINDS, wanted)
    rows, cols = ((2 * torch.arange(new) + 1) * old // (2 * new) for new, old in zip(wanted, own, strict=True))
    for name in DENSE:
        nearest = sample[name][..., rows[:, None], cols].clone()
        if name == "edge":
            small = min(wanted[0], own[0]), min(wanted[1], own[1])
            fallen = _shrunk_edges(sample[name][None], small)
            for row, col in product(range(wanted[0]), range(wanted[1])):
                place = tuple(
                    (2 * at + 1) * old // (2 * new) for at, old, new in zip((row, col), small, wanted, strict=True)
                )
                nearest[row, col] = 1 if place in fallen else nearest[row, col]
        assert torch.equal(out[name], nearest), name
    assert out["image"].shape == (3, *wanted)
    assert out["scene"] == 3


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("side", [173, 250, 256, 425, 512, 560])
def test_the_nearest_pixel_is_exact_at_sizes_of_real_images(scale: float, side: int) -> None:
    """Of every scale of the recipe; torch computes in floating point, the twin in whole numbers."""
    new = scale_size((side, 1), scale)[0]
    label = torch.arange(side, dtype=torch.float32)[None].repeat(2, 1)
    out = resize({"depth": label}, {"depth": "depth"}, (2, new))["depth"]
    assert torch.equal(out[0].long(), (2 * torch.arange(new) + 1) * side // (2 * new))


def test_nothing_changes_at_scale_one_without_a_flip() -> None:
    """The identity is exact, to the bit, and the sample itself is left alone by all others."""
    sample = _sample()
    copies = {name: value.clone() for name, value in sample.items()}
    assert all(torch.equal(value, sample[name]) for name, value in augment(sample, KINDS, Augmentation()).items())
    for done in (Augmentation(flip=True), Augmentation(2.0, 1, 2, True), Augmentation(0.5, -1, -2)):
        augment(sample, KINDS, done)
        assert all(torch.equal(value, copies[name]) for name, value in sample.items())


def test_a_flip_mirrors_every_map_and_turns_x_of_the_normals() -> None:
    """Ignored pixels move along and stay 255 in all three channels."""
    sample = _sample()
    out = augment(sample, KINDS, Augmentation(flip=True))
    for name in ("image", "semseg", "depth", "edge"):
        assert torch.equal(out[name], sample[name].flip(-1)), name
    expected = sample["normals"].flip(-1)
    expected[0] = torch.where(expected[0] == 255, 255.0, -expected[0])
    assert torch.equal(out["normals"], expected)


def test_half_as_large_is_padded_with_the_mean_and_nothing_to_learn() -> None:
    """The small image lies where the negative offset puts it, everything around it is ignored."""
    sample = _sample()
    out = augment(sample, KINDS, Augmentation(0.5, top=-1, left=-2))
    inside = torch.zeros(4, 6, dtype=torch.bool)
    inside[1:3, 2:5] = True
    assert (out["image"][:, ~inside] == sample["image"].float().mean().round()).all()
    assert all((out[name][..., ~inside] == 255).all() for name in DENSE)
    assert out["semseg"][1:3, 2:5].tolist() == [[7, 9, 11], [19, 21, 23]]
    assert out["depth"][1, 2] == 2 * 8.0


@pytest.mark.parametrize("scale", SCALES)
def test_the_image_is_resized_as_torch_resizes_it(scale: float) -> None:
    """To one level of grey, since it is rounded twice; where it shrinks, over all pixels that fall into one."""
    image = torch.randint(0, 256, (3, 8, 12), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    size = scale_size((8, 12), scale)
    whole = functional.interpolate(image[None].float(), size, mode="bilinear", antialias=True)[0]
    top, left = max(size[0] - 8, 0) // 2, max(size[1] - 12, 0)
    out = augment({"image": image}, {}, Augmentation(scale, top, left))["image"]
    window = whole[:, top : top + 8, left : left + 12]
    assert (out[:, : window.shape[1], : window.shape[2]] - window).abs().max() < 1.01


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), height=st.integers(1, 9), width=st.integers(1, 9))
def test_windows_lie_inside_large_images_and_around_small_ones(seed: int, height: int, width: int) -> None:
    """No part of a smaller image is lost and no part of a larger one's window is padded."""
    for drawn in draw_augmentations(16, (height, width), torch.Generator().manual_seed(seed)):
        scaled = scale_size((height, width), drawn.scale)
        for own, side, offset in zip((height, width), scaled, (drawn.top, drawn.left), strict=True):
            assert min(0, side - own) <= offset <= max(0, side - own)


def test_every_scale_place_and_direction_occurs() -> None:
    """As often as any other; equal seeds give equal draws."""
    drawn, again = (draw_augmentations(700, (32, 32), torch.Generator().manual_seed(4)) for _ in range(2))
    assert drawn == again
    assert all(60 < sum(one.scale == scale for one in drawn) < 140 for scale in SCALES)
    assert 300 < sum(one.flip for one in drawn) < 400
    assert {one.top for one in drawn if one.scale == 1.25} == set(range(9))
    assert {one.left for one in drawn if one.scale == 0.75} == set(range(-8, 1))


def test_fine_stripes_turn_grey_where_an_image_shrinks() -> None:
    """Taking every other pixel would turn them black or white."""
    stripes = torch.zeros(3, 32, 32, dtype=torch.uint8)
    stripes[:, ::2] = 255
    out = resize({"image": stripes}, {}, (16, 16))["image"][:, 1:-1]
    assert 110 < out.min() <= out.max() < 145


@pytest.mark.parametrize("scale", [0.5, 0.75])
def test_lines_stay_lines_where_an_image_shrinks(scale: float) -> None:
    """Every row of an upright line one pixel wide has an edge, wherever the line stands; none gets two pixels wide."""
    size = scale_size((24, 24), scale)
    for col in range(24):
        line = torch.zeros(24, 24, dtype=torch.uint8)
        line[:, col] = 1
        shrunk = resize({"edge": line}, KINDS, size)["edge"]
        assert (shrunk.sum(1) >= 1).all()
        assert (shrunk.sum(1) <= 2).all()
        assert (shrunk.sum(1) == 1).all() or scale != 0.5


def test_sizes_are_rounded_to_whole_pixels() -> None:
    """Two thirds of 425x560 are 283x373, and no side vanishes."""
    assert scale_size((425, 560), 2 / 3) == (283, 373)
    assert scale_size((1, 1), 0.1) == (1, 1)
