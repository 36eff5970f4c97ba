"""A split of a dataset made of files, in batches: the TaskDataset over a SampleSource.

Samples are fitted to the network's input once and kept on disk (`filling`, `sample_cache`), so that a batch costs next
to nothing. Shapes: B batch, C channels, H W pixels of the input.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from search.data.cache_size import DEFAULT_CACHE_BYTES
from search.data.catalogue import TaskInfo
from search.data.compact import augment_samples, make_batch
from search.data.cores import count_cores
from search.data.files.filling import SampleMaker, compute_digests, fill
from search.data.files.fitting import NATIVE_SIZE, Arrays, InputForm, Placement, place
from search.data.files.sample_cache import SampleCache
from search.data.files.sources import Sample, SampleSource, Split
from search.data.reading.file_hashes import FileHashes, name_hashes

CACHE_FOLDER = "samples"


@dataclass(frozen=True)
class SplitRequest:
    """Which samples of a source are wanted, and in which form.

    Attributes:
        split: "train" or "val".
        tasks: Tasks that get labels in the batches.
        num_samples: The first samples of the split.
        form: The network's input.
        augmented: Whether a batch with a generator is flipped, scaled and cropped at random.
    """

    split: Split
    tasks: tuple[TaskInfo, ...]
    num_samples: int
    form: InputForm
    augmented: bool = False


class FileDataset:
    """One split of a dataset made of files; `open_files` opens it."""

    def __init__(self, maker: SampleMaker, request: SplitRequest, sample_ids: Sequence[str], digests: Sequence[str]):
        """Keep what names the samples.

        Args:
            maker: Makes or finds the arrays of a sample.
            request: What is wanted.
            sample_ids: The samples in their order.
            digests: What determines the content of each.
        """
        self.sample_ids = tuple(sample_ids)
        # Of the files, not of the fitted samples: the same data have the same digest at any resolution of the search.
        self.digest = hashlib.sha256("\n".join([*digests, *(task.name for task in request.tasks)]).encode()).hexdigest()
        self.keys = tuple(maker.key(digest) for digest in digests)
        self.maker, self._request = maker, request

    def __len__(self) -> int:
        return len(self.sample_ids)

    def batch(self, indices: Sequence[int] | Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Return images and labels as `search.data.loading.TaskDataset` describes them; missing labels are all 255.

        Args:
            indices: Samples, in the order wanted.
            generator: Draws the augmentation of an augmented split; None gives the samples as they are.

        Raises:
            SampleError: A file that was whole when the split was opened is not any more.
        """
        samples = [self._read(int(index)) for index in indices]
        if self._request.augmented and generator is not None:
            samples = augment_samples(samples, self._request.tasks, generator)
        return make_batch(samples, self._request.tasks)

    def native(self, index: int) -> Sample:
        """Return a sample in its own size, read from its files, for measuring at full resolution.

        Raises:
            SampleError: A file of it is not usable.
        """
        return self.maker.source.read(self.sample_ids[index], self._request.tasks)

    def placement(self, index: int) -> Placement:
        """Return where the image of a sample lies inside the network's input, before any augmentation."""
        height, width = (int(side) for side in self._arrays(index)[NATIVE_SIZE])
        return place((height, width), self._request.form)

    def _arrays(self, index: int) -> Arrays:
        """Return the arrays of a sample, made anew where the cache does not have them or they are broken."""
        key = self.keys[index]
        found = self.maker.cache.find(key)
        if found is not None:
            return found
        made = self.maker.make(self.sample_ids[index])
        if self.maker.cache.contains(key):  # what is there does not read back
            with suppress(OSError):
                self.maker.cache.store(key, made)
        return made

    def _read(self, index: int) -> dict[str, Tensor]:
        """Return a sample as `search.data.compact` describes it."""
        arrays = self._arrays(index)
        return {name: torch.from_numpy(array) for name, array in arrays.items() if name != NATIVE_SIZE}


def open_files(
    source: SampleSource,
    request: SplitRequest,
    *,
    cache_dir: Path,
    cache_bytes: int = DEFAULT_CACHE_BYTES,
    progress: Callable[[int], None] | None = None,
) -> FileDataset:
    """Return a split with all its samples fitted to the input: from the cache, or read now in several processes.

    Args:
        source: Where the samples are read.
        request: Which samples, and in which form.
        cache_dir: Folder of all caches; made when needed.
        cache_bytes: What the finished samples of all datasets may take on disk. Samples that find no room are read
            from their files for every batch.
        progress: Called with the number of samples done; what it raises ends the preparation.

    Raises:
        SampleError: Files of samples are not usable.
        DatasetError: The list of samples is not usable, or the cache folder cannot be written.
    """
    sample_ids = tuple(source.ids(request.split))[: request.num_samples]
    maker = SampleMaker(source, request.tasks, request.form, SampleCache(cache_dir / CACHE_FOLDER, cache_bytes))
    num_processes = count_cores()
    hashes = FileHashes(name_hashes(cache_dir, source.info.name))
    wanted = compute_digests(maker, sample_ids, num_processes, hashes)
    done = 0

    def count() -> None:
        """Report one sample more."""
        nonlocal done
        done += 1
        if progress is not None:
            progress(done)

    fill(maker, wanted, num_processes=num_processes, on_sample=count)
    return FileDataset(maker, request, sample_ids, [sample.digest for sample in wanted])
