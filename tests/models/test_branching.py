"""The branch algebra: partitions and their order, counting, routings, JSON, and what is refused."""

import itertools
import json
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.branching import (
    Branching,
    count_branchings,
    enumerate_branchings,
    enumerate_partitions,
    enumerate_refinements,
)
from models.errors import BranchingError

TASKS = ("seg", "depth", "edge", "parts")
SMALL = list(enumerate_branchings(TASKS[:3], 2))


@st.composite
def routings(draw: st.DrawFn) -> tuple[tuple[str, ...], list[list[int]]]:
    """Draw task names and a routing over up to four layers."""
    num_tasks = draw(st.integers(1, 4))
    rows = st.lists(st.integers(0, 4), min_size=num_tasks, max_size=num_tasks)
    return TASKS[:num_tasks], draw(st.lists(rows, min_size=1, max_size=4))


@pytest.mark.parametrize(("size", "bell"), [(0, 1), (1, 1), (2, 2), (3, 5), (4, 15), (5, 52), (6, 203)])
def test_partitions_number_bell(size: int, bell: int) -> None:
    """There are Bell(n) partitions of n items, each listed once, the one-group partition first."""
    items = tuple("abcdef"[:size])
    partitions = list(enumerate_partitions(items))
    assert len({frozenset(map(frozenset, partition)) for partition in partitions}) == len(partitions) == bell
    assert all(sorted(itertools.chain(*partition)) == sorted(items) for partition in partitions)
    assert partitions[0] == ((items,) if items else ())


def test_refinements_are_partitions_inside_the_groups() -> None:
    """A grouping of sizes 3 and 2 has Bell(3) * Bell(2) refinements, itself first."""
    grouping = (("a", "b", "c"), ("d", "e"))
    refinements = list(enumerate_refinements(grouping))
    assert len(set(refinements)) == len(refinements) == 10
    assert refinements[0] == grouping
    assert all(any(set(part) <= set(group) for group in grouping) for finer in refinements for part in finer)


@pytest.mark.parametrize(
    ("num_tasks", "num_layers", "expected"),
    [(3, 18, 532), (4, 18, 19684), (5, 18, 904894), (6, 18, 49690795), (5, 4, 3455), (1, 18, 1), (2, 18, 19)],
)
def test_golden_counts(num_tasks: int, num_layers: int, expected: int) -> None:
    """The numbers of trees in the paper's search space."""
    assert count_branchings(num_tasks, num_layers) == expected


@pytest.mark.parametrize(("num_tasks", "num_layers"), [(1, 1), (1, 3), (2, 4), (3, 3), (4, 2), (5, 1)])
def test_count_is_the_length_of_the_enumeration(num_tasks: int, num_layers: int) -> None:
    """Counting and enumerating agree, and nothing is enumerated twice."""
    trees = list(enumerate_branchings([f"t{task}" for task in range(num_tasks)], num_layers))
    assert len(set(trees)) == len(trees) == count_branchings(num_tasks, num_layers)
    assert trees[0] == Branching.shared(trees[0].tasks, num_layers)


def test_counts_deep_and_wide() -> None:
    """Twenty tasks and a hundred layers are counted at once; one layer gives the Bell number."""
    assert count_branchings(20, 1) == 51724158235372
    assert count_branchings(20, 100) > count_branchings(20, 99)


def test_refinement_is_a_partial_order() -> None:
    """Refinement is reflexive, antisymmetric and transitive over all trees of three tasks and two layers."""
    order = {(a, b) for a, b in itertools.product(SMALL, SMALL) if a.refines(b)}
    assert all((a, a) in order for a in SMALL)
    assert all(a == b for a, b in order if (b, a) in order)
    assert all((a, d) in order for a, b in order for c, d in order if b == c)


@settings(max_examples=50, deadline=None)
@given(routings())
def test_every_tree_lies_between_shared_and_split(routed: tuple[tuple[str, ...], list[list[int]]]) -> None:
    """Shared is the coarsest tree and split the finest, and the number of branches never falls with depth."""
    tree = Branching.from_routing(*routed)
    assert tree.refines(Branching.shared(tree.tasks, tree.num_layers))
    assert Branching.split(tree.tasks, tree.num_layers).refines(tree)
    assert list(tree.num_branches) == sorted(tree.num_branches)


