"""Which tasks have labels: found per batch, demanded of a training set, and what only the silent ones use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from models.backbones import get_backbone
from models.branched import BranchedNetwork
from models.branching import Branching
from search.errors import DatasetError
from search.training.labels import SAMPLES_AT_ONCE, check_labels, describe_absence, find_labelled, parameters_of_only

if TYPE_CHECKING:
    from tests.search.conftest import Lab


def test_tasks_with_labels_are_found(dense_lab: Lab) -> None:
    """A task whose labels in a batch are all ignored is not among them; the order is that of the tasks."""
    batch = dense_lab.dataset(blank={"normals": 255, "edge": 255}).batch([0, 1])
    assert [task.name for task in find_labelled(dense_lab.tasks, batch)] == ["semseg", "sal", "depth"]


def test_labels_of_all_tasks_are_demanded(lab: Lab) -> None:
    """A task without a label in any sample is refused by a sentence that names it and the samples."""
    dataset = lab.dataset(blank={"b": 255, "c": 255})
    sentence = r"of the 24 training samples of dataset 'x' none has a label of 'b', 'c'\. Add labels, or leave"
    with pytest.raises(DatasetError, match=sentence):
        check_labels(dataset, lab.tasks, what="training samples of dataset 'x'")


@given(sample=st.integers(0, 23))
@examples(max_examples=8)
def test_one_label_is_enough(lab: Lab, sample: int) -> None:
    """Samples are read until every task was met, and no further."""
    dataset = lab.dataset()
    dataset._labels["b"][[other for other in range(24) if other != sample]] = 255
    check_labels(dataset, lab.tasks, what="samples")
    assert len(dataset.requests) == sample // SAMPLES_AT_ONCE + 1


def test_reading_can_be_watched_and_stopped(lab: Lab) -> None:
    """While labels are looked for, samples are counted, and what the counter raises ends it."""
    seen: list[tuple[int, int]] = []
    with pytest.raises(DatasetError):
        check_labels(
            lab.dataset(blank={"a": 255}),
            lab.tasks,
            what="samples",
            on_batch=lambda done, total: seen.append((done, total)),
        )
    assert seen == [(16, 24), (24, 24)]


def test_every_silent_task_gets_a_sentence() -> None:
    """It names task, epoch and stage."""
    (message,) = describe_absence(["depth"], epoch=3, stage="retrain 60%")
    assert message.text == "retrain 60%: task 'depth' had no labels in epoch 3, so it learned nothing there."


@given(silent=st.sets(st.sampled_from("abc")), routing=st.lists(st.lists(st.integers(0, 2), min_size=3, max_size=3)))
@examples(max_examples=20)
def test_what_only_silent_tasks_use_is_what_the_others_do_not_reach(
    lab: Lab, silent: set[str], routing: list[list[int]]
) -> None:
    """Just these parameters get no gradient from the other tasks."""
    tree = Branching.from_routing(lab.names, ([[0, 0, 0], *routing] + [[0, 1, 2]] * 5)[:5])
    network = BranchedNetwork(get_backbone("tiny4"), lab.heads, 1, tree).train()
    outputs = network(torch.randn(3, 1, 12, 12))
    for name in set(lab.names) - silent:
        outputs[name].sum().backward(retain_graph=True)
    only = {id(parameter) for parameter in parameters_of_only(network, silent)}
    unreached = {id(each) for each in network.parameters() if each.grad is None}
    stem = {id(each) for each in network.stem.parameters()}
    assert only == (unreached - stem if silent == set(lab.names) else unreached)
