"""The small tree: one strand per task, one station per copy of a layer, words for those who do not see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from xml.etree import ElementTree

import pytest

from models.branching import Branching
from service.pages.tree.small import small_tree_svg

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("seed", range(5))
def test_it_shows_the_tree(
    build_architecture: Callable[..., Any], draw_branching: Callable[[Sequence[str], int, int], Branching], seed: int
) -> None:
    """Strands and stations are those of the tree, and it is described."""
    architecture = build_architecture(draw_branching(("left", "right", "left_group"), 5, seed))
    drawing = ElementTree.fromstring(small_tree_svg(architecture))
    assert len([path for path in drawing.iter(f"{SVG}path") if path.get("class") == "strand"]) == 3
    assert len(list(drawing.iter(f"{SVG}rect"))) == 1 + sum(architecture.branching.num_branches)
    assert len(list(drawing.iter(f"{SVG}circle"))) == 3
    assert drawing.findtext(f"{SVG}desc")
