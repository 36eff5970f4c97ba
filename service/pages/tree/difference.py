"""Several trees of one backbone side by side: rows level, the layers and stations that set them apart marked.

The comparison page shows them; `tree_pair_svg` is the same as one file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from search.architecture import Architecture
from search.results import StudyCosts
from service.pages.drawing import frame, text
from service.pages.tree.drawing import TreeMarks, tree_svg
from service.pages.tree.layout import lay_out
from service.pages.tree.words import describe_grouping, name_span

_GAP, _CAPTION = 28.0, 26.0
_SIZE = re.compile(r' width="(\d+)" height="(\d+)"')


def aligned_tree_svgs(
    architectures: Sequence[Architecture], costs: Sequence[StudyCosts | None], *, interactive: bool = False
) -> tuple[str, ...]:
    """Return a drawing per tree; trees of one backbone have rows at the same heights, and their differences marked.

    Args:
        architectures: Two or more trees.
        costs: What the layers of each cost; None where it is not known.
        interactive: See `tree_svg`.
    """
    marks = find_marks(architectures)
    return tuple(
        tree_svg(tree, cost, interactive=interactive, marks=own)
        for tree, cost, own in zip(architectures, costs, marks, strict=True)
    )


def tree_pair_svg(
    architectures: Sequence[Architecture],
    costs: Sequence[StudyCosts | None],
    names: Sequence[str],
    *,
    standalone: bool = False,
) -> str:
    """Return trees side by side as one drawing, each under its name."""
    x, height, parts = 0.0, 0.0, []
    for name, drawing in zip(names, aligned_tree_svgs(architectures, costs, interactive=True), strict=True):
        size = _SIZE.search(drawing)
        assert size is not None, "an interactive drawing keeps its size"
        width, own_height = float(size[1]), float(size[2])
        parts.append(text(x, 16, name, size=13, attributes='font-weight="600"'))
        parts.append(drawing.replace("<svg ", f'<svg x="{x:.0f}" y="{_CAPTION:.0f}" ', 1))
        x, height = x + width + _GAP, max(height, own_height)
    return frame(
        x - _GAP,
        height + _CAPTION,
        "".join(parts),
        title=f"Trees side by side: {', '.join(names)}",
        description=describe_difference(architectures, names),
        kind="tree-pair",
        standalone=standalone,
        role="group",
    )


def find_marks(architectures: Sequence[Architecture]) -> tuple[TreeMarks, ...]:
    """Return per tree what sets it apart from the others; nothing for trees of different backbones."""
    if not _are_comparable(architectures):
        return tuple(TreeMarks() for _ in architectures)
    rows = [lay_out(tree).row_y for tree in architectures]
    level = _align_rows(rows)
    differing = frozenset(find_differing_layers(architectures))
    nodes = [_list_nodes(tree) for tree in architectures]
    everywhere = frozenset.intersection(*nodes)
    # A station that every tree has is common; one that at least one tree lacks is marked where it stands.
    dearest = max(max(tree.madds, tree.budget_madds or 0) for tree in architectures)
    return tuple(TreeMarks(differing, own - everywhere, level, dearest) for own in nodes)


def find_differing_layers(architectures: Sequence[Architecture]) -> tuple[int, ...]:
    """Return the indices of the layers in which not all trees group their tasks alike."""
    if not _are_comparable(architectures):
        return ()
    groupings = [tree.branching.groups for tree in architectures]
    return tuple(
        index
        for index, layers in enumerate(zip(*groupings, strict=True))
        if len({frozenset(frozenset(group) for group in grouping) for grouping in layers}) > 1
    )


def describe_difference(architectures: Sequence[Architecture], names: Sequence[str]) -> str:
    """Return in words where trees differ."""
    if not _are_comparable(architectures):
        return "The trees stand on different backbones, so their layers do not compare."
    layers = find_differing_layers(architectures)
    if not layers:
        return "The trees are the same in every layer."
    sentences = []
    first = 0
    for place, layer in enumerate(layers):
        after = layers[place + 1] if place + 1 < len(layers) else None
        if after == layer + 1 and all(
            tree.branching.groups[layer] == tree.branching.groups[after] for tree in architectures
        ):
            continue
        span = name_span(architectures[0].layer_names, layers[first], layer)
        each = (
            f"{name}: {describe_grouping(tree.branching.groups[layer])}"
            for name, tree in zip(names, architectures, strict=True)
        )
        sentences.append(f"{span} differ{'s' if layers[first] == layer else ''}. {'. '.join(each)}.")
        first = place + 1
    return " ".join(sentences)


def _list_nodes(tree: Architecture) -> frozenset[tuple[int, frozenset[str]]]:
    """Return the stations of a tree."""
    return frozenset((index, frozenset(group)) for index, layer in enumerate(tree.layers) for group in layer.groups)


def _align_rows(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Return heights at which each gap is as tall as the tallest of all trees there."""
    gaps = [[after - before for before, after in pairwise(own)] for own in rows]
    level = [rows[0][0]]
    for own in zip(*gaps, strict=True):
        level.append(level[-1] + max(own))
    return tuple(level)


def _are_comparable(architectures: Sequence[Architecture]) -> bool:
    """Return whether trees have the same layers and the same tasks."""
    return len({(tree.layer_names, frozenset(tree.tasks)) for tree in architectures}) == 1
