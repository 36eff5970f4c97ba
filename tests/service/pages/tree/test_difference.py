"""Trees side by side: rows level, differences marked and told."""

from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.branching import Branching
from search.architecture import Architecture
from search.results import Results
from service.pages.tree.difference import (
    aligned_tree_svgs,
    describe_difference,
    find_differing_layers,
    find_marks,
    tree_pair_svg,
)

TASKS = ("a", "b", "c")
per_example = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
routings = st.lists(st.tuples(*[st.integers(0, 1)] * 3), min_size=5, max_size=5)


@pytest.fixture
def shared(build_architecture: Callable[..., Architecture]) -> Architecture:
    """Return the tree that shares everything."""
    return build_architecture(Branching.shared(TASKS, 5))


@pytest.fixture
def parted(build_architecture: Callable[..., Architecture]) -> Architecture:
    """Return a tree whose task c leaves in the fourth layer."""
    return build_architecture(Branching.from_routing(TASKS, [(0, 0, 0)] * 3 + [(0, 0, 1)] * 2))


def _classes(svg: str, name: str) -> int:
    """Return how many elements have a class."""
    return sum(name in str(element.get("class")).split() for element in ElementTree.fromstring(svg).iter())


def test_only_layers_that_group_otherwise_are_marked(shared: Architecture, parted: Architecture) -> None:
    """Layers and stations that one tree has alone are marked in both, and in nothing else."""
    assert find_differing_layers([shared, parted]) == (3, 4)
    left, right = aligned_tree_svgs([shared, parted], [None, None])
    assert (_classes(left, "differs"), _classes(right, "differs")) == (2, 2)
    assert (_classes(left, "own"), _classes(right, "own")) == (2, 4)
    assert "only in this tree" in right


@per_example
@given(first=routings, second=routings)
def test_rows_stand_level(
    first: list[tuple[int, ...]], second: list[tuple[int, ...]], build_architecture: Callable[..., Architecture]
) -> None:
    """Every layer stands at the same height in all trees, and a tree equals itself."""
    trees = [build_architecture(Branching.from_routing(TASKS, routing)) for routing in (first, second)]
    marks = find_marks(trees)
    assert marks[0].row_y == marks[1].row_y
    assert all(before < after for before, after in zip(marks[0].row_y or (), (marks[0].row_y or ())[1:], strict=False))
    assert (trees[0].branching == trees[1].branching) == (find_differing_layers(trees) == ())
    assert find_differing_layers([trees[0], trees[0]]) == ()


def test_the_words_tell_who_differs_where(shared: Architecture, parted: Architecture) -> None:
    """Equal neighbours are told once."""
    assert describe_difference([shared, parted], ["left", "right"]) == (
        "block4 to block5 differ. left: all tasks together. right: a with b; c alone."
    )
    assert describe_difference([shared, shared], ["x", "y"]) == "The trees are the same in every layer."


def test_trees_of_other_backbones_are_drawn_without_marks(
    parted: Architecture, build_architecture: Callable[..., Architecture]
) -> None:
    """Where layers do not compare, the page says so."""
    other = build_architecture(Branching.split(TASKS, 9), "resnet18")
    assert "do not compare" in describe_difference([parted, other], ["x", "y"])
    assert all(_classes(svg, "differs") == 0 for svg in aligned_tree_svgs([parted, other], [None, None]))


def test_a_pair_is_one_file(shared: Architecture, parted: Architecture, build_results: Callable[..., Results]) -> None:
    """Both trees stand in it under their names, as wide as both together."""
    costs = build_results(tasks=TASKS).study.costs
    root = ElementTree.fromstring(tree_pair_svg([shared, parted], [costs, costs], ["<left>", "right"], standalone=True))
    inner = [element for element in root if element.get("class") == "tree-drawing"]
    assert len(inner) == 2
    assert float(str(root.get("width"))) > sum(float(str(tree.get("width"))) for tree in inner)
    assert any(element.text == "<left>" for element in root)
