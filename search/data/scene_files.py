"""The splits of `scenes` on disk and in batches: rendered once, checked against their checksums ever after.

A folder per split, size and number of samples holds one plain .npy file per array and `checksums.json`, and appears
whole or not at all. Nothing is unpickled. Arrays are mapped, not read, so that memory holds a batch at a time.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from search.data.catalogue import IGNORE_LABEL, TaskInfo
from search.data.compact import augment_samples, make_batch
from search.data.scenes import (
    CLASS_OF_SURFACE,
    PART_OF_SURFACE,
    RENDERER_VERSION,
    draw_scene,
    render_scene,
)
from search.data.transforms import resize, scale_size
from search.errors import DatasetError

Arrays = Mapping[str, NDArray[Any]]

# By attribute of RenderedScene. Half precision keeps normals within 0.03 degrees; each batch brings them to length 1.
_DTYPES = {"image": "u1", "surface": "u1", "salient": "u1", "edge": "u1", "depth": "<f4", "normals": "<f2"}
_ARRAY_OF_TASK = {
    "semseg": "surface",
    "parts": "surface",
    "sal": "salient",
    "edge": "edge",
    "depth": "depth",
    "normals": "normals",
}
_CHECKSUMS = "checksums.json"


@dataclass(frozen=True)
class SceneSplit:
    """What determines the rendered arrays of a split entirely.

    Attributes:
        split: "train" or "val".
        size: (H, W) in pixels.
        num_samples: The first scenes of the split.
    """

    split: str
    size: tuple[int, int]
    num_samples: int

    @property
    def key(self) -> str:
        """Return the name of the split's folder."""
        return f"v{RENDERER_VERSION}-{self.split}-{self.size[0]}x{self.size[1]}-{self.num_samples}"

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one of the arrays."""
        channels = (3,) if name in ("image", "normals") else ()
        return (self.num_samples, *channels, *self.size)


class ScenesDataset:
    """One split of `scenes`: mapped arrays, converted sample by sample."""

    def __init__(
        self, arrays: Arrays, tasks: Sequence[TaskInfo], *, resolution_scale: float = 1.0, augmented: bool = False
    ) -> None:
        """Keep the arrays.

        Args:
            arrays: From `load_arrays`.
            tasks: Which tasks to label.
            resolution_scale: Side of images and labels as a share of that of the arrays.
            augmented: Whether a batch with a generator is flipped, scaled and cropped at random.
        """
        self._arrays = arrays
        self._tasks = tuple(tasks)
        self._kinds = {task.name: task.kind for task in tasks}
        self._size = scale_size(arrays["image"].shape[2:], resolution_scale)
        self._augmented = augmented

    def __len__(self) -> int:
        return len(self._arrays["image"])

    def batch(self, indices: Sequence[int] | Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Return images and labels as `search.data.loading.TaskDataset` describes them.

        Args:
            indices: Samples, in the order wanted.
            generator: Draws the augmentation of an augmented split; None gives the samples as they are.
        """
        samples = [resize(self._read(int(index)), self._kinds, self._size) for index in indices]
        if self._augmented and generator is not None:
            samples = augment_samples(samples, self._tasks, generator)
        return make_batch(samples, self._tasks)

    def _read(self, index: int) -> dict[str, Tensor]:
        """Return a sample as `search.data.compact` describes it."""
        sample = {"image": torch.from_numpy(np.array(self._arrays["image"][index]))}
        for name in self._kinds:
            label = _LABELS[name](self._arrays[_ARRAY_OF_TASK[name]][index])
            sample[name] = torch.from_numpy(np.ascontiguousarray(label))
        return sample


