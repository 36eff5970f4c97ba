"""Reading, fitting and keeping the samples of a split before training, in several processes.

A sample is found again by the content of its files, so a changed label is read anew and an unchanged one is not. No
torch here, since every process that helps would have to load it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from functools import partial

from search.data.catalogue import TaskInfo
from search.data.files.fitting import Arrays, InputForm, count_bytes, fit_sample
from search.data.files.sample_cache import SampleCache
from search.data.files.sources import SampleSource
from search.data.reading.file_hashes import FileHashes
from search.data.reading.places import naming_sample
from search.data.reading.reading_processes import map_in_processes
from search.errors import DatasetError, SampleError

FORMAT_VERSION = 2
"""Raised whenever `fitting` gives other arrays for the same sample, or a source reads other labels from a file."""
_THREADS_PER_PROCESS = 2
_MOST_NAMED = 5
SECONDS_ALONE = 2.0
"""Reading for longer than this is shared with other processes, which take about as long to start."""


@dataclass(frozen=True)
class SampleMaker:
    """Makes the arrays of samples from their files, or finds them made.

    Attributes:
        source: Where the files are read.
        tasks: Whose labels are kept.
        form: The network's input.
        cache: Where finished samples are kept.
    """

    source: SampleSource
    tasks: tuple[TaskInfo, ...]
    form: InputForm
    cache: SampleCache

    def make(self, sample_id: str) -> Arrays:
        """Return the arrays of a sample, read from its files.

        Raises:
            SampleError: A file of it is not usable.
        """
        return fit_sample(self.source.read(sample_id, self.tasks), self.tasks, self.form)

    def digest(self, sample_id: str, hashes: FileHashes) -> str:
        """Return the SHA-256 of all that a sample is read from, whatever the input's size.

        Raises:
            SampleError: A file cannot be read.
        """
        sha = hashlib.sha256(_line(self.source.info.name, self.source.info.definition, sample_id))
        for path in self.source.files(sample_id, self.tasks):
            with naming_sample(sample_id):
                sha.update(_line(path.name, hashes.get(path)))
        return sha.hexdigest()

    def key(self, digest: str) -> str:
        """Return the name under which the finished arrays of a sample are kept."""
        tasks = [(task.name, task.kind, task.channels) for task in self.tasks]
        return hashlib.sha256(_line(FORMAT_VERSION, digest, tasks, astuple(self.form))).hexdigest()

    def keep(self, sample_id: str, key: str, may_store: bool) -> None:
        """Make a sample, which checks it, and keep it where there is room."""
        arrays = self.make(sample_id)
        if may_store:
            self.cache.store(key, arrays)


@dataclass(frozen=True)
class Wanted:
    """A sample that is wanted.

    Attributes:
        sample_id: Its name.
        digest: Of all that it is read from; empty where a file of it cannot be read.
        fault: What is wrong with such a file, else None.
    """

    sample_id: str
    digest: str
    fault: str | None = None


def compute_digests(
    maker: SampleMaker, sample_ids: Sequence[str], num_processes: int, hashes: FileHashes
) -> list[Wanted]:
    """Return every sample with its digest; reading is waiting for the most part, so threads do."""

    def find(sample_id: str) -> Wanted:
        """Return a sample with its digest, or with what is wrong with it."""
        try:
            return Wanted(sample_id, maker.digest(sample_id, hashes))
        except SampleError as error:
            return Wanted(sample_id, "", str(error))

    with ThreadPoolExecutor(num_processes * _THREADS_PER_PROCESS) as pool:
        found = list(pool.map(find, sample_ids))
    hashes.save()
    return found


def fill(
    maker: SampleMaker,
    samples: Sequence[Wanted],
    *,
    num_processes: int,
    on_sample: Callable[[], None],
    seconds_alone: float = SECONDS_ALONE,
) -> None:
    """Keep all samples that are not there yet, as many as the cache has room for; the others are read once to check.

    Args:
        maker: What to keep.
        samples: With their digests.
        num_processes: Processes that may read, 1 for this one alone.
        on_sample: Called after every sample; what it raises ends the filling, and what is kept by then stays.
        seconds_alone: How long this process reads by itself before it starts others.

    Raises:
        SampleError: Files that are not usable; the sentence names their samples.
        DatasetError: The cache cannot be written.
    """
    missing, faults, keys = [], [], {sample.sample_id: maker.key(sample.digest) for sample in samples}
    for sample in samples:
        if sample.fault is None and not maker.cache.contains(keys[sample.sample_id]):
            missing.append(sample.sample_id)
            continue
        faults += [] if sample.fault is None else [sample.fault]
        on_sample()
    room = _Room(maker, frozenset(keys.values()))
    items = ((sample_id, keys[sample_id], room.reserve()) for sample_id in missing)
    try:
        for fault in map_in_processes(partial(_try_keep, maker), items, num_processes, seconds_alone=seconds_alone):
            faults += [] if fault is None else [fault]
            on_sample()
    except OSError as error:
        raise DatasetError(
            f"Finished samples need a cache folder to write to, but '{maker.cache.folder}' gave: "
            f"{error.strerror or error}. Free some space there or name another cache folder."
        ) from error
    if faults:
        raise SampleError(_describe_faults(faults, maker.source.info.name))


def _try_keep(maker: SampleMaker, item: tuple[str, str, bool]) -> str | None:
    """Keep one sample of an id, its key and whether there is room; return what is wrong with it, None for nothing."""
    try:
        maker.keep(*item)
    except SampleError as error:
        return str(error)
    return None


def _describe_faults(faults: Sequence[str], dataset: str) -> str:
    """Return all faults of the samples of a dataset together, the first in full."""
    if len(faults) == 1:
        return faults[0]
    more = f" And {len(faults) - _MOST_NAMED} more." if len(faults) > _MOST_NAMED else ""
    return (
        f"{len(faults)} samples of '{dataset}' cannot be used. {' '.join(faults[:_MOST_NAMED])}{more} "
        "`bmtas dataset check` says what is wrong with each."
    )


class _Room:
    """How much of the cache is left; looks at the folder only at the start and when it seems full."""

    def __init__(self, maker: SampleMaker, keep: frozenset[str]) -> None:
        self._cache, self._keep = maker.cache, keep
        self._sample_bytes = count_bytes(maker.tasks, maker.form)
        self._left_bytes = maker.cache.max_bytes - maker.cache.measure()
        self._full = False

    def reserve(self) -> bool:
        """Return whether one more sample may be stored, after forgetting others where need be."""
        if not self._full and self._left_bytes < self._sample_bytes:
            wanted_bytes = max(self._sample_bytes, self._cache.max_bytes // 16)  # not one file at a time
            self._left_bytes = self._cache.make_room(wanted_bytes, self._keep)
            self._full = self._left_bytes < self._sample_bytes
        self._left_bytes -= self._sample_bytes
        return not self._full


def _line(*parts: object) -> bytes:
    """Return parts as one line of JSON, which no other parts lead to."""
    return json.dumps(parts).encode() + b"\n"
