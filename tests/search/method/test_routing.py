"""Routing over training: one record per epoch, evenly thinned, written and read back as it was."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.errors import StateFileError
from search.method.routing import MAX_RECORDS, Routing, read_records

SHAPE = (2, 3, 3)
SURE = [[[1.0, 0.0, 0.0]] * 3] * 2


def row(epoch: int, **more: Any) -> dict[str, Any]:
    """Return a row of a history in which every epoch has ten steps."""
    return {"epoch": epoch, "position": [10 * epoch, epoch], **more}


def routing_of(history: list[dict[str, Any]]) -> Routing:
    """Return the routing that a history tells."""
    return Routing(layers=("stem", "head"), tasks=tuple("abc"), records=read_records(history, SHAPE, 5.0))


def test_the_warm_up_knows_nothing() -> None:
    """Before the logits move all branches are alike, at the temperature that the search begins with."""
    records = routing_of([row(1, warming_up=True), row(2, temperature=2.5, probabilities_LTK=SURE)]).records
    assert [(record.step, record.epoch, record.temperature) for record in records] == [
        (0, 0, 5.0),
        (10, 1, 5.0),
        (20, 2, 2.5),
    ]
    assert records[0].probabilities == records[1].probabilities == (((0.3333,) * 3,) * 3,) * 2
    assert records[2].probabilities[0][0] == (1.0, 0.0, 0.0)


@given(num_epochs=st.integers(0, 700))
def test_many_epochs_are_thinned_evenly(num_epochs: int) -> None:
    """At most so many records stay, first and last among them, and no gap is much wider than another."""
    records = read_records([row(epoch) for epoch in range(1, num_epochs + 1)], (1, 1, 1), 5.0)
    epochs = [record.epoch for record in records]
    assert len(epochs) == min(num_epochs + 1, MAX_RECORDS)
    assert (epochs[0], epochs[-1]) == (0, num_epochs)
    gaps = {after - before for before, after in itertools.pairwise(epochs)}
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_the_file_is_plain_json_and_is_read_back() -> None:
    """Names and keys are those that the format promises."""
    routing = routing_of([row(1, temperature=2.5, probabilities_LTK=SURE)])
    document = json.loads(routing.to_json_bytes())
    assert (document["format"], document["version"]) == ("bmtas-routing", 1)
    assert set(document) == {"format", "version", "layers", "tasks", "start", "starts", "finished", "records"}
    assert document["records"][1] == {"step": 10, "epoch": 1, "temperature": 2.5, "probabilities": SURE}
    assert Routing.from_json_bytes(routing.to_json_bytes()) == routing


def test_rows_of_an_older_version_are_passed_over() -> None:
    """A search that another version began goes on, and tells what it knows."""
    records = read_records([{"epoch": 1}, row(2, temperature=2.5, probabilities_LTK=SURE)], SHAPE, 5.0)
    assert [record.epoch for record in records] == [0, 2]


@pytest.mark.parametrize("content", [b"", b"{", b'{"format": "other"}', b'{"layers": NaN}'])
def test_other_files_are_refused(content: bytes) -> None:
    """What is no routing file ends in a sentence."""
    with pytest.raises(StateFileError, match="not a usable routing file"):
        Routing.from_json_bytes(content)


def test_records_of_other_networks_are_refused() -> None:
    """Layers and tasks of every record are those of the head."""
    with pytest.raises(ValueError, match="2 layers of 2 tasks"):
        Routing(layers=("stem", "head"), tasks=("a", "b"), records=read_records([], SHAPE, 5.0))
