import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from search.data.catalogue import TaskKind
from search.data.transforms import (
    SCALES,
    Augmentation,
    apply_augmentation,
    augment,
    draw_augmentation,
    resize,
    scale_size,
)

KINDS: dict[str, TaskKind] = {
    "semseg": "segmentation",
    "normals": "normals",
    "depth": "depth",
    "edge": "edge",
    "scene": "classification",
}


def _batch(height: int = 4, width: int = 6) -> dict[str, Tensor]:
    """Return one image whose labels name their pixel, the first pixel ignored in every dense task."""
    code_BHW = torch.arange(height * width).view(1, height, width)
    normals = torch.stack([torch.full_like(code_BHW, part).float() for part in (0.6, 0.0, 0.8)], 1)
    normals[:, 0] = 0.6
    normals[:, 2] = 0.8
    batch = {
        "image": code_BHW[:, None].expand(1, 3, height, width) / (height * width),
        "semseg": code_BHW.clone(),
        "normals": normals,
        "depth": code_BHW[:, None] + 1.0,
        "edge": (code_BHW[:, None] % 2).float(),
        "scene": torch.tensor([3]),
    }
    for name in ("semseg", "normals", "depth", "edge"):
        batch[name][..., 0, 0] = 255
    return batch


def _augmentation(*, flip: bool = False, scale: float = 1.0, top: int = 0, left: int = 0) -> Augmentation:
    """Return a known augmentation of one image."""
    return Augmentation(torch.tensor([flip]), torch.tensor([scale]), torch.tensor([top]), torch.tensor([left]))


def test_nothing_changes_at_scale_one_without_a_flip() -> None:
    """The identity is exact, to the bit."""
    batch = _batch()
    out = apply_augmentation(batch, KINDS, _augmentation())
    assert list(out) == list(batch)
    for name, value in batch.items():
        assert torch.equal(out[name], value), name
        assert out[name].dtype == value.dtype


def test_a_flip_mirrors_every_map_and_turns_x_of_the_normals() -> None:
    """Ignored pixels move along and stay 255 in all three channels."""
    batch = _batch()
    out = apply_augmentation(batch, KINDS, _augmentation(flip=True))
    for name in ("image", "semseg", "depth", "edge"):
        assert torch.equal(out[name], batch[name].flip(-1)), name
    expected = batch["normals"].flip(-1)
    expected[:, 0] = torch.where(expected[:, 0] == 255, 255.0, -expected[:, 0])
    assert torch.equal(out["normals"], expected)
    assert out["scene"].tolist() == [3]


def test_twice_as_large_shows_a_quarter_twice_as_near() -> None:
    """Each label pixel covers two by two, depth halves, and the window begins where it was told."""
    batch = _batch()
    out = apply_augmentation(batch, KINDS, _augmentation(scale=2.0, top=3, left=5))
    rows, cols = (torch.arange(4) + 3) // 2, (torch.arange(6) + 5) // 2
    assert torch.equal(out["semseg"], batch["semseg"][:, rows[:, None], cols])
    assert torch.equal(out["depth"], batch["depth"][:, :, rows[:, None], cols] / 2)
    assert torch.equal(out["normals"], batch["normals"][:, :, rows[:, None], cols])


def test_an_ignored_depth_is_not_divided() -> None:
    """255 means the same at every scale."""
    out = apply_augmentation(_batch(), KINDS, _augmentation(scale=2.0))
    assert (out["depth"][0, 0, :2, :2] == 255).all()
    assert (out["normals"][0, :, :2, :2] == 255).all()


