"""The tree drawing: one station per copy of a layer, strands that never cross, and the same in words."""

import itertools
from collections.abc import Callable, Sequence
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.branching import Branching
from search.architecture import Architecture, layers_of
from search.results import Results
from service.pages.tree.drawing import tree_svg
from service.pages.tree.layout import lay_out, list_branches
from service.pages.tree.words import describe_tree, format_share, outline_tree

SVG = "{http://www.w3.org/2000/svg}"
TASKS = ("a", "b", "c", "d")
per_example = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
routings = st.lists(st.tuples(*[st.integers(0, 2)] * 4), min_size=5, max_size=5)


def _elements(svg: str, kind: str) -> list[ElementTree.Element]:
    """Return the elements of a class."""
    return [element for element in ElementTree.fromstring(svg).iter() if element.get("class") == kind]


@per_example
@given(routing=routings)
def test_every_copy_of_a_layer_is_one_station(
    routing: list[tuple[int, ...]], build_architecture: Callable[..., Architecture]
) -> None:
    """Stations, strands and heads are as many as groups, tasks and tasks."""
    architecture = build_architecture(Branching.from_routing(TASKS, routing))
    svg = tree_svg(architecture)
    assert len(_elements(svg, "node")) == sum(architecture.branching.num_branches)
    assert len(_elements(svg, "strand")) == len(_elements(svg, "head")) == len(TASKS)
    assert len(_elements(svg, "stem")) == 1


@per_example
@given(routing=routings)
def test_strands_keep_their_order_from_top_to_bottom(
    routing: list[tuple[int, ...]], build_architecture: Callable[..., Architecture]
) -> None:
    """No strand ever crosses another, and the members of a group stand side by side."""
    architecture = build_architecture(Branching.from_routing(TASKS, routing))
    layout = lay_out(architecture)
    for row in layout.strand_by_row:
        xs = [row[task] for task in layout.order]
        assert all(before < after for before, after in itertools.pairwise(xs))
    for grouping, centre in zip(architecture.branching.groups, layout.centre_by_row[1:], strict=False):
        assert len({round(x, 6) for x in centre.values()}) == len(grouping)


def test_a_station_tells_layer_tasks_and_cost(
    build_architecture: Callable[..., Architecture], build_results: Callable[..., Results]
) -> None:
    """What hovering shows is all there is to know of a node."""
    costs = build_results(tasks=TASKS).study.costs
    svg = tree_svg(build_architecture(Branching.shared(TASKS, 5)), costs)
    title = _elements(svg, "node")[0].findtext(f"{SVG}title")
    assert title == "block1, a + b + c + d: 30.0 K MAdds (16 % of the tree), 1.00 K parameters (10 %)"


def test_the_axis_ends_at_the_cost_of_the_tree(
    build_architecture: Callable[..., Architecture], build_results: Callable[..., Results]
) -> None:
    """The costs of all rows add up to the whole network, and the budget is marked."""
    architecture = build_architecture(Branching.split(TASKS, 5))
    texts = [
        element.text
        for element in ElementTree.fromstring(tree_svg(architecture, build_results(tasks=TASKS).study.costs)).iter(
            f"{SVG}text"
        )
    ]
    assert architecture.madds == 640_000
    assert "0.640 M" in texts
    assert "budget" in texts


def test_without_costs_there_is_no_axis(build_architecture: Callable[..., Architecture]) -> None:
    """A tree alone is drawn as well."""
    assert "MAdds so far" not in tree_svg(build_architecture(Branching.shared(TASKS, 5)))


def test_costs_of_another_backbone_are_refused(
    build_architecture: Callable[..., Architecture], build_results: Callable[..., Results]
) -> None:
    """Layers and costs must be of one network."""
    costs = build_results(backbone="resnet18").study.costs
    with pytest.raises(ValueError, match="Costs must be those of the 5 layers"):
        tree_svg(build_architecture(Branching.shared(TASKS, 5)), costs)


def test_the_words_name_who_shares_what(build_architecture: Callable[..., Architecture]) -> None:
    """Equal layers are told once, from the image to the heads."""
    routing = [(0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0)]
    words = describe_tree(build_architecture(Branching.from_routing(TASKS, routing)))
    assert words == (
        "block1: all tasks together. block2 to block3: a with b with c; d alone. block4: a with c; b alone; d alone. "
        "block5: every task on its own."
    )


def test_a_part_of_a_tree_with_one_task_is_drawn(build_architecture: Callable[..., Architecture]) -> None:
    """The smallest export has a picture too."""
    architecture = build_architecture(Branching.shared(("a",), 5))
    assert len(_elements(tree_svg(architecture), "node")) == 5
    assert describe_tree(architecture) == "block1 to block5: a."


def test_names_are_text_and_never_markup(build_architecture: Callable[..., Architecture]) -> None:
    """A task named like a tag is shown, not obeyed."""
    svg = tree_svg(build_architecture(Branching.shared(("<script>", 'x" onload="y'), 5)), standalone=True)
    assert "<script" not in svg
    assert 'onload="y"' not in svg
    assert len(_elements(svg, "head")) == 2


