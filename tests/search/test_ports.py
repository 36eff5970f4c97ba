"""The in-memory twins of the ports, and that the shell's own keep the same promises."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from search.ports import (
    ArtifactStore,
    Event,
    MemoryReporter,
    MemoryStore,
    Message,
    StageFinished,
    StageProgress,
    StageStarted,
    never_cancelled,
)
from service.artifacts import FolderStore

NAMES = ("a", "b/c.json", "b/d/e.bin")
Stores = Callable[[], ArtifactStore]


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    """Return an empty store of each kind."""
    return MemoryStore() if request.param == "memory" else FolderStore(tmp_path / "run")


def test_what_is_written_is_read(store: ArtifactStore) -> None:
    """A name gives back what was last written under it, empty content too, and other names do not."""
    store.write("b/c.json", b"one")
    store.write("b/c.json", b"two")
    store.write("a", b"")
    assert (store.read("b/c.json"), store.read("a")) == (b"two", b"")
    assert [store.exists(name) for name in NAMES] == [True, True, False]


def test_a_name_without_content_is_not_found(store: ArtifactStore) -> None:
    """Reading what is not there raises FileNotFoundError, before and after a delete."""
    with pytest.raises(FileNotFoundError):
        store.read("a")
    store.write("a", b"x")
    store.delete("a")
    with pytest.raises(FileNotFoundError):
        store.read("a")


def test_forgetting_what_is_not_there_is_no_error(store: ArtifactStore) -> None:
    """A delete may come twice, or for a folder that was never made."""
    store.delete("b/d/e.bin")
    store.write("a", b"x")
    store.delete("a")
    store.delete("a")
    assert not store.exists("a")


def test_a_folder_is_not_content(store: ArtifactStore) -> None:
    """The first part of a longer name holds nothing itself."""
    store.write("b/c.json", b"x")
    assert not store.exists("b")


ACTIONS = st.lists(st.tuples(st.sampled_from(["write", "delete"]), st.sampled_from(NAMES), st.binary(max_size=4)))


@given(actions=ACTIONS)
@examples(max_examples=20)
def test_both_stores_agree_after_any_history(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, str, bytes]]
) -> None:
    """After any writes and deletes, the store in memory and the one on disk hold the same."""
    memory, folder = MemoryStore(), FolderStore(tmp_path_factory.mktemp("store"))
    for action, name, content in actions:
        for each in (memory, folder):
            if action == "write":
                each.write(name, content)
            else:
                each.delete(name)
    held = {name: folder.read(name) for name in NAMES if folder.exists(name)}
    assert held == memory.contents


def test_the_memory_store_keeps_a_copy() -> None:
    """Changing a buffer after it was written does not change what is stored."""
    store, buffer = MemoryStore(), bytearray(b"abc")
    store.write("a", cast(bytes, buffer))  # what a careless caller may hand over
    buffer[0] = 0
    assert store.read("a") == b"abc"


def test_the_memory_reporter_keeps_the_order() -> None:
    """Events are kept as they came."""
    reporter = MemoryReporter()
    events: list[Event] = [
        StageStarted("s", 0, 2),
        StageProgress("s", 1, 2, {"loss": 0.5}),
        Message("hello"),
        StageFinished("s", reused=True),
    ]
    for event in events:
        reporter.emit(event)
    assert reporter.events == events


def test_nobody_cancels_by_default() -> None:
    """The run of a caller who never stops it is not stopped."""
    assert never_cancelled() is False
