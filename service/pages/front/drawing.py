"""The picture of a study: what each network costs against what it gains, with the Pareto front as a step line.

Without retraining nothing is known of quality; then the same networks are drawn as bars of their cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from search.results import Results
from service.pages.drawing import (
    choose_ticks,
    colour,
    escape,
    estimate_text_width,
    format_count,
    format_signed,
    format_tick,
    frame,
    pad_span,
    shorten,
    text,
)

_WIDTH, _HEIGHT = 580.0, 380.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 20.0, 62.0, 48.0
_LABEL_SIZE = 12.0
_MAX_LABEL_CHARS = 22
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Point:
    """One network in the plane of cost and gain.

    Attributes:
        name: Its label.
        madds: Multiply-adds of one image.
        delta_m: Gain over the single-task networks in percent.
        kind: "front" and "behind" are candidates on and off the front; "single" and "shared" are the baselines.
    """

    name: str
    madds: float
    delta_m: float
    kind: str


def collect_points(results: Results) -> list[Point]:
    """Return the networks of a study whose quality is known, baselines first."""
    points = []
    if results.baselines is not None:
        points.append(Point("single-task", results.baselines.single.madds, 0.0, "single"))
        points.append(Point("all shared", results.baselines.shared.madds, results.baselines.shared.delta_m, "shared"))
    points += [
        Point(
            candidate.name, candidate.madds, candidate.delta_m, "front" if candidate.name in results.front else "behind"
        )
        for candidate in results.candidates
        if candidate.delta_m is not None
    ]
    return points


def front_svg(results: Results, *, standalone: bool = False) -> str:
    """Return the drawing of a study: gain against cost, or bars of cost where nothing was retrained."""
    points = collect_points(results)
    if not points:
        return _costs_svg(results, standalone=standalone)
    spread = pad_span([point.madds for point in points], 0.1)
    rise = pad_span([0.0, *(point.delta_m for point in points)], 0.14)
    places = [
        (
            _LEFT + (point.madds - spread[0]) / (spread[1] - spread[0]) * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - (point.delta_m - rise[0]) / (rise[1] - rise[0]) * (_HEIGHT - _TOP - _BOTTOM),
        )
        for point in points
    ]
    body = _draw_axes(spread, rise) + _draw_legend() + _draw_front(points, places)
    zero_y = _HEIGHT - _BOTTOM - (0 - rise[0]) / (rise[1] - rise[0]) * (_HEIGHT - _TOP - _BOTTOM)
    lines = [*_front_segments(points, places), (_LEFT, zero_y - 1, _WIDTH, zero_y + 1)]
    labels = place_labels(places, [shorten(point.name, _MAX_LABEL_CHARS) for point in points], lines)
    for point, place, box in zip(points, places, labels, strict=True):
        body += _draw_point(point, place) + _draw_label(point, place, box)
    return frame(
        _WIDTH,
        _HEIGHT,
        body,
        title="Multiply-adds against multi-task gain",
        description=" ".join(
            f"{point.name}: {format_count(point.madds)} MAdds, delta_m {format_signed(point.delta_m)} %."
            for point in points
        ),
        kind="front-drawing",
        standalone=standalone,
    )


def place_labels(
    places: Sequence[tuple[float, float]], labels: Sequence[str], obstacles: Sequence[Box] = ()
) -> list[Box]:
    """Return a box for every label: near its point, inside the plot, clear of points, obstacles and earlier labels.

    Each point tries a ring of spots around it, then wider rings; where all are taken it keeps the least covered.

    Args:
        places: (x, y) of the points in the drawing.
        labels: What stands beside them.
        obstacles: Other things to keep clear of.
    """
    taken: list[Box] = [*((x - 7, y - 7, x + 7, y + 7) for x, y in places), *obstacles]
    boxes = []
    for (x, y), label in zip(places, labels, strict=True):
        width, height = estimate_text_width(label, _LABEL_SIZE), _LABEL_SIZE + 3
        spots = [_box_at(x, y, width, height, ring, side) for ring in (11, 24, 40, 60, 84) for side in _SIDES]
        inside = [box for box in spots if _is_inside(box)] or spots
        best = min(inside, key=lambda box: sum(_overlap(box, other) for other in taken))
        taken.append(best)
        boxes.append(best)
    return boxes


_SIDES = ((1, 0), (0, -1), (0, 1), (-1, 0), (1, -1), (1, 1), (-1, -1), (-1, 1))


def _box_at(x: float, y: float, width: float, height: float, ring: float, side: tuple[int, int]) -> Box:
    """Return the box of a label on one side of a point."""
    horizontal, vertical = side
    left = x + ring if horizontal > 0 else x - ring - width if horizontal < 0 else x - width / 2
    middle = y + vertical * (ring + (height / 2 if horizontal == 0 else 0))
    return (left, middle - height / 2, left + width, middle + height / 2)


def _is_inside(box: Box) -> bool:
    """Return whether a box lies in the plot."""
    return box[0] >= _LEFT and box[2] <= _WIDTH - 4 and box[1] >= _TOP - 8 and box[3] <= _HEIGHT - _BOTTOM


def _overlap(one: Box, other: Box) -> float:
    """Return the area that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def _draw_axes(spread: tuple[float, float], rise: tuple[float, float]) -> str:
    """Return grid, ticks and names of both axes."""
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    rise_ticks = choose_ticks(*rise)
    digits = 0 if all(abs(tick - round(tick)) < 1e-9 for tick in rise_ticks) else 1
    digits = digits if len({round(tick, digits) for tick in rise_ticks}) == len(rise_ticks) else 3
    for tick in rise_ticks:
        y = bottom - (tick - rise[0]) / (rise[1] - rise[0]) * (bottom - _TOP)
        stroke = f'stroke="{colour("muted" if abs(tick) < 1e-12 else "line")}"'
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" {stroke}/>')
        parts.append(text(_LEFT - 8, y + 4, format_signed(tick, digits), anchor="end", fill="muted"))
    for tick in choose_ticks(*spread):
        x = _LEFT + (tick - spread[0]) / (spread[1] - spread[0]) * (right - _LEFT)
        parts.append(f'<line x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 5}" stroke="{colour("muted")}"/>')
        parts.append(text(x, bottom + 19, format_tick(tick, spread[1]), anchor="middle", fill="muted"))
    parts.append(f'<line x1="{_LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}" stroke="{colour("muted")}"/>')
    parts.append(text(right, bottom + 38, "multiply-adds of one image (MAdds)", anchor="end", fill="muted"))
    parts.append(text(8, 18, "delta_m in %: mean gain over single-task networks", fill="muted"))
    return "".join(parts)