def test_trees_of_other_tasks_or_depth_do_not_compare() -> None:
    """Neither of two trees refines the other when tasks or depth differ."""
    part, whole = Branching.shared(TASKS[:2], 2), Branching.shared(TASKS[:3], 2)
    assert not part.refines(whole)
    assert not whole.refines(part)
    assert not part.refines(Branching.shared(TASKS[:2], 3))


@settings(max_examples=50, deadline=None)
@given(routings())
def test_routing_builds_its_tree(routed: tuple[tuple[str, ...], list[list[int]]]) -> None:
    """Two tasks share a layer exactly when their picks coincide in all layers so far, and `routing_LT` leads back."""
    tasks, routing_LT = routed
    tree = Branching.from_routing(tasks, routing_LT)
    assert Branching.from_routing(tasks, tree.routing_LT) == tree
    for depth, layer in enumerate(tree.groups, start=1):
        for (s, first), (t, second) in itertools.combinations(enumerate(tasks), 2):
            together = any({first, second} <= set(group) for group in layer)
            assert together == all(row[s] == row[t] for row in routing_LT[:depth])


def test_parted_tasks_stay_apart() -> None:
    """The routing [[0,0,1],[0,0,0]] gives two branches in both layers."""
    tree = Branching.from_routing(TASKS[:3], [[0, 0, 1], [0, 0, 0]])
    assert tree.num_branches == (2, 2)
    assert tree.groups[1] == (("seg", "depth"), ("edge",))


def test_routing_may_be_an_array() -> None:
    """Rows of NumPy integers are routings too."""
    assert Branching.from_routing(TASKS[:2], list(np.array([[3, 3], [1, 0]]))).num_branches == (1, 2)


@settings(max_examples=50, deadline=None)
@given(routings(), st.randoms(use_true_random=False))
def test_task_order_never_matters(routed: tuple[tuple[str, ...], list[list[int]]], choose: random.Random) -> None:
    """Naming the tasks in another order gives an equal tree with an equal hash."""
    tasks, routing_LT = routed
    order = list(range(len(tasks)))
    choose.shuffle(order)
    tree = Branching.from_routing(tasks, routing_LT)
    other = Branching.from_routing([tasks[t] for t in order], [[row[t] for t in order] for row in routing_LT])
    assert tree == other
    assert hash(tree) == hash(other)
    assert Branching(tree.tasks, other.groups).groups == tree.groups


@settings(max_examples=50, deadline=None)
@given(routings())
def test_json_goes_both_ways(routed: tuple[tuple[str, ...], list[list[int]]]) -> None:
    """A tree written as JSON text and read back is the same, names and order included."""
    tree = Branching.from_routing(*routed)
    again = Branching.from_json(json.loads(json.dumps(tree.to_json())))
    assert again == tree
    assert (again.tasks, again.groups) == (tree.tasks, tree.groups)


def test_groups_stand_in_the_order_of_the_tasks() -> None:
    """Groups and their members are put in the order of `tasks`, however they were given."""
    tree = Branching(TASKS[:3], ((("edge", "seg"), ("depth",)), (("depth",), ("edge",), ("seg",))))
    assert tree.groups == ((("seg", "edge"), ("depth",)), (("seg",), ("depth",), ("edge",)))


def test_different_trees_are_not_equal() -> None:
    """All trees of three tasks and two layers differ, and none equals one of other tasks."""
    assert len(set(SMALL)) == len(SMALL) == count_branchings(3, 2)
    assert Branching.shared(("a", "b"), 1) != Branching.shared(("a", "c"), 1)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(SMALL), st.permutations(TASKS[:3]), st.integers(1, 3))
