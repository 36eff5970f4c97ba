"""Run state: what comes back is what was saved, and nothing else does."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from search.errors import StateFileError
from search.ports import MemoryStore
from search.training.run_state import PeriodicSaver, find_state, save_state, seed_everything, taking_up

CPU = torch.device("cpu")
STATE: dict[str, Any] = {
    "position": [3, 4],
    "weights": {"a": torch.tensor([1.0, float("nan"), 1e-45]), "b": torch.arange(3)},
    "history": [{"epoch": 1, "loss": 0.1, "probabilities": [[0.5, 0.5]]}],
    "nothing": None,
}


def saved(state: dict[str, Any]) -> MemoryStore:
    """Return a store that holds a state under the name "s"."""
    store = MemoryStore()
    save_state(store, "s", state)
    return store


def test_a_state_comes_back_as_it_was() -> None:
    """Tensors come back bit for bit, plain values equal and of the same types."""
    found = find_state(saved(STATE), "s", CPU)
    assert found is not None
    assert {key: found[key] for key in ("position", "history", "nothing")} == {
        key: STATE[key] for key in ("position", "history", "nothing")
    }
    assert found["weights"]["a"].view(torch.int32).tolist() == STATE["weights"]["a"].view(torch.int32).tolist()
    assert torch.equal(found["weights"]["b"], STATE["weights"]["b"])


def test_no_state_is_none() -> None:
    """A stage that saved nothing begins anew."""
    assert find_state(MemoryStore(), "s", CPU) is None


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@examples(max_examples=40)
def test_a_flipped_bit_is_noticed(place: float, bit: int) -> None:
    """Any change of any bit of the file is refused with a sentence that names it and says what to do."""
    store = saved(STATE)
    content = bytearray(store.read("s"))
    content[int(place * len(content))] ^= 1 << bit
    store.write("s", bytes(content))
    with pytest.raises(StateFileError, match=r"The state file 's' is corrupt.*Delete it to run this stage anew"):
        find_state(store, "s", CPU)


@given(share=st.floats(0, 1, exclude_max=True))
@examples(max_examples=20)
def test_a_cut_file_is_noticed(share: float) -> None:
    """A file that ends early is refused, an empty one too."""
    store = saved(STATE)
    content = store.read("s")
    store.write("s", content[: int(share * len(content))])
    with pytest.raises(StateFileError, match="corrupt"):
        find_state(store, "s", CPU)


def test_a_program_in_disguise_is_never_run() -> None:
    """A file with a right checksum that holds more than tensors and plain values is not unpickled."""
    store = saved({"harmless": HoldsCode()})
    with pytest.raises(StateFileError, match="'s'"):
        find_state(store, "s", CPU)


class HoldsCode:
    """An object whose unpickling would run a call."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_must_not_run, ())


def _must_not_run() -> None:
    """Fail: a state file ran code."""
    raise AssertionError("code of a state file ran")


@pytest.mark.parametrize(
    "error", [KeyError("epoch"), RuntimeError("size mismatch\nfor a"), ValueError(), TypeError("x")]
)
def test_what_does_not_fit_becomes_a_sentence(error: Exception) -> None:
    """Whatever a state of another network trips over ends as one line that names the file."""

    def trip() -> None:
        with taking_up("s"):
            raise error

    with pytest.raises(StateFileError, match=r"'s' must be of this very stage.*Delete it") as caught:
        trip()
    assert "\n" not in str(caught.value)


def test_a_periodic_saver_waits_its_time() -> None:
    """Nothing is saved before the time is over; an explicit save always is, and starts the wait again."""
    patient, eager = MemoryStore(), MemoryStore()
    waiting = PeriodicSaver(patient, "s", seconds=3600)
    waiting.save_if_due(lambda: STATE)
    assert not patient.exists("s")
    waiting.save({"step": 1})
    assert patient.exists("s")
    PeriodicSaver(eager, "s", seconds=-1).save_if_due(lambda: STATE)
    assert eager.exists("s")


def test_seeding_brings_the_same_draws() -> None:
    """The same seed and parts give the same numbers, other parts others."""
    draws = []
    for parts in (("dropout", 1), ("dropout", 1), ("dropout", 2)):
        seed_everything(0, *parts)
        draws.append(torch.rand(4).tolist())
    assert draws[0] == draws[1] != draws[2]
