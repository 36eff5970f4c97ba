"""From a job's words to its samples: the one table of what loads which dataset.

Every dataset gives batches of one form, described at `TaskDataset.batch`. Shapes: B batch, C channels, H W pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor

from search.data.cache_size import DEFAULT_CACHE_BYTES
from search.data.catalogue import DatasetInfo, TaskInfo
from search.data.digits import DigitsDataset
from search.data.scene_files import ScenesDataset, SceneSplit, load_arrays
from search.errors import InputSizeError, SampleError, SettingError, UnknownNameError
from search.spec import DataSpec, Fit

Progress = Callable[[int, int], None]


class TaskDataset(Protocol):
    """One split of a dataset: images with one label per task."""

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int] | Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Return "image", float32 (B, C, H, W) in [-1, 1], and per task its label; 255 means "ignore" in every task.

        Labels by kind: classification int64 (B,); segmentation and parts int64 (B, H, W); saliency and edge float32
        (B, 1, H, W) in {0, 1}; normals float32 (B, 3, H, W), unit vectors with x to the right, y up and z towards the
        camera, 255 in all three where ignored; depth float32 (B, 1, H, W) in metres along the optical axis.

        Args:
            indices: Samples, in the order wanted.
            generator: Draws the random augmentation of an augmented split; None gives the samples as they are.
        """
        ...


@dataclass(frozen=True)
class LoadedData:
    """The two splits of a job.

    Attributes:
        train: Training samples, augmented when a generator is given and the job wants it.
        val: Validation samples, never augmented.
        fingerprint: SHA-256 in hexadecimal over images and labels of both splits before any resizing, or over what
            determines them, so that the search at a lower resolution and the training at the full one name the same
            data.
    """

    train: TaskDataset
    val: TaskDataset
    fingerprint: str


@dataclass(frozen=True)
class _Request:
    """What a loader is asked for, checked."""

    info: DatasetInfo
    tasks: tuple[TaskInfo, ...]
    size: tuple[int, int]
    fit: Fit
    num_train: int
    num_val: int
    augment: bool
    resolution_scale: float
    place: Path | None
    cache_dir: Path
    cache_bytes: int
    progress: Progress | None


def load_data(
    info: DatasetInfo,
    tasks: Sequence[TaskInfo],
    spec: DataSpec,
    *,
    resolution_scale: float = 1.0,
    place: Path | None = None,
    cache_dir: Path,
    cache_bytes: int = DEFAULT_CACHE_BYTES,
    progress: Progress | None = None,
) -> LoadedData:
    """Return the training and validation samples of a job; what has to be rendered first is cached on disk.

    Args:
        info: The dataset.
        tasks: Its tasks that get labels in the batches.
        spec: Input size, how many samples of each split (from the first), and whether training is augmented.
        resolution_scale: Side of images and labels as a share of the input size, in (0, 1].
        place: Where a dataset made of files lies: its folder or its dataset.yaml.
        cache_dir: Folder for rendered and finished samples; made when needed.
        cache_bytes: What the finished samples of all datasets made of files may take there.
        progress: Called with (samples done, samples in all) while data are prepared.

    Raises:
        InputSizeError: The dataset does not come in this size.
        SettingError: More samples are asked for than there are, a scale outside (0, 1], or padding without an effect.
        UnknownNameError: Neither a loader nor a place for this dataset.
        DatasetError: The cache folder cannot be written, or what the files hold is not usable.
        SampleError: A sample's files are not usable.
    """
    if info.name not in _LOADERS and place is None:
        known = ", ".join(_LOADERS)
        raise UnknownNameError(f"Dataset '{info.name}' has no files here. Say where they lie, or choose from: {known}.")
    _check_size(info, spec.input_size)
    if not 0 < resolution_scale <= 1:
        raise SettingError(f"resolution_scale must lie in (0, 1], got {resolution_scale:g}. Use 1 for the full size.")
    if info.embedded and spec.fit != "resize":
        raise SettingError(f"Samples of '{info.name}' come in the size asked for, so fit '{spec.fit}' has no effect.")
    request = _Request(
        info=info,
        tasks=tuple(tasks),
        size=(spec.input_size[0], spec.input_size[1]),
        fit=spec.fit,
        num_train=_check_count("training", spec.num_train, info.num_train, info.name),
        num_val=_check_count("validation", spec.num_val, info.num_val, info.name),
        augment=spec.augment,
        resolution_scale=resolution_scale,
        place=place,
        cache_dir=cache_dir,
        cache_bytes=cache_bytes,
        progress=progress,
    )
    return _LOADERS.get(info.name, _load_files)(request)


