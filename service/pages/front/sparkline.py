"""A front so small that it stands in a row of a table: points and the front line, no axes, no words but its title."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from service.pages.drawing import colour, frame, pad_span

_WIDTH, _HEIGHT = 130.0, 44.0


def sparkline_svg(points: Sequence[tuple[float, float]], on_front: Sequence[bool]) -> str:
    """Return the drawing of at least one network.

    Args:
        points: (cost, gain) of each.
        on_front: Whether none beats it.
    """
    across, up = pad_span([x for x, _ in points], 0.06), pad_span([y for _, y in points], 0.16)
    places = [
        (_WIDTH * (x - across[0]) / (across[1] - across[0]), _HEIGHT * (up[1] - y) / (up[1] - up[0])) for x, y in points
    ]
    body = ""
    corners = sorted(place for place, best in zip(places, on_front, strict=True) if best)
    if corners:
        line = f"M{corners[0][0]:.1f} {corners[0][1]:.1f}"
        line += "".join(f"H{after[0]:.1f}V{after[1]:.1f}" for _, after in pairwise(corners)) + f"H{_WIDTH:.0f}"
        body = f'<path d="{line}" fill="none" stroke="{colour("accent")}" stroke-width="1.5"/>'
    for (x, y), best in sorted(zip(places, on_front, strict=True), key=lambda entry: entry[1]):
        fill, radius = ("accent", 2.6) if best else ("muted", 1.8)
        body += f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour(fill)}"/>'
    return frame(
        _WIDTH,
        _HEIGHT,
        body,
        title="Front",
        description=f"{sum(on_front)} of {len(points)} networks are on the front.",
        kind="sparkline",
        standalone=False,
    )
