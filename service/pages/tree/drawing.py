"""The picture of a branched network: a line map on which tasks are strands that run side by side and part for good.

The top is the image, the bottom the heads; every copy of a layer is a station across the strands that share it. Figures
stand in the titles of the stations and, for scripts and tests, in their `data-` attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from search.architecture import Architecture
from search.results import StudyCosts
from service.pages.drawing import (
    MONO,
    TIMES,
    colour,
    escape,
    format_count,
    frame,
    shorten,
    task_colour,
    text,
)
from service.pages.tree.layout import MAX_LABEL_CHARS, NAME_SIZE, TreeLayout, lay_out, list_branches, name_channels
from service.pages.tree.words import describe_tree, format_share

_AXIS_WIDTH = 66.0
_MARK_WIDTH = 14.0
_HALO = f'font-variant-numeric="tabular-nums" stroke="{colour("surface")}" stroke-width="3.5" paint-order="stroke"'


@dataclass(frozen=True)
class TreeMarks:
    """What sets a tree apart from another one, and the heights of rows that both share.

    Attributes:
        layers: Indices of the layers in which the two group their tasks differently.
        nodes: The (layer, tasks) that only this tree has.
        row_y: Heights of the L + 2 rows; None for the tree's own.
        most_madds: What the dearest of the trees costs, so that their axes have one scale; 0 for a scale of its own.
    """

    layers: frozenset[int] = frozenset()
    nodes: frozenset[tuple[int, frozenset[str]]] = frozenset()
    row_y: tuple[float, ...] | None = field(default=None)
    most_madds: int = 0


@dataclass(frozen=True)
class _Scene:
    """What is drawn, for the functions that draw its parts."""

    architecture: Architecture
    costs: StudyCosts | None
    layout: TreeLayout
    marks: TreeMarks
    interactive: bool

    def station(self, kind: str, row: int, tasks: Sequence[str], title: str, attributes: str = "") -> str:
        """Return the start tag of something that can be pointed at, its title included."""
        role = ""
        if self.interactive:
            places = " ".join(str(self.architecture.tasks.index(task)) for task in tasks)
            role = f' role="img" data-row="{row}" data-tasks="{places}"'
        return f'<g class="{kind}"{role}{attributes}><title>{escape(title)}</title>'


def tree_svg(
    architecture: Architecture,
    costs: StudyCosts | None = None,
    *,
    standalone: bool = False,
    interactive: bool = False,
    marks: TreeMarks | None = None,
) -> str:
    """Return the drawing of an architecture's tree.

    Args:
        architecture: The tree.
        costs: What the layers of its study cost; gives the axis of MAdds at the side. None leaves the axis out.
        standalone: For a file of its own rather than for a page.
        interactive: For a page with a script that lets people walk from station to station; it keeps its size.
        marks: What sets it apart from another tree, marked; see `difference`.
    """
    if costs is not None and len(costs.layer_madds) != len(architecture.layers):
        raise ValueError(
            f"Costs must be those of the {len(architecture.layers)} layers of the tree, got {len(costs.layer_madds)}."
        )
    known = marks or TreeMarks()
    layout = lay_out(architecture, known.row_y, margin=_MARK_WIDTH if known.layers else 0.0)
    scene = _Scene(architecture, costs, layout, known, interactive)
    steps = _madds_by_row(architecture, costs) if costs is not None else None
    parts = [
        _draw_guides(scene, layout.right + (12 if steps else 0)),
        *(_draw_strand(task, index, layout) for index, task in enumerate(architecture.tasks)),
        _draw_stem(scene),
        *_draw_nodes(scene),
        *_draw_heads(scene),
    ]
    if costs is not None and steps:
        parts += [_draw_shares(scene, costs), _draw_axis(scene, steps)]
    return frame(
        layout.right + (_AXIS_WIDTH + 74 if steps else 12),
        layout.row_y[-1] + (66 if steps else 52),
        "".join(parts),
        title=f"Tree of {len(architecture.tasks)} tasks on {architecture.backbone}",
        description=describe_tree(architecture),
        kind="tree-drawing",
        standalone=standalone,
        role="group" if interactive else "img",
        sized=interactive or marks is not None,
    )


def _draw_guides(scene: _Scene, right: float) -> str:
    """Return the name of every row at the left, and a hairline from it across the tree; a band where trees differ."""
    layout, mono = scene.layout, f'font-family="{MONO}"'
    parts = [text(layout.left - 14, 16, "layer", size=NAME_SIZE, anchor="end", fill="muted")]
    rows = zip(("stem", *scene.architecture.layer_names), layout.row_y, strict=False)
    for row, (name, y) in enumerate(rows):
        differs = row - 1 in scene.marks.layers
        if differs:
            parts.append(
                f'<rect class="differs" x="0" y="{y - 10:.1f}" width="{right:.1f}" height="20" rx="3" '
                f'fill="{colour("tint")}"/>'
                + text(2, y + 4, "≠", size=12.5, fill="accent", attributes='font-weight="700"')
            )
        parts.append(
            f'<line x1="{layout.left - 8:.1f}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}" stroke="{colour("line")}"/>'
        )
        fill = "ink" if differs else "muted"
        parts.append(text(layout.left - 14, y + 3.5, name, size=NAME_SIZE, anchor="end", fill=fill, attributes=mono))
    return "".join(parts)


def _draw_strand(task: str, index: int, layout: TreeLayout) -> str:
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


def _draw_stem(scene: _Scene) -> str:
    """Return the image at the top and the stem, which all tasks share."""
    architecture, layout = scene.architecture, scene.layout
    x, y = layout.centre_by_row[0][layout.order[0]], layout.row_y[0]
    width = layout.pitch * len(layout.order) + 12
    size = f" {TIMES} ".join(str(size) for size in (*architecture.input_size, architecture.image_channels))
    cost = "" if scene.costs is None else f": {_describe_madds(scene.costs.stem_madds, architecture)}"
    madds = "" if scene.costs is None else f' data-madds="{scene.costs.stem_madds}"'
    return (
        text(x, y - 48, "image", size=12.5, anchor="middle", attributes='font-weight="600"')
        + text(x, y - 33, size, size=10.5, anchor="middle", fill="muted")
        + scene.station("stem", 0, architecture.tasks, f"stem, shared by all tasks{cost}", madds)
        + f'<rect x="{x - width / 2:.1f}" y="{y - 6:.1f}" width="{width:.1f}" height="12" rx="3" '
        f'fill="{colour("ink")}"/></g>'
    )


def _draw_nodes(scene: _Scene) -> list[str]:
    """Return one station per layer and group, its facts in the title."""
    layout = scene.layout
    nodes = []
    for row, layer in enumerate(scene.architecture.layers, start=1):
        facts, data = _describe_node(scene, row - 1)
        for group in layer.groups:
            x, y = layout.centre_by_row[row][group[0]], layout.row_y[row]
            width = layout.pitch * len(group) + 7
            own = (row - 1, frozenset(group)) in scene.marks.nodes
            title = f"{layer.name}, {' + '.join(group)}{facts}{'; only in this tree' if own else ''}"
            stroke, weight = ("accent", 3.0) if own else ("ink", 1.6)
            nodes.append(
                scene.station("node own" if own else "node", row, group, title, data)
                + f'<rect x="{x - width / 2:.1f}" y="{y - 4.5:.1f}" width="{width:.1f}" height="9" rx="4.5" '
                f'fill="{colour("surface")}" stroke="{colour(stroke)}" stroke-width="{weight:g}"/></g>'
            )
    return nodes


def _describe_node(scene: _Scene, layer: int) -> tuple[str, str]:
    """Return what one copy of a layer costs, in words and as attributes."""
    costs, architecture = scene.costs, scene.architecture
    if costs is None:
        return "", ""
    facts = f": {_describe_madds(costs.layer_madds[layer], architecture)}"
    data = f' data-layer="{layer}" data-madds="{costs.layer_madds[layer]}"'
    if costs.layer_params:
        params = costs.layer_params[layer]
        share = f" ({format_share(params, architecture.params)})" if architecture.params else ""
        facts += f", {format_count(params)} parameters{share}"
        data += f' data-params="{params}"'
    return facts, data


def _describe_madds(madds: int, architecture: Architecture) -> str:
    """Return multiply-adds as a count and as a share of the tree."""
    return f"{format_count(madds)} MAdds ({format_share(madds, architecture.madds)} of the tree)"


def _draw_heads(scene: _Scene) -> list[str]:
    """Return the end of every strand with the name of its task and the kind of its head."""
    architecture, layout, heads = scene.architecture, scene.layout, []
    for index, task in enumerate(architecture.tasks):
        x, y = layout.strand_by_row[-1][task], layout.row_y[-1]
        head = architecture.heads[task]
        title, share, data = f"head of {task}: {head.kind}, {name_channels(head.channels)}", "", ""
        if scene.costs is not None and task in scene.costs.decoder_madds:
            madds = scene.costs.decoder_madds[task]
            title += f", {_describe_madds(madds, architecture)}"
            data = f' data-madds="{madds}"'
            share = text(x, y + 53, format_share(madds, architecture.madds), size=9.5, anchor="middle", fill="muted")
        name = shorten(task, MAX_LABEL_CHARS)
        heads.append(
            scene.station("head", len(layout.row_y) - 1, [task], title, data)
            + f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6.5" fill="{task_colour(index)}" stroke="{colour("surface")}" '
            'stroke-width="2"/>'
            + text(x, y + 23, name, size=12.5, anchor="middle", attributes='font-weight="600"')
            + text(x, y + 38, name_channels(head.channels), size=10.5, anchor="middle", fill="muted")
            + f"{share}</g>"
        )
    return heads


def _draw_shares(scene: _Scene, costs: StudyCosts) -> str:
    """Return what every branch takes of the whole tree, beside its first layer."""
    architecture, layout = scene.architecture, scene.layout
    parts = [text(layout.left - 14, layout.row_y[-1] + 53, "share", size=9.5, anchor="end", fill="muted")]
    for branch in list_branches(architecture.branching):
        madds = sum(costs.layer_madds[layer] for layer in branch.layers)
        x = layout.centre_by_row[branch.first + 1][branch.tasks[0]] + layout.pitch * len(branch.tasks) / 2 + 8
        y = layout.row_y[branch.first + 1] + 3.5
        share = format_share(madds, architecture.madds)
        parts.append(text(x, y, share, size=9.5, fill="muted", attributes=f'class="branch-share" {_HALO}'))
    return "".join(parts)


def _madds_by_row(architecture: Architecture, costs: StudyCosts) -> list[float]:
    """Return what each row adds to the cost of the tree: stem, layers times their copies, heads."""
    copies = architecture.branching.num_branches
    layers = [madds * num for madds, num in zip(costs.layer_madds, copies, strict=True)]
    return [costs.stem_madds, *layers, sum(costs.decoder_madds.get(task, 0) for task in architecture.tasks)]


def _draw_axis(scene: _Scene, steps: Sequence[float]) -> str:
    """Return the cost so far, row by row: what the row adds in full colour, what came before it in a tint."""
    architecture, layout = scene.architecture, scene.layout
    total = max(sum(steps), scene.marks.most_madds)
    scale = _AXIS_WIDTH / max(total, architecture.budget_madds or 0, 1)
    x = layout.right + 16
    parts = [text(x, 16, "MAdds so far", size=NAME_SIZE, fill="muted")]
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
        so_far = format_count(before, total)
        parts.append(text(x + _AXIS_WIDTH + 52, y + 3.5, so_far, size=NAME_SIZE, anchor="end", fill="muted"))
    if architecture.budget_madds:
        budget_x, bottom = x + architecture.budget_madds * scale, layout.row_y[-1] + 12
        parts.append(
            f'<line x1="{budget_x:.1f}" y1="{layout.row_y[0] - 14:.1f}" x2="{budget_x:.1f}" y2="{bottom:.1f}" '
            f'stroke="{colour("bad")}" stroke-width="1.4" stroke-dasharray="3 3"/>'
            + text(budget_x, bottom + 12, "budget", size=NAME_SIZE, anchor="middle", fill="bad")
        )
    return "".join(parts)