def _check_size(info: DatasetInfo, size: tuple[int, int]) -> None:
    """Raise InputSizeError unless the dataset comes in this (H, W)."""
    smallest, largest = info.sizes
    if all(smallest <= side <= largest for side in size):
        return
    allowed = f"{smallest}x{smallest} only" if smallest == largest else f"sides from {smallest} to {largest} pixels"
    default = "x".join(map(str, info.default_size))
    raise InputSizeError(
        f"Dataset '{info.name}' comes in {allowed}, got {size[0]}x{size[1]}. Ask for example for {default}."
    )


def _check_count(what: str, wanted: int | None, available: int, dataset: str) -> int:
    """Return the number of samples to use, all of them for None, or raise SettingError when there are fewer."""
    if wanted is None:
        return available
    if wanted > available:
        raise SettingError(
            f"Dataset '{dataset}' has {available} {what} samples, got a request for {wanted}. "
            f"Ask for at most {available}, or for none in particular to use all."
        )
    return wanted


def _combine(train_digest: str, val_digest: str) -> str:
    """Return the fingerprint of a pair of splits."""
    return hashlib.sha256(f"{train_digest}/{val_digest}".encode()).hexdigest()


def _load_digits(request: _Request) -> LoadedData:
    """Return `digits`."""
    names = [task.name for task in request.tasks]
    scale = request.resolution_scale
    train = DigitsDataset("train", request.num_train, names, resolution_scale=scale, augment=request.augment)
    val = DigitsDataset("val", request.num_val, names, resolution_scale=scale)
    return LoadedData(train, val, _combine(train.digest, val.digest))


def _load_scenes(request: _Request) -> LoadedData:
    """Return `scenes`."""
    total = request.num_train + request.num_val
    datasets, digests = [], []
    for split, num_samples, num_before in (
        ("train", request.num_train, 0),
        ("val", request.num_val, request.num_train),
    ):
        wanted = SceneSplit(split, request.size, num_samples)
        rendered = None if request.progress is None else _count_on(request.progress, num_before, total)
        arrays = load_arrays(wanted, request.tasks, request.cache_dir, rendered)
        augmented = request.augment and split == "train"
        datasets.append(
            ScenesDataset(arrays, request.tasks, resolution_scale=request.resolution_scale, augmented=augmented)
        )
        # The key determines the arrays, and unlike their bytes it does not depend on how a processor rounds.
        digests.append("/".join([wanted.key, *(task.name for task in request.tasks)]))
    return LoadedData(datasets[0], datasets[1], _combine(digests[0], digests[1]))


def _load_files(request: _Request) -> LoadedData:
    """Return a dataset made of files."""
    # Decoders and SciPy's readers, which datasets that come with this program do not need.
    from search.data.files.fitting import InputForm  # noqa: PLC0415
    from search.data.files.opening import open_source  # noqa: PLC0415
    from search.data.files.samples import SplitRequest, open_files  # noqa: PLC0415

    assert request.place is not None  # load_data has seen to it
    source = open_source(request.info, request.place)
    form = InputForm(request.size, request.fit, request.resolution_scale)
    total = request.num_train + request.num_val
    wanted: tuple[tuple[Literal["train", "val"], int, int], ...] = (
        ("train", request.num_train, 0),
        ("val", request.num_val, request.num_train),
    )
    opened, faults = [], []
    for split, num_samples, num_before in wanted:
        augmented = request.augment and split == "train"
        try:
            found = open_files(
                source,
                SplitRequest(split, request.tasks, num_samples, form, augmented=augmented),
                cache_dir=request.cache_dir,
                cache_bytes=request.cache_bytes,
                progress=None if request.progress is None else _count_on(request.progress, num_before, total),
            )
        except SampleError as error:  # whoever mends the files wants to know of both splits at once
            faults.append(str(error))
        else:
            opened.append(found)
    if faults:
        raise SampleError(" ".join(faults))
    train, val = opened
    return LoadedData(train, val, _combine(train.digest, val.digest))


def _count_on(progress: Progress, num_before: int, total: int) -> Callable[[int], None]:
    """Return a report of one split's samples as part of both splits'."""
    return lambda done: progress(num_before + done, total)


_LOADERS: dict[str, Callable[[_Request], LoadedData]] = {"digits": _load_digits, "scenes": _load_scenes}