def test_half_as_large_is_padded_with_the_mean_and_nothing_to_learn() -> None:
    """The small image lies where the negative offset puts it, everything around it is ignored."""
    batch = _batch()
    out = apply_augmentation(batch, KINDS, _augmentation(scale=0.5, top=-1, left=-2))
    inside = torch.zeros(4, 6, dtype=torch.bool)
    inside[1:3, 2:5] = True
    assert (out["image"][0, :, ~inside] == batch["image"].mean()).all()
    for name in ("semseg", "depth", "edge", "normals"):
        assert (out[name][0, ..., ~inside] == 255).all(), name
    assert out["semseg"][0, 1:3, 2:5].tolist() == [[7, 9, 11], [19, 21, 23]]
    assert out["depth"][0, 0, 1, 2] == 2 * 8.0


@pytest.mark.parametrize("scale", SCALES)
def test_the_image_is_resized_as_torch_resizes_it(scale: float) -> None:
    """The fast path agrees with interpolating the whole image and cutting the window out of it."""
    image = torch.rand(1, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    size = scale_size((8, 12), scale)
    whole = nn.functional.interpolate(image, size, mode="bilinear")
    top, left = max(size[0] - 8, 0) // 2, max(size[1] - 12, 0)
    out = apply_augmentation({"image": image}, {}, _augmentation(scale=scale, top=top, left=left))["image"]
    window = whole[..., top : top + 8, left : left + 12]
    assert torch.allclose(out[..., : window.shape[2], : window.shape[3]], window, atol=1e-6)


def test_images_of_a_batch_are_augmented_each_on_its_own() -> None:
    """A batch gives what its images give one by one."""
    single = _batch()
    batch = {name: torch.cat([value, value]) for name, value in single.items()}
    both = Augmentation(
        torch.tensor([True, False]), torch.tensor([0.5, 1.5]), torch.tensor([-2, 1]), torch.tensor([0, 2])
    )
    out = apply_augmentation(batch, KINDS, both)
    for index in range(2):
        one = Augmentation(*(part[index : index + 1] for part in (both.flip, both.scale, both.top, both.left)))
        alone = apply_augmentation(single, KINDS, one)
        assert all(torch.equal(out[name][index : index + 1], alone[name]) for name in out)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), height=st.integers(1, 9), width=st.integers(1, 9))
def test_windows_lie_inside_large_images_and_around_small_ones(seed: int, height: int, width: int) -> None:
    """No part of a smaller image is lost and no part of a larger one's window is padded."""
    drawn = draw_augmentation(16, (height, width), torch.Generator().manual_seed(seed))
    for side, offset in ((height, drawn.top), (width, drawn.left)):
        slack = (side * drawn.scale.double()).round().long().clamp(min=1) - side
        assert (offset.abs() <= slack.abs()).all()
        assert (offset * slack >= 0).all()


def test_augmentation_follows_the_generator_alone() -> None:
    """Equal seeds give equal batches, and every scale and both directions occur."""
    batch = {name: torch.cat([value] * 64) for name, value in _batch().items()}
    first, second = (augment(batch, KINDS, torch.Generator().manual_seed(4)) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in batch)
    drawn = draw_augmentation(200, (32, 32), torch.Generator().manual_seed(4))
    assert set(drawn.scale.tolist()) == set(SCALES)
    assert 60 < int(drawn.flip.sum()) < 140


def test_resizing_keeps_metres_and_label_values() -> None:
    """Labels are those of the nearest pixel; a class label is no map and stays."""
    batch = _batch()
    out = resize(batch, KINDS, (2, 3))
    assert out["image"].shape == (1, 3, 2, 3)
    assert torch.allclose(out["image"], nn.functional.avg_pool2d(batch["image"], 2))
    assert out["semseg"].tolist() == [[[7, 9, 11], [19, 21, 23]]]
    assert out["depth"][0, 0].tolist() == [[8, 10, 12], [20, 22, 24]]
    assert out["normals"].shape == (1, 3, 2, 3)
    assert out["scene"].tolist() == [3]


def test_sizes_are_rounded_to_whole_pixels() -> None:
    """Two thirds of 425x560 are 283x373, and no side vanishes."""
    assert scale_size((425, 560), 2 / 3) == (283, 373)
    assert scale_size((1, 1), 0.1) == (1, 1)
