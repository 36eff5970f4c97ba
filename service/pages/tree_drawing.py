"""The picture of a branched network: a line map on which tasks are strands that run side by side and part for good.

The top is the image, the bottom the heads; every copy of a layer is a station across the strands that share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from models.branching import Grouping
from search.architecture import Architecture
from search.results import StudyCosts
from service.pages.drawing import (
    MONO,
    TIMES,
    colour,
    escape,
    estimate_text_width,
    format_count,
    frame,
    shorten,
    task_colour,
    text,
)

_TOP = 64.0
_AXIS_WIDTH = 66.0
_MAX_LABEL_CHARS = 14
_NAME_SIZE = 10.5


@dataclass(frozen=True)
class _Layout:
    """Where everything stands; tasks in `order` from left to right so that no strands cross.

    Rows: stem, L layers, heads.
    """

    order: tuple[str, ...]
    centre_by_row: tuple[dict[str, float], ...]
    strand_by_row: tuple[dict[str, float], ...]
    row_y: tuple[float, ...]
    pitch: float
    left: float
    right: float


def tree_svg(architecture: Architecture, costs: StudyCosts | None = None, *, standalone: bool = False) -> str:
    """Return the drawing of an architecture's tree.

    Args:
        architecture: The tree.
        costs: What the layers of its study cost; gives the axis of MAdds at the side. None leaves the axis out.
        standalone: For a file of its own rather than for a page.
    """
    if costs is not None and len(costs.layer_madds) != len(architecture.layers):
        raise ValueError(
            f"Costs must be those of the {len(architecture.layers)} layers of the tree, got {len(costs.layer_madds)}."
        )
    layout = _lay_out(architecture)
    steps = _madds_by_row(architecture, costs) if costs is not None else None
    width = layout.right + (_AXIS_WIDTH + 74 if steps else 12)
    parts = [
        _draw_guides(architecture, layout, layout.right + (12 if steps else 0)),
        *(_draw_strand(task, index, layout) for index, task in enumerate(architecture.tasks)),
        _draw_stem(architecture, layout, costs),
        *_draw_nodes(architecture, layout, costs),
        *_draw_heads(architecture, layout),
    ]
    if steps:
        parts.append(_draw_axis(architecture, layout, steps))
    return frame(
        width,
        layout.row_y[-1] + 52,
        "".join(parts),
        title=f"Tree of {len(architecture.tasks)} tasks on {architecture.backbone}",
        description=describe_tree(architecture),
        kind="tree-drawing",
        standalone=standalone,
    )


def describe_tree(architecture: Architecture) -> str:
    """Return the tree in words: which tasks share which layers, from the image to the heads."""
    names = architecture.layer_names
    groupings = architecture.branching.groups
    sentences = []
    first = 0
    for last in range(len(groupings)):
        if last + 1 < len(groupings) and groupings[last + 1] == groupings[first]:
            continue
        span = names[first] if first == last else f"{names[first]} to {names[last]}"
        sentences.append(f"{span}: {_describe_grouping(groupings[first])}.")
        first = last + 1
    return " ".join(sentences)


def _describe_grouping(grouping: Grouping) -> str:
    """Return who shares with whom in one layer."""
    if len(grouping) == 1:
        return "all tasks together" if len(grouping[0]) > 1 else grouping[0][0]
    if all(len(group) == 1 for group in grouping):
        return "every task on its own"
    return "; ".join(" with ".join(group) if len(group) > 1 else f"{group[0]} alone" for group in grouping)


def _lay_out(architecture: Architecture) -> _Layout:
    """Return the places of rows and strands: a trunk stands above the middle of its heads."""
    branching = architecture.branching
    routing_LT = branching.routing_LT
    place = {task: index for index, task in enumerate(branching.tasks)}
    # Tasks sorted by their groups, coarsest first: the members of every group of every layer stand side by side.
    order = tuple(sorted(branching.tasks, key=lambda task: [row[place[task]] for row in routing_LT]))
    names = [estimate_text_width(shorten(task, _MAX_LABEL_CHARS), 12.5) for task in order]
    channels = [estimate_text_width(_name_channels(head.channels), 10.5) for head in architecture.heads.values()]
    column = max(56.0, *names, *channels) + 8
    left = 22 + max(estimate_text_width(name, _NAME_SIZE) * 1.06 for name in (*architecture.layer_names, "stem"))
    column_x = {task: left + column * (index + 0.5) for index, task in enumerate(order)}
    pitch = max(6.0, min(9.0, 36.0 / len(order)))
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
    return _Layout(
        order=order,
        centre_by_row=tuple(centres),
        strand_by_row=tuple(strands),
        row_y=_place_rows(strands),
        pitch=pitch,
        left=left,
        right=left + column * len(order),
    )


def _place_rows(strands: Sequence[dict[str, float]]) -> tuple[float, ...]:
    """Return the heights of the rows: a gap in which strands part is taller the further they go apart."""
    plain = max(22.0, min(46.0, 420.0 / len(strands)))
    rows = [_TOP]
    for before, after in pairwise(strands):
        shift = max(abs(after[task] - before[task]) for task in after)
        rows.append(rows[-1] + max(plain, 20 + 0.42 * shift))
    return tuple(rows)


def _draw_guides(architecture: Architecture, layout: _Layout, right: float) -> str:
    """Return the name of every row at the left, and a hairline from it across the tree."""
    mono = f'font-family="{MONO}"'
    parts = [text(layout.left - 14, 16, "layer", size=_NAME_SIZE, anchor="end", fill="muted")]
    for name, y in zip(("stem", *architecture.layer_names), layout.row_y, strict=False):
        parts.append(
            f'<line x1="{layout.left - 8:.1f}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}" stroke="{colour("line")}"/>'
        )
        parts.append(
            text(layout.left - 14, y + 3.5, name, size=_NAME_SIZE, anchor="end", fill="muted", attributes=mono)
        )
    return "".join(parts)


def _draw_strand(task: str, index: int, layout: _Layout) -> str:
    """Return the line of one task from the image to its head."""
    xs = [row[task] for row in layout.strand_by_row]
    path = [f"M{xs[0]:.1f} {layout.row_y[0] - 22:.1f}V{layout.row_y[0]:.1f}"]
    steps = zip(xs, xs[1:], layout.row_y, layout.row_y[1:], strict=False)
    for x, next_x, y, next_y in steps:
        middle = (y + next_y) / 2
        path.append(
            f"V{next_y:.1f}"
            if x == next_x
            else f"C{x:.1f} {middle:.1f} {next_x:.1f} {middle:.1f} {next_x:.1f} {next_y:.1f}"
        )
    return (
        f'<path class="strand" d="{"".join(path)}" fill="none" stroke="{task_colour(index)}" '
        f'stroke-width="{layout.pitch - 1.5:.1f}"><title>{escape(task)}</title></path>'
    )


def _draw_stem(architecture: Architecture, layout: _Layout, costs: StudyCosts | None) -> str:
    """Return the image at the top and the stem, which all tasks share."""
    x, y = layout.centre_by_row[0][layout.order[0]], layout.row_y[0]
    width = layout.pitch * len(layout.order) + 12
    cost = f": {format_count(costs.stem_madds)} MAdds" if costs is not None else ""
    return (
        text(x, y - 48, "image", size=12.5, anchor="middle", attributes='font-weight="600"')
        + text(
            x,
            y - 33,
            f" {TIMES} ".join(str(size) for size in (*architecture.input_size, architecture.image_channels)),
            size=10.5,
            anchor="middle",
            fill="muted",
        )
        + f'<g class="stem"><title>stem, shared by all tasks{cost}</title><rect x="{x - width / 2:.1f}" '
        f'y="{y - 6:.1f}" width="{width:.1f}" height="12" rx="3" fill="{colour("ink")}"/></g>'
    )


def _draw_nodes(architecture: Architecture, layout: _Layout, costs: StudyCosts | None) -> list[str]:
    """Return one station per layer and group, its facts in the title."""
    total_params = architecture.params
    nodes = []
    for row, layer in enumerate(architecture.layers, start=1):
        facts = ""
        if costs is not None:
            facts = f": {format_count(costs.layer_madds[row - 1])} MAdds"
            if costs.layer_params and total_params:
                facts += f", {100 * costs.layer_params[row - 1] / total_params:.1f} % of the parameters"
        for group in layer.groups:
            x, y = layout.centre_by_row[row][group[0]], layout.row_y[row]
            width = layout.pitch * len(group) + 7
            nodes.append(
                f'<g class="node"><title>{escape(layer.name)}, {escape(" + ".join(group))}{facts}</title>'
                f'<rect x="{x - width / 2:.1f}" y="{y - 4.5:.1f}" width="{width:.1f}" height="9" rx="4.5" '
                f'fill="{colour("surface")}" stroke="{colour("ink")}" stroke-width="1.6"/></g>'
            )
    return nodes


def _draw_heads(architecture: Architecture, layout: _Layout) -> list[str]:
    """Return the end of every strand with the name of its task and the kind of its head."""
    heads = []
    for index, task in enumerate(architecture.tasks):
        x, y = layout.strand_by_row[-1][task], layout.row_y[-1]
        head = architecture.heads[task]
        heads.append(
            f'<g class="head"><title>{escape(task)}: {head.kind}, {head.channels} channels</title>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6.5" fill="{task_colour(index)}" stroke="{colour("surface")}" '
            f'stroke-width="2"/>'
            + text(
                x, y + 23, shorten(task, _MAX_LABEL_CHARS), size=12.5, anchor="middle", attributes='font-weight="600"'
            )
            + text(x, y + 38, _name_channels(head.channels), size=10.5, anchor="middle", fill="muted")
            + "</g>"
        )
    return heads


def _name_channels(channels: int) -> str:
    """Return how many channels a head gives, in words."""
    return f"{channels} channel{'s' if channels > 1 else ''}"


def _madds_by_row(architecture: Architecture, costs: StudyCosts) -> list[float]:
    """Return what each row adds to the cost of the tree: stem, layers times their copies, heads."""
    copies = architecture.branching.num_branches
    layers = [madds * num for madds, num in zip(costs.layer_madds, copies, strict=True)]
    return [costs.stem_madds, *layers, sum(costs.decoder_madds.get(task, 0) for task in architecture.tasks)]


def _draw_axis(architecture: Architecture, layout: _Layout, steps: Sequence[float]) -> str:
    """Return the cost so far, row by row: what the row adds in full colour, what came before it in a tint."""
    total = sum(steps)
    scale = _AXIS_WIDTH / max(total, architecture.budget_madds or 0, 1)
    x = layout.right + 16
    parts = [text(x, 16, "MAdds so far", size=_NAME_SIZE, fill="muted")]
    before = 0.0
    tops = [layout.row_y[0] - 9, *((a + b) / 2 for a, b in zip(layout.row_y, layout.row_y[1:], strict=False))]
    bottoms = [*tops[1:], layout.row_y[-1] + 9]
    for step, y, top, bottom in zip(steps, layout.row_y, tops, bottoms, strict=True):
        bar_top = max(top, y - 9)
        across = f'y="{bar_top:.1f}" height="{min(bottom, y + 9) - bar_top - 1.5:.1f}"'
        added = max(step * scale, 0.8)
        parts.append(
            f'<rect x="{x:.1f}" width="{before * scale:.1f}" {across} fill="{colour("tint")}"/>'
            f'<rect x="{x + before * scale:.1f}" width="{added:.1f}" {across} fill="{colour("accent")}"/>'
        )
        before += step
        parts.append(
            text(
                x + _AXIS_WIDTH + 52, y + 3.5, format_count(before, total), size=_NAME_SIZE, anchor="end", fill="muted"
            )
        )
    if architecture.budget_madds:
        budget_x, bottom = x + architecture.budget_madds * scale, layout.row_y[-1] + 12
        parts.append(
            f'<line x1="{budget_x:.1f}" y1="{layout.row_y[0] - 14:.1f}" x2="{budget_x:.1f}" y2="{bottom:.1f}" '
            f'stroke="{colour("bad")}" stroke-width="1.4" stroke-dasharray="3 3"/>'
            + text(budget_x, bottom + 12, "budget", size=_NAME_SIZE, anchor="middle", fill="bad")
        )
    return "".join(parts)
