"""Two overlapping handwritten digits per image: real data for which the right tree is known.

Source of the digits: scikit-learn's `load_digits` (UCI, 8x8 pixels). One task's signal is another's noise: whoever
reads the left digit must ignore the right one, and `left_group` is a colouring of the left digit.
Everything is kept in memory as tensors, since a batch must cost next to nothing. Shapes: B batch, H W pixels.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from search.data.splits import make_generator
from search.data.transforms import scale_size
from search.errors import DatasetError

CANVAS = 24
GROUP_OF_DIGIT = (0, 1, 1, 0, 1, 0, 0, 1, 1, 0)
# The data are the same for every job: this seed has nothing to do with the job's.
_DATA_SEED = 20200907
_TRAIN_SOURCE_SHARE = 0.6
_SOURCE_SIDE = 8
_SOURCE_FILE = "datasets/data/digits.csv.gz"


@cache
def load_sources() -> tuple[Tensor, Tensor]:
    """Return the 1797 source digits, float32 (N, 8, 8) in [0, 1], and which digit each one is, int64 (N,).

    Raises:
        DatasetError: scikit-learn, with which they come, is not installed, or its file is not there.
    """
    rows = np.loadtxt(gzip.decompress(_find_source_file().read_bytes()).decode("ascii").splitlines(), delimiter=",")
    images = rows[:, :-1].reshape(-1, _SOURCE_SIDE, _SOURCE_SIDE) / 16  # values are 0 .. 16
    return torch.from_numpy(images).float(), torch.from_numpy(rows[:, -1].astype(np.int64))


def _find_source_file() -> Path:
    """Return where scikit-learn keeps the digits; importing it for one file would take a second of every trial."""
    spec = find_spec("sklearn")
    folders = (spec.submodule_search_locations or []) if spec is not None else []
    for path in (Path(folder) / _SOURCE_FILE for folder in folders):
        if path.is_file():
            return path
    raise DatasetError(f"digits needs scikit-learn with its {_SOURCE_FILE}, which is not here. Install scikit-learn.")


def split_sources() -> tuple[Tensor, Tensor]:
    """Return the source digits of the training and of the validation images, int64 indices, disjoint."""
    num_sources = len(load_sources()[0])
    order = torch.randperm(num_sources, generator=make_generator(_DATA_SEED, "digits", "sources"))
    num_train = round(_TRAIN_SOURCE_SHARE * num_sources)
    return order[:num_train].sort().values, order[num_train:].sort().values


def draw_pairs(split: str, num_samples: int) -> Tensor:
    """Return the source digits of the first images of a split, int64 (num_samples, 2) for left and right.

    Args:
        split: "train" or "val".
        num_samples: Images wanted; a longer list begins with the shorter one.
    """
    pool = split_sources()[0 if split == "train" else 1]
    generator = make_generator(_DATA_SEED, "digits", split)
    # Row by row, so that the first N images do not depend on how many are drawn.
    drawn = [torch.randint(len(pool), (2,), generator=generator) for _ in range(num_samples)]
    return pool[torch.stack(drawn)]


def compose_images(sources_NHW: Tensor, pairs_N2: Tensor) -> Tensor:
    """Return the images of pairs of digits, float32 (N, 1, 24, 24) in [-1, 1].

    Each digit is doubled in size bilinearly; the left one lies at rows and columns 0..16, the right one at 8..24, and
    the brighter of the two is seen where they overlap.
    """
    large_N1HW = nn.functional.interpolate(sources_NHW[:, None], scale_factor=2, mode="bilinear", align_corners=False)
    side = large_N1HW.shape[-1]
    left = nn.functional.pad(large_N1HW[pairs_N2[:, 0]], (0, CANVAS - side, 0, CANVAS - side))
    right = nn.functional.pad(large_N1HW[pairs_N2[:, 1]], (CANVAS - side, 0, CANVAS - side, 0))
    return torch.maximum(left, right) * 2 - 1


class DigitsDataset:
    """One split of `digits`, in memory."""

    in_memory = True

    def __init__(
        self,
        split: str,
        num_samples: int,
        tasks: Sequence[str],
        *,
        resolution_scale: float = 1.0,
        augment: bool = False,
    ) -> None:
        """Compose the images of a split.

        Args:
            split: "train" or "val".
            num_samples: The first images of the split.
            tasks: Which of left, right, left_group and right_group to label.
            resolution_scale: Side of the images as a share of 24 pixels.
            augment: Whether a batch with a generator is shifted by up to one pixel. Digits are neither flipped nor
                scaled, since that would change what they are and which one is the left one.
        """
        sources, digit_of_source = load_sources()
        pairs = draw_pairs(split, num_samples)
        left, right = digit_of_source[pairs].unbind(1)
        group_of_digit = torch.tensor(GROUP_OF_DIGIT)
        labels = {
            "left": left,
            "right": right,
            "left_group": group_of_digit[left],
            "right_group": group_of_digit[right],
        }
        self._augment = augment
        self._image_N1HW = compose_images(sources, pairs)
        self._labels = {name: labels[name].contiguous() for name in tasks}
        # Of the images before they are resized: the same data have the same digest at any resolution of the search.
        self.digest = _digest(self._image_N1HW, self._labels)
        if resolution_scale != 1:
            size = scale_size((CANVAS, CANVAS), resolution_scale)
            self._image_N1HW = nn.functional.interpolate(self._image_N1HW, size, mode="bilinear")

    def __len__(self) -> int:
        return len(self._image_N1HW)

    def batch(self, indices: Sequence[int] | Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Return the image, float32 (B, 1, H, W) in [-1, 1], and one int64 (B,) label per task.

        Args:
            indices: Samples, in the order wanted.
            generator: Draws the shifts of an augmented split; None gives the images as they are.
        """
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        image_B1HW = self._image_N1HW[chosen]
        if self._augment and generator is not None:
            image_B1HW = _shift(image_B1HW, generator)
        return {"image": image_B1HW} | {name: label[chosen] for name, label in self._labels.items()}


def _shift(image_B1HW: Tensor, generator: torch.Generator) -> Tensor:
    """Return the images moved by -1, 0 or 1 pixel down and to the right, each by its own draw; ink may leave."""
    num, _, height, width = image_B1HW.shape
    down_B, right_B = torch.randint(0, 3, (2, num), generator=generator)
    padded = nn.functional.pad(image_B1HW, (1, 1, 1, 1), value=-1.0)
    rows_BH = down_B[:, None] + torch.arange(height)
    cols_BW = right_B[:, None] + torch.arange(width)
    return padded[torch.arange(num)[:, None, None], 0, rows_BH[:, :, None], cols_BW[:, None, :]][:, None]


def _digest(image_N1HW: Tensor, labels: dict[str, Tensor]) -> str:
    """Return the SHA-256 of images and labels, in hexadecimal."""
    sha = hashlib.sha256(repr(tuple(image_N1HW.shape)).encode())
    sha.update(image_N1HW.numpy().tobytes())
    for name, label in labels.items():
        sha.update(name.encode())
        sha.update(label.numpy().tobytes())
    return sha.hexdigest()