def test_restriction_keeps_who_shares(tree: Branching, order: list[str], size: int) -> None:
    """The part of a tree that some tasks need groups these tasks as before, in the order named."""
    part = tree.restricted_to(order[:size])
    assert part.tasks == tuple(order[:size])
    for layer, kept in zip(tree.groups, part.groups, strict=True):
        expected = {frozenset(group) & set(part.tasks) for group in layer} - {frozenset()}
        assert {frozenset(group) for group in kept} == expected


@pytest.mark.parametrize(
    ("tasks", "groups", "sentence"),
    [
        ((), ((),), "at least one task, got none"),
        (("a", "a"), ((("a", "a"),),), "must be distinct, got .*Name each task once"),
        (("a", "b"), (), "at least one layer, got none"),
        (("a", "b"), ((("a",),),), r"Layer 0 must hold each of the tasks \['a', 'b'\] exactly once"),
        (("a", "b"), ((("a", "b"), ("a",)),), "exactly once"),
        (("a", "b"), ((("a", "c"), ("b",)),), "exactly once"),
        (("a", "b"), ((("a", "b"), ()),), "exactly once"),
        (("a", "b"), ((("a",), ("b",)), (("a", "b"),)), r"Layer 1 joins the tasks \['a', 'b'\].*parted"),
    ],
)
def test_what_is_no_tree_is_refused(tasks: tuple[str, ...], groups: tuple[tuple[()]], sentence: str) -> None:
    """A layer that is no partition, or that joins what was parted, is refused with rule and finding."""
    with pytest.raises(BranchingError, match=sentence):
        Branching(tasks, groups)


@pytest.mark.parametrize(
    ("routing_LT", "sentence"),
    [
        ([[0, 0], [0]], "Layer 1 of the routing must name one op for each of 2 tasks, got 1"),
        ([], "at least one layer"),
        ([[0, -1]], "Layer 0 of the routing must name ops by index, 0 or more, got -1"),
        ([[0, 0.5]], "got 0.5"),
        ([[0, math.nan]], "got nan"),
    ],
)
def test_bad_routing_is_refused(routing_LT: list[list[int]], sentence: str) -> None:
    """A routing of the wrong width or of anything but op indices is refused."""
    with pytest.raises(BranchingError, match=sentence):
        Branching.from_routing(("a", "b"), routing_LT)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({}, "needs the lists 'tasks' and 'groups'"),
        ({"tasks": ["a"], "groups": None}, "with list and NoneType"),
        ([], "must be a JSON object, got list"),
        ({"tasks": ["a", "b"], "groups": ["ab"]}, "a layer must be a list, got 'ab'"),
        ({"tasks": ["a", "b"], "groups": [["ab"]]}, "a group must be a list, got 'ab'"),
        ({"tasks": ["a", "b"], "groups": [[{"a": 1, "b": 2}]]}, "a group must be a list"),
        ({"tasks": ["1", "2"], "groups": [[[1, 2]]]}, "must hold task names as texts"),
        ({"tasks": [1, 2], "groups": [[["1", "2"]]]}, "'tasks' must hold task names as texts"),
        ({"tasks": ["a", "b"], "groups": [[["a"]]]}, "exactly once"),
    ],
)
def test_bad_json_is_refused(document: dict[str, object], sentence: str) -> None:
    """A document of another form is refused, and texts are never read letter by letter."""
    with pytest.raises(BranchingError, match=sentence):
        Branching.from_json(document)


def test_bad_counts_are_refused() -> None:
    """No task, no layer and unknown tasks are refused at the call, not at the first use."""
    for num_tasks, num_layers in [(0, 1), (1, 0), (-1, 2)]:
        with pytest.raises(BranchingError, match=f"got {num_tasks} and {num_layers}"):
            count_branchings(num_tasks, num_layers)
    with pytest.raises(BranchingError, match="at least 1 layer, got 0"):
        enumerate_branchings(("a",), 0)
    with pytest.raises(BranchingError, match="at least one task"):
        enumerate_branchings((), 2)
    with pytest.raises(BranchingError, match=r"Tasks \['x'\] are not in this branching; it holds"):
        Branching.shared(TASKS, 2).restricted_to(["x"])
    with pytest.raises(BranchingError, match="at least one layer"):
        Branching.split(TASKS, 0)