def _draw_legend() -> str:
    """Return what the marks mean."""
    parts = []
    x = 14.0
    entries = (("front", "on the front"), ("behind", "dominated"), ("single", "single-task"), ("shared", "all shared"))
    for kind, words in entries:
        parts.append(_mark(kind, x, 38) + text(x + 11, 42, words, size=11.5, fill="muted"))
        x += 11 + estimate_text_width(words, 11.5) + 22
    return "".join(parts)


def _draw_front(points: Sequence[Point], places: Sequence[tuple[float, float]]) -> str:
    """Return the best gain to be had at each cost, as a step line through the candidates on the front."""
    corners = _front_corners(points, places)
    if not corners:
        return ""
    path = [f"M{corners[0][0]:.1f} {corners[0][1]:.1f}"]
    path += [f"H{after[0]:.1f}V{after[1]:.1f}" for _, after in pairwise(corners)]
    path.append(f"H{_WIDTH - _RIGHT:.1f}")
    return f'<path class="front" d="{"".join(path)}" fill="none" stroke="{colour("accent")}" stroke-width="2"/>'


def _front_corners(points: Sequence[Point], places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the places of the candidates on the front, cheapest first."""
    return sorted(place for point, place in zip(points, places, strict=True) if point.kind == "front")


def _front_segments(points: Sequence[Point], places: Sequence[tuple[float, float]]) -> list[Box]:
    """Return the boxes that the step line covers."""
    corners = _front_corners(points, places)
    boxes = [(x, y - 2, next_x, y + 2) for (x, y), (next_x, _) in pairwise(corners)]
    boxes += [
        (next_x - 2, min(y, next_y), next_x + 2, max(y, next_y)) for (_, y), (next_x, next_y) in pairwise(corners)
    ]
    return boxes + [(x, y - 2, _WIDTH, y + 2) for x, y in corners[-1:]]


def _mark(kind: str, x: float, y: float) -> str:
    """Return the mark of a kind of network; shape and filling differ, so that colour is not needed."""
    if kind == "single":
        return f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" fill="{colour("muted")}"/>'
    if kind == "shared":
        return f'<path d="M{x:.1f} {y - 6:.1f}l6.5 11h-13z" fill="{colour("muted")}"/>'
    fill = colour("accent" if kind == "front" else "surface")
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5.5" fill="{fill}" stroke="{colour("accent")}" stroke-width="2"/>'


def _draw_point(point: Point, place: tuple[float, float]) -> str:
    """Return the mark of a network, its figures in the title."""
    facts = f"{escape(point.name)}: {format_count(point.madds)} MAdds, delta_m {format_signed(point.delta_m)} %"
    return f'<g class="point"><title>{facts}</title>{_mark(point.kind, *place)}</g>'


def _draw_label(point: Point, place: tuple[float, float], box: Box) -> str:
    """Return the label of a network, with a leader where it had to stand far off."""
    x, y = place
    nearest = (min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3]))
    leader = ""
    if abs(nearest[0] - x) + abs(nearest[1] - y) > 20:
        leader = (
            f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{nearest[0]:.1f}" y2="{nearest[1]:.1f}" stroke="{colour("line")}"/>'
        )
    halo = f'paint-order="stroke" stroke="{colour("surface")}" stroke-width="3" stroke-linejoin="round"'
    weight = f'{halo} font-weight="600"' if point.kind == "front" else halo
    fill = "ink" if point.kind in ("front", "behind") else "muted"
    label = shorten(point.name, _MAX_LABEL_CHARS)
    return leader + text(box[0], box[3] - 3.5, label, size=_LABEL_SIZE, fill=fill, attributes=weight)


def _costs_svg(results: Results, *, standalone: bool) -> str:
    """Return one bar of MAdds per network of a study, its budget marked."""
    costs = results.study.costs
    rows: list[tuple[str, int, int | None]] = [("all shared", costs.shared_madds, None)]
    rows += [(candidate.name, candidate.madds, candidate.budget_madds) for candidate in results.candidates]
    rows.append(("single-task", costs.single_madds, None))
    label_width = max(estimate_text_width(shorten(name, _MAX_LABEL_CHARS), _LABEL_SIZE) for name, _, _ in rows)
    left, full = label_width + 20, _WIDTH - label_width - 20 - 80
    scale = full / max(madds for _, madds, _ in rows)
    parts = [text(left, 18, "multiply-adds of one image (MAdds); the tick is the budget", fill="muted")]
    for index, (name, madds, budget) in enumerate(rows):
        y = 34 + 30.0 * index
        fill = "muted" if budget is None else "accent"
        parts.append(text(left - 10, y + 14, shorten(name, _MAX_LABEL_CHARS), anchor="end"))
        parts.append(
            f'<g class="bar"><title>{escape(name)}: {format_count(madds)} MAdds</title>'
            f'<rect x="{left:.1f}" y="{y:.1f}" width="{madds * scale:.1f}" height="20" rx="2" '
            f'fill="{colour(fill)}"/></g>'
        )
        end = madds * scale
        if budget is not None and budget <= costs.single_madds:
            end = max(end, budget * scale)
            parts.append(
                f'<path d="M{left + budget * scale:.1f} {y - 3:.1f}v26" stroke="{colour("bad")}" stroke-width="2"/>'
            )
        parts.append(text(left + end + 8, y + 14, format_count(madds, costs.single_madds), fill="muted"))
    return frame(
        _WIDTH,
        44 + 30.0 * len(rows),
        "".join(parts),
        title="Multiply-adds of the networks",
        description=" ".join(f"{name}: {format_count(madds)} MAdds." for name, madds, _ in rows),
        kind="costs-drawing",
        standalone=standalone,
    )
