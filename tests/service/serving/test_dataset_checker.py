"""The check of people's datasets beside a server: made once, made anew, given up with the server."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from db.memory.store import MemoryStore
from search.data.shelf import DatasetShelf
from service.serving.dataset_checker import COMMAND, DatasetChecker
from service.web.planning.dataset_checks import KnownCheck, find_check
from tests.search.data.files.own_dataset import write_own_dataset

FAILS = (sys.executable, "-c", "import sys; sys.exit(f'No sample of {sys.argv[1]} can be read.')")
SAYS_NOTHING = (sys.executable, "-c", "print('nonsense')")
SLEEPS = (sys.executable, "-c", "import time; time.sleep(600)")


@pytest.fixture
def shelf(tmp_path: Path) -> DatasetShelf:
    """Return a shelf with one dataset of a person's own."""
    write_own_dataset(tmp_path / "robot", name="robot")
    return DatasetShelf(tmp_path)


def test_samples_are_read_once(shelf: DatasetShelf) -> None:
    """The child process reads them; what it found is kept with the definition, and built-in datasets need none."""
    store, info = MemoryStore(), shelf.get("robot")
    checker = DatasetChecker(shelf, store, COMMAND)
    assert find_check(store, info) == KnownCheck()
    assert (checker.check_all(threading.Event()), checker.check_all(threading.Event())) == (1, 0)
    check = find_check(store, info)
    assert check is not None
    assert check.findings is not None
    assert (check.state, check.findings.num_samples, check.warning) == ("checked", {"train": 4, "val": 2}, "")
    assert find_check(store, shelf.get("digits")) is None


@pytest.mark.parametrize(
    ("command", "words"), [(FAILS, "No sample of robot/dataset.yaml can be read."), (SAYS_NOTHING, "ended with 0")]
)
def test_a_check_that_cannot_be_made_says_why(shelf: DatasetShelf, command: tuple[str, ...], words: str) -> None:
    """A sentence without the paths of this machine stands in place of findings, and it is not tried again and again."""
    store = MemoryStore()
    checker = DatasetChecker(shelf, store, command)
    assert (checker.check_all(threading.Event()), checker.check_all(threading.Event())) == (1, 0)
    check = find_check(store, shelf.get("robot"))
    assert check is not None
    assert (check.state, words in check.message, words in check.warning) == ("failed", True, True)


def test_a_server_that_ends_waits_for_no_check(shelf: DatasetShelf) -> None:
    """The child is killed, and the next server begins anew."""
    store, ended = MemoryStore(), threading.Event()
    thread = threading.Thread(target=DatasetChecker(shelf, store, SLEEPS).run, args=(ended,))
    thread.start()
    time.sleep(0.5)
    ended.set()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert find_check(store, shelf.get("robot")) == KnownCheck()
