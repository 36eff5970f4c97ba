"""The picture of all networks of a study: cost against quality, the front as a step line, each search in its own marks.

Up and left is always better: an axis whose metric is better when it is lower points down. The drawing in the page and
the one that is exported are the same; in the page each mark is a link to its network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from service.pages.drawing import (
    MINUS,
    colour,
    escape,
    estimate_text_width,
    format_count,
    format_tick,
    frame,
    shorten,
    text,
)
from service.pages.front.scales import Scale, linear_scale, log_scale
from service.pages.point_shapes import reference_path, series_paint, shape_path

_WIDTH, _HEIGHT = 760.0, 440.0
_LEFT, _RIGHT, _BOTTOM = 66.0, 22.0, 50.0
_LABEL_SIZE, _LEGEND_SIZE = 12.5, 12.5
_LEGEND_ROW = 20.0
_MAX_LABEL_CHARS, _MAX_LEGEND_CHARS = 22, 26
_MAX_LABELS = 9
_MAX_LINKS = 1500  # beyond, dominated networks are dots without a link: the table leads to them


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        label: What it shows, with its unit.
        higher_is_better: The direction of quality; costs are better when lower.
        is_count: Whether figures read as counts ("9.1 G") rather than as they are.
    """

    label: str
    higher_is_better: bool = False
    is_count: bool = False


@dataclass(frozen=True)
class Mark:
    """One network.

    Attributes:
        id: Of the network.
        label: Its name.
        title: Name and figures in words.
        x: Its cost.
        y: Its quality.
        series: Position in the legend.
        on_front: Whether none beats it.
        is_over: Whether it costs more than the limit.
        is_best: Whether it is the best within the limit.
        is_pinned: Whether it is kept for a comparison.
    """

    id: str
    label: str
    title: str
    x: float
    y: float
    series: int = 0
    on_front: bool = False
    is_over: bool = False
    is_best: bool = False
    is_pinned: bool = False


@dataclass(frozen=True)
class ReferencePoint:
    """A baseline of the study: "single" or "shared"."""

    kind: str
    label: str
    x: float
    y: float


@dataclass(frozen=True)
class SeedBar:
    """Networks of the same search and budget: their mean cost and quality, and how far their quality spreads."""

    title: str
    x: float
    y: float
    low: float
    high: float
    series: int = 0


@dataclass(frozen=True)
class FrontPlot:
    """Everything that is drawn.

    Attributes:
        marks: The networks whose figures are known.
        series: Names in the legend; empty where all marks are alike.
        x: The axis of cost.
        y: The axis of quality.
        references: The baselines that are known.
        bars: Means over seeds; with them, the networks themselves stand back.
        limit: The cost above which networks are dimmed; None for none.
    """

    marks: Sequence[Mark]
    series: Sequence[str]
    x: Axis
    y: Axis
    references: Sequence[ReferencePoint] = ()
    bars: Sequence[SeedBar] = ()
    limit: float | None = None


