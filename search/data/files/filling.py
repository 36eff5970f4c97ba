"""Reading, fitting and keeping the samples of a split before training, in several processes.

A sample is found again by the content of its files, so a changed label is read anew and an unchanged one is not. No
torch here, since every process that helps would have to load it.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import astuple, dataclass
from pathlib import Path

from search.data.catalogue import TaskInfo
from search.data.files.fitting import Arrays, InputForm, count_bytes, fit_sample
from search.data.files.sample_cache import SampleCache
from search.data.files.sources import SampleSource
from search.errors import DatasetError, SampleError

FORMAT_VERSION = 1
"""Raised whenever `fitting` gives other arrays for the same sample, or a source reads other labels from a file."""
FEWEST_FOR_PROCESSES = 24
"""Samples that have to be missing before it pays to start processes."""
_THREADS_PER_PROCESS = 2


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

    def digest(self, sample_id: str) -> str:
        """Return the SHA-256 of all that a sample is read from, whatever the input's size.

        Raises:
            SampleError: A file cannot be read.
        """
        sha = hashlib.sha256(_line(self.source.info.name, self.source.info.definition, sample_id))
        for path in self.source.files(sample_id, self.tasks):
            sha.update(_line(path.name, _hash_file(sample_id, path)))
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


def compute_digests(maker: SampleMaker, sample_ids: Sequence[str], num_processes: int) -> list[str]:
    """Return the digest of every sample; reading is waiting for the most part, so threads do."""
    with ThreadPoolExecutor(num_processes * _THREADS_PER_PROCESS) as pool:
        return list(pool.map(maker.digest, sample_ids))


def fill(
    maker: SampleMaker, keys: Sequence[tuple[str, str]], num_processes: int, on_sample: Callable[[], None]
) -> None:
    """Keep all samples that are not there yet, as many as the cache has room for; the others are read once to check.

    Args:
        maker: What to keep.
        keys: Sample ids, each with its key.
        num_processes: Processes that may read, 1 for this one alone.
        on_sample: Called after every sample; what it raises ends the filling, and what is kept by then stays.

    Raises:
        SampleError: A file is not usable.
        DatasetError: The cache cannot be written.
    """
    missing = []
    for sample_id, key in keys:
        if maker.cache.contains(key):
            on_sample()
        else:
            missing.append((sample_id, key))
    room = _Room(maker, frozenset(key for _, key in keys))
    try:
        if num_processes < 2 or len(missing) < FEWEST_FOR_PROCESSES:
            for sample_id, key in missing:
                maker.keep(sample_id, key, room.reserve())
                on_sample()
        else:
            _fill_in_processes(maker, missing, num_processes, room, on_sample)
    except OSError as error:
        raise DatasetError(
            f"Finished samples need a cache folder to write to, but '{maker.cache.folder}' gave: "
            f"{error.strerror or error}. Free some space there or name another cache folder."
        ) from error


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


def _fill_in_processes(
    maker: SampleMaker,
    missing: Sequence[tuple[str, str]],
    num_processes: int,
    room: _Room,
    on_sample: Callable[[], None],
) -> None:
    """Keep the missing samples, several at once; nothing is left running when this ends, however it ends."""
    # Fresh processes: a copy of one that has started torch's threads may hang.
    context = multiprocessing.get_context("spawn")
    pending: deque[Future[None]] = deque()
    pool = ProcessPoolExecutor(num_processes, context, _begin_process, (maker,))
    try:
        for sample_id, key in missing:
            pending.append(pool.submit(_keep_one, sample_id, key, room.reserve()))
            if len(pending) > 4 * num_processes:
                pending.popleft().result()
                on_sample()
        for future in pending:
            future.result()
            on_sample()
    except BrokenProcessPool as error:
        raise DatasetError(
            "A process that read samples was ended from outside, perhaps for want of memory. Free some and start again."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_maker: SampleMaker | None = None
"""What a helping process makes; sent once, not with every sample."""


def _begin_process(maker: SampleMaker) -> None:
    """Prepare a helping process: Ctrl-C is its parent's business, and it leaves when its parent does."""
    global _maker  # noqa: PLW0603 - a process pool hands its workers nothing else that lasts
    _maker = maker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """End this process once its parent is gone, even by a kill."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _keep_one(sample_id: str, key: str, may_store: bool) -> None:
    """Keep one sample in a helping process."""
    assert _maker is not None  # _begin_process has run
    _maker.keep(sample_id, key, may_store)


def _hash_file(sample_id: str, path: Path) -> str:
    """Return the SHA-256 of a file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SampleError(
            f"Every file of a sample must be readable, but '{path.name}' of sample '{sample_id}' gave: "
            f"{error.strerror or error}. Mend the file or its rights."
        ) from error


def _line(*parts: object) -> bytes:
    """Return parts as one line of JSON, which no other parts lead to."""
    return json.dumps(parts).encode() + b"\n"
