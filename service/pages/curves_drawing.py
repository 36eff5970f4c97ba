"""Learning curves as small multiples: one panel per figure, one line per stage, the same colour in every panel.

Panels are separate drawings, so that a page can set them side by side or one below the other. Lines with a mark have a
shape along them and the mark at their end, so that nobody needs the colours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.results import WAITING
from service.pages.drawing import (
    choose_ticks,
    colour,
    escape,
    format_count,
    format_tick,
    frame,
    pad_span,
    task_colour,
    text,
)
from service.pages.point_shapes import NUM_SHAPES, shape_path

Rows = Sequence[Mapping[str, float]]
_WIDTH, _HEIGHT = 300.0, 190.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 10.0, 30.0, 30.0
_MARK_ROOM = 12.0  # right of the lines, for what stands at their ends
_MARK_SIZE = 9.5
_SHAPES_PER_LINE = 3
_SEARCH_FIGURES = (
    ("expected_madds", "expected MAdds"),
    ("temperature", "temperature"),
    ("resource_weight", "resource weight"),
)


@dataclass(frozen=True)
class Line:
    """One line of a panel.

    Attributes:
        label: The stage it belongs to.
        paint: Position of its colour.
        points: (step, value), steps rising.
        dashed: For what was aimed at rather than what came.
        mark: What stands at its end and in the legend, a letter or two; "" for none.
    """

    label: str
    paint: int
    points: tuple[tuple[float, float], ...]
    dashed: bool = False
    mark: str = ""


@dataclass(frozen=True)
class Panel:
    """One figure over the steps of several stages; `across` names what the steps are."""

    title: str
    lines: tuple[Line, ...]
    across: str = "epoch"


def is_search(rows: Rows) -> bool:
    """Return whether the rows are those of a search rather than of the training of one network."""
    return any("expected_madds" in row for row in rows)


def search_panels(history: Mapping[str, Rows], budgets: Mapping[str, float]) -> tuple[Panel, ...]:
    """Return the panels of the searches: expected cost against the budget, temperature, resource weight."""
    stages = {stage: rows for stage, rows in history.items() if is_search(rows)}
    panels = []
    for figure, title in _SEARCH_FIGURES:
        lines = []
        for paint, (stage, rows) in enumerate(stages.items()):
            points = _points(rows, figure)
            lines.append(Line(stage, paint, points))
            if points and figure == "expected_madds" and stage in budgets:
                ends = tuple((step, float(budgets[stage])) for step in (points[0][0], points[-1][0]))
                lines.append(Line(f"{stage}, budget", paint, ends, dashed=True))
        kept = tuple(line for line in lines if line.points)
        panels.append(Panel(f"{title} (dashed: budget)" if any(line.dashed for line in kept) else title, kept))
    return tuple(panel for panel in panels if panel.lines)


def training_panels(history: Mapping[str, Rows]) -> tuple[Panel, ...]:
    """Return one panel per loss with a line for every network that was trained; see `training_labels` for colours."""
    stages = {stage: rows for stage, rows in history.items() if not is_search(rows)}
    figures = list(dict.fromkeys(name for rows in stages.values() for row in rows for name in _losses_of(row)))
    paints = {label: index for index, label in enumerate(training_labels(history))}
    panels = []
    for figure in figures:
        lines = [
            Line(stage, paints[_training_label(rows, stage)], _points(rows, figure)) for stage, rows in stages.items()
        ]
        panels.append(Panel(figure, tuple(line for line in lines if line.points)))
    return tuple(panel for panel in panels if panel.lines)


def training_labels(history: Mapping[str, Rows]) -> tuple[str, ...]:
    """Return the names in the legend of the training panels; networks of one task share a name and a colour."""
    labels = [_training_label(rows, stage) for stage, rows in history.items() if not is_search(rows)]
    return tuple(dict.fromkeys(labels))


def search_labels(history: Mapping[str, Rows]) -> tuple[str, ...]:
    """Return the names in the legend of the search panels."""
    return tuple(stage for stage, rows in history.items() if is_search(rows))


def _training_label(rows: Rows, stage: str) -> str:
    """Return the name of a training stage in the legend: its own, but one for all networks of a single task."""
    figures = {name for row in rows for name in _losses_of(row)}
    return "single-task" if len(figures) == 1 else stage


def _losses_of(row: Mapping[str, float]) -> list[str]:
    """Return the figures of a row that are drawn: its losses, not its step, its waiting or which task had no labels."""
    return [name for name in row if name not in ("step", WAITING) and not name.startswith("no labels ")]


def _points(rows: Rows, figure: str) -> tuple[tuple[float, float], ...]:
    """Return (step, value) wherever a row holds both."""
    return tuple((row["step"], row[figure]) for row in rows if figure in row and "step" in row)


def panel_svg(panel: Panel, *, standalone: bool = False) -> str:
    """Return the drawing of one panel."""
    steps = [step for line in panel.lines for step, _ in line.points]
    values = [value for line in panel.lines for _, value in line.points]
    across = (min(steps), max(steps)) if max(steps) > min(steps) else pad_span(steps, 0.5)
    up = pad_span(values, 0.06) if min(values) < 0 else (0.0, max(values) * 1.06 or 1.0)
    bottom = _HEIGHT - _BOTTOM
    is_marked = any(line.mark for line in panel.lines)
    right = _WIDTH - _RIGHT - (_MARK_ROOM if is_marked else 0)
    plot = _Plot(across, up, right)
    body = text(4, 15, panel.title, size=12, attributes='font-weight="600"')
    for tick in choose_ticks(*up, max_ticks=4):
        y = bottom - (tick - up[0]) / (up[1] - up[0]) * (bottom - _TOP)
        body += f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="{colour("line")}"/>'
        body += text(_LEFT - 6, y + 4, _format_value(tick, up[1]), size=10.5, anchor="end", fill="muted")
    for tick in (tick for tick in choose_ticks(*across, max_ticks=5) if tick == round(tick)):
        x = _LEFT + (tick - across[0]) / (across[1] - across[0]) * (right - _LEFT)
        body += text(x, bottom + 15, f"{tick:g}", size=10.5, anchor="middle", fill="muted")
    body += text(right, _HEIGHT - 2, panel.across, size=10.5, anchor="end", fill="muted")
    body += "".join(_draw_line(line, plot) for line in panel.lines)
    body += "".join(_draw_shapes(line, plot) for line in panel.lines if line.mark)
    body += "".join(_draw_hollow_shape(line, plot) for line in panel.lines if line.dashed and is_marked)
    body += _draw_marks([line for line in panel.lines if line.mark], plot)
    return frame(
        _WIDTH,
        _HEIGHT,
        body,
        title=panel.title,
        description=" ".join(_describe(line, up[1]) for line in panel.lines),
        kind="curves-drawing",
        standalone=standalone,
    )


def mark_svg(paint: int, mark: str) -> str:
    """Return the shape and the mark of a line as a small drawing, for a legend."""
    shape = f'<path d="{shape_path(paint, 7, 7, 4)}" fill="{task_colour(paint)}"/>'
    body = f'<path d="M0 7H14" stroke="{task_colour(paint)}" stroke-width="1.7"/>{shape}'
    words = text(17, 10.5, mark, size=_MARK_SIZE + 1, attributes='font-weight="600"')
    return f'<svg class="curve-mark" viewBox="0 0 26 14" width="26" height="14" aria-hidden="true">{body}{words}</svg>'


@dataclass(frozen=True)
class _Plot:
    """The spans of both axes, and where the plot ends."""

    across: tuple[float, float]
    up: tuple[float, float]
    right: float

    def place(self, step: float, value: float) -> tuple[float, float]:
        """Return where a point lies."""
        bottom = _HEIGHT - _BOTTOM
        return (
            _LEFT + (step - self.across[0]) / (self.across[1] - self.across[0]) * (self.right - _LEFT),
            bottom - (value - self.up[0]) / (self.up[1] - self.up[0]) * (bottom - _TOP),
        )


def _draw_shapes(line: Line, plot: _Plot) -> str:
    """Return the shape of a line at a few of its points, which lie elsewhere on every line."""
    num, offset = len(line.points), (line.paint % NUM_SHAPES + 0.5) / NUM_SHAPES
    shares = ((index + offset) / _SHAPES_PER_LINE for index in range(_SHAPES_PER_LINE))
    picks = sorted({int(share * num) for share in shares})
    shapes = "".join(shape_path(line.paint, *plot.place(*line.points[pick]), 3) for pick in picks)
    return f'<path class="shapes" d="{shapes}" fill="{task_colour(line.paint)}" stroke="{colour("surface")}"/>'


def _draw_hollow_shape(line: Line, plot: _Plot) -> str:
    """Return the shape of a dashed line, hollow, at a place along it that is each line's own."""
    share = (line.paint % NUM_SHAPES + 0.5) / NUM_SHAPES
    (first, value), (last, _) = line.points[0], line.points[-1]
    outline = shape_path(line.paint, *plot.place(first + share * (last - first), value), 3)
    return f'<path class="hollow" d="{outline}" fill="{colour("surface")}" stroke="{task_colour(line.paint)}"/>'


