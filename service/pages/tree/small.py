"""A tree as small as a stamp: its shape and its colours, without words. The card of a network shows it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from models.branching import Grouping
from search.architecture import Architecture
from service.pages.drawing import colour, escape, frame, task_colour
from service.pages.tree.words import describe_tree

_WIDTH, _HEIGHT = 220.0, 150.0
_ROOM = 10.0


def small_tree_svg(architecture: Architecture) -> str:
    """Return a small drawing of a tree for a page."""
    num_rows = len(architecture.layers) + 2
    row_y = [12 + (_HEIGHT - 24) * row / (num_rows - 1) for row in range(num_rows)]
    return frame(
        _WIDTH,
        _HEIGHT,
        _draw_tree(architecture, row_y),
        title="Tree",
        description=describe_tree(architecture),
        kind="small-tree",
        standalone=False,
    )


def _place_strands(architecture: Architecture, pitch: float) -> list[dict[str, float]]:
    """Return where the strand of each task stands, row by row, so that none cross."""
    branching = architecture.branching
    place = {task: index for index, task in enumerate(branching.tasks)}
    order = tuple(sorted(branching.tasks, key=lambda task: [row[place[task]] for row in branching.routing_LT]))
    step = (_WIDTH - 28) / len(order)
    groupings: list[Grouping] = [(order,), *branching.groups, tuple((task,) for task in order)]
    rows = []
    for grouping in groupings:
        xs = {}
        for group in grouping:
            members = sorted(group, key=order.index)
            middle = 14 + step * (sum(order.index(task) + 0.5 for task in members) / len(members))
            for index, task in enumerate(members):
                xs[task] = middle + (index - (len(members) - 1) / 2) * pitch
        rows.append(xs)
    return rows


def _draw_tree(architecture: Architecture, row_y: Sequence[float]) -> str:
    """Return the strands of a tree with a station for every copy of a layer and a dot for every head."""
    parts = []
    pitch = max(4.5, min(9.0, 36.0 / len(architecture.tasks)))
    xs_by_row, thickness = _place_strands(architecture, pitch), pitch - 1.4
    for index, task in enumerate(architecture.tasks):
        xs = [row[task] for row in xs_by_row]
        path = f"M{xs[0]:.1f} {row_y[0]:.1f}"
        for (x, next_x), (y, next_y) in zip(pairwise(xs), pairwise(row_y), strict=True):
            middle = (y + next_y) / 2
            path += (
                f"V{next_y:.1f}"
                if x == next_x
                else f"C{x:.1f} {middle:.1f} {next_x:.1f} {middle:.1f} {next_x:.1f} {next_y:.1f}"
            )
        parts.append(
            f'<path class="strand" d="{path}" fill="none" stroke="{task_colour(index)}" stroke-width="{thickness:.1f}">'
            f"<title>{escape(task)}</title></path>"
        )
    height = min(7.0, 0.8 * (row_y[1] - row_y[0]))
    groupings: list[Grouping] = [(architecture.tasks,), *(layer.groups for layer in architecture.layers)]
    has_room = row_y[1] - row_y[0] >= _ROOM
    for row, grouping in enumerate(groupings):
        for group in grouping:
            if not has_room and row and group in groupings[row - 1]:
                continue  # of a branch of many layers only the first
            xs = [xs_by_row[row][task] for task in group]
            x, width = min(xs) - thickness / 2 - 2.5, max(xs) - min(xs) + thickness + 5
            parts.append(
                f'<rect x="{x:.1f}" y="{row_y[row] - height / 2:.1f}" width="{width:.1f}" height="{height:.1f}" '
                f'rx="{height / 2:.1f}" fill="{colour("ink" if row == 0 else "surface")}" stroke="{colour("ink")}" '
                'stroke-width="1.2"/>'
            )
    for index, task in enumerate(architecture.tasks):
        x, y = xs_by_row[-1][task], row_y[-1]
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{max(3.5, height * 0.75):.1f}" fill="{task_colour(index)}"/>'
        )
    return "".join(parts)