@pytest.mark.parametrize(("backbone", "num_layers"), [("mobilenet_v2", 18), ("resnet101", 34)])
def test_deep_trees_stay_within_their_frame(
    backbone: str,
    num_layers: int,
    build_architecture: Callable[..., Architecture],
    draw_branching: Callable[[Sequence[str], int, int], Branching],
) -> None:
    """Six tasks on many layers fit the view box."""
    tree = draw_branching(["semseg", "parts", "sal", "normals", "depth", "edge"], num_layers, 0)
    root = ElementTree.fromstring(tree_svg(build_architecture(tree, backbone)))
    width, height = (float(side) for side in str(root.get("viewBox")).split()[2:])
    for element in root.iter(f"{SVG}rect"):
        assert 0 <= float(str(element.get("x"))) <= width - float(str(element.get("width")))
        assert 0 <= float(str(element.get("y"))) <= height - 9


@per_example
@given(routing=routings)
def test_the_figures_of_all_parts_add_up_to_the_tree(
    routing: list[tuple[int, ...]],
    build_architecture: Callable[..., Architecture],
    build_results: Callable[..., Results],
) -> None:
    """Stem, stations and heads cost what the network costs."""
    architecture = build_architecture(Branching.from_routing(TASKS, routing))
    svg = tree_svg(architecture, build_results(tasks=TASKS).study.costs, interactive=True)
    parts = [element for kind in ("stem", "node", "head") for element in _elements(svg, kind)]
    assert sum(int(str(part.get("data-madds"))) for part in parts) == architecture.madds
    assert [part.get("data-tasks") for part in parts[-4:]] == ["0", "1", "2", "3"]


@per_example
@given(routing=routings)
def test_branches_cover_every_station_once(
    routing: list[tuple[int, ...]],
    build_architecture: Callable[..., Architecture],
    build_results: Callable[..., Results],
) -> None:
    """A branch is as long as its tasks stay together, and each has its share written beside it."""
    architecture = build_architecture(Branching.from_routing(TASKS, routing))
    branches = list_branches(architecture.branching)
    stations = [(layer, branch.tasks) for branch in branches for layer in branch.layers]
    groups = [(index, group) for index, layer in enumerate(architecture.layers) for group in layer.groups]
    assert sorted(stations) == sorted(groups)
    assert all(set(child.tasks) < set(branch.tasks) for branch in branches for child in branch.children)
    svg = tree_svg(architecture, build_results(tasks=TASKS).study.costs)
    assert len(_elements(svg, "branch-share")) == len(branches)


def test_a_tree_of_one_layer_has_a_layout() -> None:
    """The smallest tree has a branch per group and nothing below it."""
    branches = list_branches(Branching.split(("a", "b"), 1))
    assert [(branch.tasks, branch.first, branch.last, branch.children) for branch in branches] == [
        (("a",), 0, 0, ()),
        (("b",), 0, 0, ()),
    ]


def test_the_outline_nests_branches_down_to_the_heads(
    build_architecture: Callable[..., Architecture], build_results: Callable[..., Results]
) -> None:
    """Screen readers get the tree as a list in a list, with the figures of every branch."""
    routing = [(0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0)]
    costs = build_results(tasks=TASKS).study.costs
    stem = outline_tree(build_architecture(Branching.from_routing(TASKS, routing)), costs)
    (trunk,) = stem.children
    assert trunk.text == "block1: all tasks, 30.0 K MAdds, 9.7 % of the tree; 1.00 K parameters"
    assert [branch.text.partition(",")[0] for branch in trunk.children] == [
        "block2 to block5: a + b + c",
        "block2 to block5: d",
    ]
    assert [head.text.partition(":")[0] for head in trunk.children[0].children] == [
        "head of a",
        "head of b",
        "head of c",
    ]


@pytest.mark.parametrize(
    ("part", "words"), [(0, "0.0 %"), (1, "< 0.1 %"), (94, "9.4 %"), (995, "99 %"), (1000, "100 %")]
)
def test_shares_read_well(part: int, words: str) -> None:
    """What is something is never called nothing."""
    assert format_share(part, 1000 if part > 1 else 10_000) == words


@pytest.mark.parametrize(("num_tasks", "num_layers"), [(1, 1), (2, 1), (8, 1), (8, 34)])
def test_trees_of_every_size_are_drawn(
    num_tasks: int, num_layers: int, build_architecture: Callable[..., Architecture]
) -> None:
    """From one layer of one task to many layers of eight; strands stand apart and inside the frame."""
    tasks = tuple(f"task {index}" for index in range(num_tasks))
    known = build_architecture(Branching.shared(tasks, 5))
    names = [f"block{index}" for index in range(num_layers)]
    # No backbone has one layer, so the tree is made past the check of it.
    tree = known.model_copy(update={"layers": layers_of(Branching.split(tasks, num_layers), names)})
    layout = lay_out(tree)
    width = float(str(ElementTree.fromstring(tree_svg(tree)).get("viewBox")).split()[2])
    for row in layout.strand_by_row:
        xs = sorted(row.values())
        assert all(after - before >= layout.pitch - 1e-6 for before, after in itertools.pairwise(xs))
        assert layout.left <= xs[0] <= xs[-1] <= width
