import os
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from search.data.files.fitting import Arrays
from search.data.files.sample_cache import SampleCache

ARRAYS: Arrays = {"image": np.arange(300, dtype=np.uint8).reshape(3, 10, 10), "depth": np.ones((10, 10), np.float32)}
KEY = "ab" + "0" * 62


@pytest.fixture
def cache(tmp_path: Path) -> SampleCache:
    """Return a cache that holds one sample."""
    cache = SampleCache(tmp_path)
    cache.store(KEY, ARRAYS)
    return cache


def _file(cache: SampleCache) -> Path:
    """Return the one file of a cache."""
    (path,) = (path for path in cache.folder.rglob("*") if path.is_file())
    return path


def test_arrays_come_back_as_they_were(cache: SampleCache) -> None:
    """Values, shapes and types."""
    found = cache.find(KEY)
    assert found is not None
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert np.array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_a_key_that_was_never_stored_is_not_there(tmp_path: Path) -> None:
    """Not even the folder has to exist."""
    cache = SampleCache(tmp_path / "nowhere")
    assert cache.find(KEY) is None
    assert not cache.contains(KEY)
    assert cache.measure() == 0


@pytest.mark.parametrize("place", [0, 20, 30, 100, -1])
def test_a_changed_byte_is_noticed_wherever_it_is(cache: SampleCache, place: int) -> None:
    """In the first line, the list of arrays and the arrays themselves."""
    content = bytearray(_file(cache).read_bytes())
    content[place] ^= 4
    _file(cache).write_bytes(content)
    assert cache.find(KEY) is None


@pytest.mark.parametrize("length", [0, 10, 25, 200])
def test_a_truncated_file_is_noticed(cache: SampleCache, length: int) -> None:
    """Even where nothing but the end is missing."""
    _file(cache).write_bytes(_file(cache).read_bytes()[:length])
    assert cache.find(KEY) is None


def test_a_file_that_is_no_list_of_arrays_is_noticed(cache: SampleCache) -> None:
    """Its sum may be right, its content is not."""
    body = b"no arrays"
    _file(cache).write_bytes(b"bmtas-sample 1 " + f"{zlib.crc32(body):08x}\n".encode() + body)
    assert cache.find(KEY) is None


def test_a_broken_sample_is_replaced(cache: SampleCache) -> None:
    """Storing it again makes it whole, and leaves no second file."""
    _file(cache).write_bytes(b"broken")
    cache.store(KEY, ARRAYS)
    found = cache.find(KEY)
    assert found is not None
    assert np.array_equal(found["image"], ARRAYS["image"])
    assert _file(cache).is_file()


def test_the_samples_longest_not_used_make_room(cache: SampleCache) -> None:
    """Those in use stay, and no more is forgotten than has to be."""
    keys = [f"c{number}" + "0" * 62 for number in range(4)]
    for age, key in enumerate(keys):
        cache.store(key, ARRAYS)
        os.utime(cache.folder / key[:2] / f"{key}.sample", (1000 - age, 1000 - age))
    one = cache.measure() // 5
    bounded = SampleCache(cache.folder, max_bytes=5 * one + 10)
    assert bounded.contains(keys[2])  # which makes it the newest
    assert bounded.make_room(one, {keys[3]}) == one + 10
    assert [bounded.contains(key) for key in keys] == [True, False, True, True]
    assert bounded.make_room(10 * one, {KEY}) == 4 * one + 10
    assert [bounded.contains(key) for key in (*keys, KEY)] == [False] * 4 + [True]


def test_what_a_dead_process_left_is_cleared_once_it_is_old(cache: SampleCache) -> None:
    """A file that another process is writing now stays."""
    old, new = (cache.folder / "ab" / f"{name}.partial" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1000, 1000))
    size = cache.measure()
    assert not old.exists()
    assert new.exists()
    assert size < 2000


def test_many_may_store_and_read_the_same_at_once(tmp_path: Path) -> None:
    """Whoever finds a sample finds it whole."""
    cache = SampleCache(tmp_path)

    def write_and_read(_: int) -> bool:
        cache.store(KEY, ARRAYS)
        found = cache.find(KEY)
        return found is not None and np.array_equal(found["image"], ARRAYS["image"])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(write_and_read, range(64)))
    assert _file(cache).is_file()


def test_a_full_disk_leaves_no_half_of_a_sample(tmp_path: Path) -> None:
    """The error reaches the caller, the partial file is gone."""
    folder = tmp_path / "taken"
    folder.write_text("a file")
    with pytest.raises(OSError, match="taken"):
        SampleCache(folder).store(KEY, ARRAYS)


def test_the_cache_needs_no_torch() -> None:
    """Processes that only read files start without it."""
    code = "import search.data.files.filling, sys; sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