@dataclass(frozen=True)
class _Field:
    """The area of the plot and the scales along it."""

    top: float
    bottom: float
    across: Scale
    up: Scale

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return where two figures meet."""
        return self.across.place(x), self.up.place(y)


def study_front_svg(plot: FrontPlot, *, title: str, standalone: bool = False) -> str:
    """Return the drawing of a study.

    Args:
        plot: What to draw.
        title: What it shows, in a few words.
        standalone: For a file of its own rather than for a page, where the marks are links.
    """
    legend, legend_rows = _draw_legend(plot)
    area = _lay_out(plot, 24 + _LEGEND_ROW * legend_rows)
    body = legend + _draw_axes(plot, area)
    if not plot.marks:
        body += text((_LEFT + _WIDTH) / 2, (area.top + area.bottom) / 2, "nothing to draw yet", size=15,
                     anchor="middle", fill="muted")  # fmt: skip
    front = sorted((mark for mark in plot.marks if mark.on_front), key=lambda mark: (mark.x, mark.y))
    body += "".join(_draw_reference(point, area) for point in plot.references)
    body += _draw_marks(plot, area, [mark for mark in plot.marks if not mark.on_front], standalone=standalone)
    body += _draw_step_line(front, area)
    body += _draw_bars(plot, area)
    body += _draw_marks(plot, area, front, standalone=standalone)
    body += _draw_limit(plot, area) + _draw_rings(plot, area) + _draw_labels(plot, front, area)
    body += "".join(_draw_reference_name(point, area) for point in plot.references)
    return frame(
        _WIDTH,
        _HEIGHT,
        body,
        title=title,
        description=_describe(plot, front),
        kind="study-front",
        standalone=standalone,
        role="img" if standalone else "group",
    )


def _lay_out(plot: FrontPlot, top: float) -> _Field:
    """Return the area below the legend, with scales that hold all there is."""
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    everything: list[Mark | ReferencePoint | SeedBar] = [*plot.marks, *plot.references, *plot.bars]
    ys = [thing.y for thing in everything] + [end for bar in plot.bars for end in (bar.low, bar.high)]
    start, end = (bottom, top) if plot.y.higher_is_better else (top, bottom)
    return _Field(
        top, bottom, log_scale([thing.x for thing in everything], _LEFT, right), linear_scale(ys, start, end, 0.12)
    )


def _draw_axes(plot: FrontPlot, area: _Field) -> str:
    """Return grid, ticks and names of both axes."""
    right, parts = _WIDTH - _RIGHT, []
    is_empty = not (plot.marks or plot.references)  # then figures along the axes would be made up
    for tick in () if is_empty else area.up.ticks:
        y = area.up.place(tick)
        stroke = colour("muted" if abs(tick) < 1e-12 else "line")
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="{stroke}"/>')
        parts.append(text(_LEFT - 8, y + 4.2, _format_value(tick), anchor="end", fill="muted"))
    for tick in () if is_empty else area.across.ticks:
        x = area.across.place(tick)
        parts.append(
            f'<line x1="{x:.1f}" y1="{area.bottom}" x2="{x:.1f}" y2="{area.bottom + 5}" stroke="{colour("muted")}"/>'
        )
        label = format_tick(tick, max(tick, area.across.low)) if plot.x.is_count else _format_value(tick)
        parts.append(text(x, area.bottom + 20, label, anchor="middle", fill="muted"))
    parts.append(f'<line x1="{_LEFT}" y1="{area.bottom}" x2="{right}" y2="{area.bottom}" stroke="{colour("muted")}"/>')
    parts.append(text(right, area.bottom + 41, plot.x.label, size=12.5, anchor="end", fill="muted"))
    parts.append(text(8, 16, plot.y.label, size=12.5, fill="muted"))
    return "".join(parts)


def _format_value(value: float) -> str:
    """Return a figure on an axis without idle zeros."""
    return f"{0.0 if abs(value) < 1e-12 else value:.6g}".replace("-", MINUS)


def _draw_legend(plot: FrontPlot) -> tuple[str, int]:
    """Return what the marks mean, and in how many rows that stands."""
    entries = [
        (
            f'<path d="{shape_path(index, 0, 0, 5.2)}" fill="{series_paint(index, len(plot.series))}"/>',
            shorten(name, _MAX_LEGEND_CHARS),
        )
        for index, name in enumerate(plot.series)
    ]
    accent = colour("muted")
    entries.append((f'<circle r="5" fill="{accent}" stroke="{accent}" stroke-width="1.6"/>', "filled: on the front"))
    entries.append((f'<circle r="5" fill="none" stroke="{accent}" stroke-width="1.6"/>', "hollow: dominated"))
    if plot.bars:
        entries.append((f'<path d="M0-6v12M-4-6h8M-4 6h8M-6 0h12" stroke="{accent}" fill="none"/>', "mean over seeds"))
    parts, x, row = [], 14.0, 0
    for mark, words in entries:
        width = 12 + estimate_text_width(words, _LEGEND_SIZE) * 0.94 + 20
        if x + width > _WIDTH and x > 14:
            x, row = 14.0, row + 1
        y = 38 + _LEGEND_ROW * row
        parts.append(f'<g transform="translate({x:.1f} {y - 4:.1f})">{mark}</g>')
        parts.append(text(x + 12, y, words, size=_LEGEND_SIZE, fill="muted"))
        x += width
    return f'<g class="legend">{"".join(parts)}</g>', row + 2


def _draw_marks(plot: FrontPlot, area: _Field, marks: Sequence[Mark], *, standalone: bool) -> str:
    """Return the marks of networks, those of a series together; in a page each is a link."""
    groups = []
    num_links = len(plot.marks) if len(plot.marks) <= _MAX_LINKS else 0
    radius = 5.5 if len(plot.marks) <= 60 else 4.5 if len(plot.marks) <= 300 else 3.5
    ghost = ' opacity="0.45"' if plot.bars else ""
    for series in sorted({mark.series for mark in marks}):
        paint = series_paint(series, len(plot.series))
        parts = []
        for mark in (mark for mark in marks if mark.series == series):
            path = shape_path(series, *area.place(mark.x, mark.y), radius + (0.8 if mark.on_front else 0))
            fill = f' fill="{paint}"' if mark.on_front else ""
            shape = f'<path d="{path}"{fill}{_OVER if mark.is_over else ""}/>'
            if not standalone and (num_links or mark.on_front):
                shape = (
                    f'<a id="point-{escape(mark.id)}" href="/architectures/{escape(mark.id)}">'
                    f"<title>{escape(mark.title)}</title>{shape}</a>"
                )
            parts.append(shape)
        groups.append(
            f'<g class="marks" fill="{colour("surface")}" stroke="{paint}" stroke-width="1.6"{ghost}>'
            f"{''.join(parts)}</g>"
        )
    return "".join(groups)


_OVER = ' opacity="0.22"'
_HALO = f'paint-order="stroke" stroke="{colour("surface")}" stroke-width="3" stroke-linejoin="round"'


def _draw_step_line(front: Sequence[Mark], area: _Field) -> str:
    """Return the best quality to be had at each cost, as a step line through the networks on the front."""
    places = [area.place(mark.x, mark.y) for mark in front]
    if not places:
        return ""
    path = f"M{places[0][0]:.1f} {places[0][1]:.1f}"
    path += "".join(f"H{after[0]:.1f}V{after[1]:.1f}" for _, after in pairwise(places))
    path += f"H{_WIDTH - _RIGHT:.1f}"
    return f'<path class="front-line" d="{path}" fill="none" stroke="{colour("accent")}" stroke-width="1.8"/>'


def _draw_reference(point: ReferencePoint, area: _Field) -> str:
    """Return the mark of a baseline."""
    title = f"{point.label}: {format_count(point.x)}, {_format_value(point.y)}"
    return (
        f'<g class="reference {point.kind}"><title>{escape(title)}</title>'
        f'<path d="{reference_path(point.kind, *area.place(point.x, point.y))}" fill="{colour("surface")}" '
        f'stroke="{colour("muted")}" stroke-width="1.6"/></g>'
    )


def _draw_reference_name(point: ReferencePoint, area: _Field) -> str:
    """Return the name of a baseline, below its mark."""
    left, _, right, bottom = _place_reference_name(point, area)
    on_right = left > area.place(point.x, point.y)[0]
    return text(left if on_right else right, bottom - 3, point.label, size=_LABEL_SIZE,
                anchor="start" if on_right else "end", fill="muted", attributes=_HALO)  # fmt: skip


def _place_reference_name(point: ReferencePoint, area: _Field) -> tuple[float, float, float, float]:
    """Return the box of the name of a baseline: left, top, right, bottom."""
    x, y = area.place(point.x, point.y)
    width = estimate_text_width(point.label, _LABEL_SIZE)
    left = x + 13 if x < _WIDTH - _RIGHT - 110 else x - 13 - width
    return left, y + 6, left + width, y + 20


def _draw_bars(plot: FrontPlot, area: _Field) -> str:
    """Return the means over seeds with how far the seeds spread."""
    parts = []
    for bar in plot.bars:
        x, y = area.place(bar.x, bar.y)
        low, high = area.up.place(bar.low), area.up.place(bar.high)
        paint = series_paint(bar.series, len(plot.series))
        parts.append(
            f'<path class="seed-bar" d="M{x:.1f} {low:.1f}V{high:.1f}M{x - 4:.1f} {low:.1f}h8M{x - 4:.1f} {high:.1f}h8'
            f'M{x - 7:.1f} {y:.1f}h14" fill="none" stroke="{paint}" stroke-width="2">'
            f"<title>{escape(bar.title)}</title></path>"
        )
    return "".join(parts)


def _draw_limit(plot: FrontPlot, area: _Field) -> str:
    """Return the line of the limit; one beyond the axis stands at its end."""
    if plot.limit is None:
        return ""
    x = min(max(area.across.place(plot.limit), _LEFT), _WIDTH - _RIGHT)
    return (
        f'<line class="limit" x1="{x:.1f}" y1="{area.top}" x2="{x:.1f}" y2="{area.bottom}" '
        f'stroke="{colour("bad")}" stroke-width="1.6" stroke-dasharray="5 4"/>'
    )


def _draw_rings(plot: FrontPlot, area: _Field) -> str:
    """Return a ring around the best network, and a dashed one around each that is pinned."""
    parts = []
    for mark in plot.marks:
        x, y = area.place(mark.x, mark.y)
        if mark.is_best:
            parts.append(f'<circle class="best" cx="{x:.1f}" cy="{y:.1f}" r="10.5" stroke="{colour("good")}"/>')
        if mark.is_pinned:
            parts.append(
                f'<circle class="pinned" cx="{x:.1f}" cy="{y:.1f}" r="14" stroke="{colour("ink")}" '
                'stroke-dasharray="3 3"/>'
            )
    return f'<g class="rings" fill="none" stroke-width="2">{"".join(parts)}</g>' if parts else ""


def _draw_labels(plot: FrontPlot, front: Sequence[Mark], area: _Field) -> str:
    """Return the names of the best network and of those on the front.

    Up and left of a network on the front is nothing: whatever stood there would beat it. Only names may meet.
    """
    named = sorted((mark for mark in plot.marks if mark.is_best or mark.is_pinned or mark.on_front),
                   key=lambda mark: (not mark.is_best, not mark.is_pinned, -mark.x))  # fmt: skip
    taken: list[tuple[float, float, float, float]] = [
        (x - 9, y - 9, x + 9, y + 9) for x, y in (area.place(mark.x, mark.y) for mark in front)
    ]
    taken += [_place_reference_name(point, area) for point in plot.references]
    parts: list[str] = []
    for mark in named:
        x, y = area.place(mark.x, mark.y)
        words = shorten(mark.label, _MAX_LABEL_CHARS)
        width = estimate_text_width(words, _LABEL_SIZE)
        right = max(x - 11, _LEFT + 4 + width)
        box = (right - width, y - 24, right, y - 10)
        crowded = any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken)
        if len(parts) >= _MAX_LABELS or (crowded and not mark.is_best) or box[1] < area.top - 16:
            continue
        taken.append(box)
        weight = f'{_HALO} font-weight="600"' if mark.is_best else _HALO
        fill = "muted" if mark.is_over else "ink"
        parts.append(text(right, y - 12, words, size=_LABEL_SIZE, anchor="end", fill=fill, attributes=weight))
    return f'<g class="labels" pointer-events="none">{"".join(parts)}</g>'


def _describe(plot: FrontPlot, front: Sequence[Mark]) -> str:
    """Return the drawing in words: how many networks, and those on the front."""
    words = f"{len(plot.marks)} networks, {len(front)} on the front: "
    return words + " ".join(f"{mark.title}." for mark in front[:20]) if front else "No network is drawn."
