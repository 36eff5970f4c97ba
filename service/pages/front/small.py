"""A small front: what a search found so far, cost against gain. The page of the study has the large one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from service.pages.drawing import (
    choose_ticks,
    colour,
    escape,
    format_count,
    format_signed,
    format_tick,
    frame,
    pad_span,
    text,
)
from service.pages.front.drawing import Point

_MAX_BEHIND = 80  # networks that are drawn and named one by one
_WIDTH, _HEIGHT = 360.0, 230.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 12.0, 26.0, 40.0
Span = tuple[float, float]


def small_front_svg(points: Sequence[Point], *, standalone: bool = False) -> str:
    """Return the drawing of networks whose cost and gain are known; at least one.

    Args:
        points: Of kind "front", "behind", "single" or "shared".
        standalone: For a file of its own rather than for a page.
    """
    across = pad_span([point.madds for point in points], 0.12)
    up = pad_span([0.0, *(point.delta_m for point in points)], 0.16)
    corners = sorted((_x(point.madds, across), _y(point.delta_m, up)) for point in points if point.kind == "front")
    body = _draw_axes(across, up)
    if corners:
        path = f"M{corners[0][0]:.1f} {corners[0][1]:.1f}"
        path += "".join(f"H{after[0]:.1f}V{after[1]:.1f}" for _, after in pairwise(corners)) + f"H{_WIDTH - _RIGHT}"
        body += f'<path class="front" d="{path}" fill="none" stroke="{colour("accent")}" stroke-width="1.8"/>'
    crowd = [point for point in points if point.kind == "behind"]
    crowd = crowd if len(crowd) > _MAX_BEHIND else []
    named = [point for point in points if not crowd or point.kind != "behind"]
    if crowd:
        dots = "".join(f"M{_x(point.madds, across):.1f} {_y(point.delta_m, up):.1f}h0" for point in crowd)
        body += f'<path class="crowd" d="{dots}" stroke="{colour("accent")}" stroke-width="3" stroke-linecap="round"/>'
    for point in named:
        title = f"{escape(point.name)}: {format_count(point.madds)} MAdds, delta_m {format_signed(point.delta_m)} %"
        mark = _mark(point.kind, _x(point.madds, across), _y(point.delta_m, up))
        body += f'<g class="point"><title>{title}</title>{mark}</g>'
    described = [
        f"{point.name}: {format_count(point.madds)} MAdds, delta_m {format_signed(point.delta_m)} %." for point in named
    ]
    described += [f"And {len(crowd)} networks behind the front."] if crowd else []
    return frame(
        _WIDTH,
        _HEIGHT,
        body,
        title="Cost and gain of what was found",
        description=" ".join(described),
        kind="small-front-drawing",
        standalone=standalone,
    )


def _x(madds: float, across: Span) -> float:
    """Return where an amount of MAdds lies."""
    return _LEFT + (madds - across[0]) / (across[1] - across[0]) * (_WIDTH - _LEFT - _RIGHT)


def _y(delta_m: float, up: Span) -> float:
    """Return where a gain lies."""
    return _HEIGHT - _BOTTOM - (delta_m - up[0]) / (up[1] - up[0]) * (_HEIGHT - _TOP - _BOTTOM)


def _draw_axes(across: Span, up: Span) -> str:
    """Return grid, ticks and names of both axes."""
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    body = text(4, 14, "delta_m in %", size=11, fill="muted")
    ticks = choose_ticks(*up, max_ticks=4)
    digits = next((digits for digits in (0, 1, 2) if all(abs(tick - round(tick, digits)) < 1e-9 for tick in ticks)), 3)
    for tick in ticks:
        y = _y(tick, up)
        stroke = colour("muted" if abs(tick) < 1e-12 else "line")
        body += f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="{stroke}"/>'
        body += text(_LEFT - 6, y + 4, format_signed(tick, digits), size=10.5, anchor="end", fill="muted")
    for tick in choose_ticks(*across, max_ticks=4):
        body += text(
            _x(tick, across), bottom + 16, format_tick(tick, across[1]), size=10.5, anchor="middle", fill="muted"
        )
    body += f'<line x1="{_LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}" stroke="{colour("muted")}"/>'
    return body + text(right, _HEIGHT - 6, "MAdds", size=11, anchor="end", fill="muted")


def _mark(kind: str, x: float, y: float) -> str:
    """Return the mark of a kind of network: shape and filling differ as in the large drawing."""
    if kind == "single":
        return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" fill="{colour("muted")}"/>'
    if kind == "shared":
        return f'<path d="M{x:.1f} {y - 5:.1f}l5.5 9h-11z" fill="{colour("muted")}"/>'
    fill = colour("accent" if kind == "front" else "surface")
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{fill}" stroke="{colour("accent")}" stroke-width="1.8"/>'
