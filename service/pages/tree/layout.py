"""Where the parts of a tree drawing stand, and the branches a tree is made of. Pure; `drawing` draws them.

Shapes: L encoder layers, T tasks. Rows of a drawing: the stem, L layers, the heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from models.branching import Branching, Group, Grouping
from search.architecture import Architecture
from service.pages.drawing import estimate_text_width, shorten

TOP = 64.0
NAME_SIZE = 10.5
MAX_LABEL_CHARS = 14


@dataclass(frozen=True)
class TreeLayout:
    """Where everything stands; tasks in `order` from left to right so that no strands cross."""

    order: tuple[str, ...]
    centre_by_row: tuple[dict[str, float], ...]
    strand_by_row: tuple[dict[str, float], ...]
    row_y: tuple[float, ...]
    pitch: float
    left: float
    right: float


@dataclass(frozen=True)
class Branch:
    """Layers that the same tasks share, from where they come together until they part.

    Attributes:
        tasks: Who shares it.
        first: Index of its first layer.
        last: Index of its last layer.
        children: The branches it parts into; none where the heads follow.
    """

    tasks: Group
    first: int
    last: int
    children: tuple[Branch, ...] = field(default=())

    @property
    def layers(self) -> range:
        """Return the indices of its layers."""
        return range(self.first, self.last + 1)


def grow_branches(branching: Branching) -> tuple[Branch, ...]:
    """Return the branches that leave the stem, each with those that follow it."""
    return _grow(branching.groups, 0, branching.tasks)


def list_branches(branching: Branching) -> tuple[Branch, ...]:
    """Return all branches of a tree, parents before their children."""
    found: list[Branch] = []
    waiting = list(grow_branches(branching))
    while waiting:
        branch = waiting.pop(0)
        found.append(branch)
        waiting = [*branch.children, *waiting]
    return tuple(found)


def lay_out(architecture: Architecture, row_y: Sequence[float] | None = None, *, margin: float = 0.0) -> TreeLayout:
    """Return the places of rows and strands: a trunk stands above the middle of its heads.

    Args:
        architecture: The tree.
        row_y: Heights of its L + 2 rows, where they are to be those of other drawings; its own without them.
        margin: Room before the names of the rows.
    """
    branching = architecture.branching
    routing_LT = branching.routing_LT
    place = {task: index for index, task in enumerate(branching.tasks)}
    # Tasks sorted by their groups, coarsest first: the members of every group of every layer stand side by side.
    order = tuple(sorted(branching.tasks, key=lambda task: [row[place[task]] for row in routing_LT]))
    column = _measure_column(architecture)
    left = margin + measure_names(architecture.layer_names)
    column_x = {task: left + column * (index + 0.5) for index, task in enumerate(order)}
    pitch = max(6.0, min(9.0, 36.0 / len(order)))
    centres, strands = _place_strands(branching, order, column_x, pitch)
    own = TreeLayout(
        order=order,
        centre_by_row=centres,
        strand_by_row=strands,
        row_y=_place_rows(strands),
        pitch=pitch,
        left=left,
        right=left + column * len(order),
    )
    return own if row_y is None else replace(own, row_y=tuple(row_y))


def measure_names(layer_names: Sequence[str]) -> float:
    """Return how much room the names of the rows take at the left of a drawing."""
    return 22 + max(estimate_text_width(name, NAME_SIZE) * 1.06 for name in (*layer_names, "stem"))


def name_channels(channels: int) -> str:
    """Return how many channels a head gives, in words."""
    return f"{channels} channel{'s' if channels > 1 else ''}"


def _grow(groups: Sequence[Grouping], first: int, tasks: Group) -> tuple[Branch, ...]:
    """Return the branches that some tasks have from a layer on."""
    branches = []
    for group in groups[first]:
        if not set(group) <= set(tasks):
            continue
        last = first
        while last + 1 < len(groups) and group in groups[last + 1]:
            last += 1
        children = _grow(groups, last + 1, group) if last + 1 < len(groups) else ()
        branches.append(Branch(group, first, last, children))
    return tuple(branches)


def _measure_column(architecture: Architecture) -> float:
    """Return how wide the column of a task must be for what stands below its head."""
    names = [estimate_text_width(shorten(task, MAX_LABEL_CHARS), 12.5) for task in architecture.tasks]
    channels = [estimate_text_width(name_channels(head.channels), NAME_SIZE) for head in architecture.heads.values()]
    return max(56.0, *names, *channels) + 8


def _place_strands(
    branching: Branching, order: tuple[str, ...], column_x: dict[str, float], pitch: float
) -> tuple[tuple[dict[str, float], ...], tuple[dict[str, float], ...]]:
    """Return per row and task the middle of its group, and the place of its own strand."""
    groupings: list[Grouping] = [(order,), *branching.groups, tuple((task,) for task in order)]
    centres, strands = [], []
    for grouping in groupings:
        centre, strand = {}, {}
        for group in grouping:
            members = sorted(group, key=order.index)
            middle = sum(column_x[task] for task in members) / len(members)
            for index, task in enumerate(members):
                centre[task] = middle
                strand[task] = middle + (index - (len(members) - 1) / 2) * pitch
        centres.append(centre)
        strands.append(strand)
    return tuple(centres), tuple(strands)


def _place_rows(strands: Sequence[dict[str, float]]) -> tuple[float, ...]:
    """Return the heights of the rows: a gap in which strands part is taller the further they go apart."""
    plain = max(22.0, min(46.0, 420.0 / len(strands)))
    rows = [TOP]
    for before, after in pairwise(strands):
        shift = max(abs(after[task] - before[task]) for task in after)
        rows.append(rows[-1] + max(plain, 20 + 0.42 * shift))
    return tuple(rows)