def _look_up(table: tuple[int, ...]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Return a function from surface codes (H, W) to the classes of a table, uint8."""
    classes = np.array(table, dtype=np.uint8)
    return lambda surface_HW: classes[surface_HW]


def _to_depth(depth_HW: NDArray[Any]) -> NDArray[Any]:
    """Return metres, IGNORE_LABEL where there is nothing."""
    return np.where(depth_HW > 0, depth_HW, np.float32(IGNORE_LABEL))


def _to_normals(normals_3HW: NDArray[Any]) -> NDArray[Any]:
    """Return normals, IGNORE_LABEL where there is nothing."""
    return np.where((normals_3HW != 0).any(0), normals_3HW, np.float16(IGNORE_LABEL))


_LABELS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "semseg": _look_up(CLASS_OF_SURFACE),
    "parts": _look_up(PART_OF_SURFACE),
    "sal": np.array,
    "edge": np.array,
    "depth": _to_depth,
    "normals": _to_normals,
}


def load_arrays(
    wanted: SceneSplit, tasks: Sequence[TaskInfo], cache_dir: Path, rendered: Callable[[int], None] | None = None
) -> dict[str, NDArray[Any]]:
    """Return the arrays that some tasks need, mapped from the cache, rendered first where they are not there or broken.

    Args:
        wanted: Which split.
        tasks: Tasks to label.
        cache_dir: Folder of the cache; made when needed.
        rendered: Called with the number of scenes done after each one that is rendered.

    Raises:
        DatasetError: The cache folder cannot be written.
    """
    names = sorted({"image", *(_ARRAY_OF_TASK[task.name] for task in tasks)})
    folder = cache_dir / "scenes" / wanted.key
    try:
        arrays = _find_arrays(folder, wanted, names)
        if arrays is None:
            # One process renders; others that want the same wait for it, and find it done.
            with _locked(folder.with_suffix(".lock")):
                arrays = _find_arrays(folder, wanted, names)
                if arrays is None:
                    _render_into(folder, wanted, rendered)
                    arrays = _find_arrays(folder, wanted, names)
    except OSError as error:
        raise DatasetError(
            f"Rendered scenes need a cache folder to write to, but '{cache_dir}' gave: {error.strerror or error}. "
            f"Free some space there or name another cache folder."
        ) from error
    if arrays is None:
        raise DatasetError(
            f"What was rendered into '{folder}' does not read back as it was written. "
            f"Check that disk or name another cache folder."
        )
    return arrays


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock file for the length of a block; the system lets go of it when the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _find_arrays(folder: Path, wanted: SceneSplit, names: Sequence[str]) -> dict[str, NDArray[Any]] | None:
    """Return arrays of a cache folder, or None when one is missing or differs from what was written."""
    try:
        checksums = json.loads((folder / _CHECKSUMS).read_text(encoding="utf-8"))
        arrays: dict[str, NDArray[Any]] = {}
        for name in names:
            path = folder / f"{name}.npy"
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != checksums[name]:
                    return None
            arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False)
            if arrays[name].shape != wanted.shape(name) or arrays[name].dtype != np.dtype(_DTYPES[name]):
                return None
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        # ValueError covers broken JSON, broken text and a broken .npy header.
        return None
    return arrays


def _render_into(folder: Path, wanted: SceneSplit, rendered: Callable[[int], None] | None) -> None:
    """Render a split beside its folder and move it there in one step, replacing what was there."""
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with ExitStack() as stack:
            writers = {
                name: stack.enter_context(_ArrayWriter(partial / f"{name}.npy", wanted.shape(name), dtype))
                for name, dtype in _DTYPES.items()
            }
            for index in range(wanted.num_samples):
                scene = render_scene(draw_scene(wanted.split, index), wanted.size)
                for name, writer in writers.items():
                    writer.append(getattr(scene, name))
                if rendered is not None:
                    rendered(index + 1)
            checksums = {name: writer.finish() for name, writer in writers.items()}
        (partial / _CHECKSUMS).write_text(json.dumps(checksums, indent=1, sort_keys=True), encoding="utf-8")
        if folder.is_dir():
            shutil.rmtree(folder)
        folder.unlink(missing_ok=True)
        partial.rename(folder)
    finally:
        # After an error, an interruption or a full disk nothing half-written stays.
        shutil.rmtree(partial, ignore_errors=True)


class _ArrayWriter:
    """Writes a .npy file sample by sample and sums it up.

    A mapped file would end the process with a signal on a full disk; a written one raises an error.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: str) -> None:
        self._path = path
        self._dtype = np.dtype(dtype)
        self._file = path.open("wb")
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)

    def __enter__(self) -> _ArrayWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def append(self, array: NDArray[Any]) -> None:
        """Write one sample."""
        self._file.write(np.ascontiguousarray(array, dtype=self._dtype).tobytes())

    def finish(self) -> str:
        """Return the SHA-256 of the whole file, in hexadecimal, once it is on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        with self._path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