def _draw_marks(lines: Sequence[Line], plot: _Plot) -> str:
    """Return the marks at the ends of lines, moved apart where they would meet."""
    ends = sorted((plot.place(*line.points[-1])[1], line.mark) for line in lines)
    lowest, parts = _HEIGHT - _BOTTOM - _MARK_SIZE * (len(ends) - 1), []
    free_from = -math.inf
    for index, (y, mark) in enumerate(ends):
        y_free = max(min(y, lowest + index * _MARK_SIZE), free_from)
        free_from = y_free + _MARK_SIZE
        x = plot.right + 5
        parts.append(text(x, y_free + 3.4, mark, size=_MARK_SIZE, attributes='class="mark" font-weight="600"'))
    return "".join(parts)


def _draw_line(line: Line, plot: _Plot) -> str:
    """Return one line, or a dot where there is a single step."""
    places = [plot.place(step, value) for step, value in line.points]
    title = f"<title>{escape(line.label)}</title>"
    if len(places) == 1:
        x, y = places[0]
        return (
            f'<circle class="curve" cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{task_colour(line.paint)}">{title}</circle>'
        )
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    dash = ' stroke-dasharray="4 3" opacity="0.75"' if line.dashed else ""
    return (
        f'<path class="curve" d="M{path}" fill="none" stroke="{task_colour(line.paint)}" stroke-width="1.7" '
        f'stroke-linejoin="round"{dash}>{title}</path>'
    )


def _format_value(value: float, largest: float) -> str:
    """Return a tick's value: counts with a unit, small numbers as they are."""
    return format_tick(value, largest) if largest >= 1e4 else f"{value:.6g}"


def _describe(line: Line, largest: float) -> str:
    """Return a line in words: where it begins and where it ends."""
    first, last = line.points[0][1], line.points[-1][1]
    return f"{line.label}: from {_describe_value(first, largest)} to {_describe_value(last, largest)}."


def _describe_value(value: float, largest: float) -> str:
    """Return a value with three figures."""
    return format_count(value, largest) if largest >= 1e4 else f"{value:.3g}"
