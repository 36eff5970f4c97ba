"""Run state: what makes a stage repeatable, saved whole or not at all and checked when read back.

A state is a tree of tensors and plain values. The file holds a line with its SHA-256, then what `torch.save` wrote, and
is read with `weights_only`. Randomness needs no saving: every generator is seeded from (seed, stage, epoch).
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pickle import UnpicklingError
from typing import Any

import torch

from search.data.splits import derive_seed
from search.errors import StateFileError
from search.ports import ArtifactStore

State = dict[str, Any]
_MAGIC = b"bmtas-state 1 "


def save_state(store: ArtifactStore, name: str, state: State) -> None:
    """Store a state under a name, replacing the one before."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    store.write(name, _MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def find_state(store: ArtifactStore, name: str, device: torch.device) -> State | None:
    """Return the state stored under a name, tensors on `device`, or None when there is none.

    Raises:
        StateFileError: The file is not what `save_state` wrote.
    """
    if not store.exists(name):
        return None
    header, _, content = store.read(name).partition(b"\n")
    digest = hashlib.sha256(content).hexdigest().encode()
    if header != _MAGIC + digest:
        raise StateFileError(
            f"The state file '{name}' is corrupt: its checksum does not match. Delete it to run this stage anew."
        )
    try:
        state: State = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError) as error:
        raise StateFileError(
            f"The state file '{name}' must hold tensors and plain values as this program saves them, but it cannot be "
            "read. Delete it to run this stage anew."
        ) from error
    return state


@contextmanager
def taking_up(name: str) -> Iterator[None]:
    """Turn what a whole state trips over that belongs to another network or program version into a sentence.

    Raises:
        StateFileError: The state under this name does not fit.
    """
    try:
        yield
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(":. ") if str(error) else type(error).__name__
        raise StateFileError(
            f"The state file '{name}' must be of this very stage and program version, but it does not fit ({reason}). "
            "Delete it to run this stage anew."
        ) from error


class PeriodicSaver:
    """Saves a state now and then, so that a killed process repeats little work.

    Args:
        store: Where to.
        name: Under which name.
        seconds: Least time between two saves.
        on_save: Called after every save.
    """

    def __init__(
        self, store: ArtifactStore, name: str, seconds: float, on_save: Callable[[], None] = lambda: None
    ) -> None:
        self.store, self.name, self.seconds, self.on_save = store, name, seconds, on_save
        self._last = time.monotonic()

    def save(self, state: State) -> None:
        """Save now."""
        save_state(self.store, self.name, state)
        self.on_save()
        self._last = time.monotonic()

    def save_if_due(self, state: Callable[[], State]) -> None:
        """Save when the last save is long enough ago."""
        if time.monotonic() - self._last > self.seconds:
            self.save(state())


def seed_everything(seed: int, *parts: str | int) -> None:
    """Seed torch's own generators, which initial weights and dropout draw from."""
    torch.manual_seed(derive_seed(seed, *parts))
