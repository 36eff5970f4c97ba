"""Marks of a plot: each series has a shape and a colour, so that neither needs the other. Neighbour: the front."""

from __future__ import annotations

from service.pages.drawing import colour, task_colour

# Drawn from the middle of a mark, in units of its radius; areas are about equal.
_SHAPES: tuple[tuple[tuple[float, float], ...], ...] = (
    (),  # a circle
    ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    ((0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)),
    ((0.0, -1.25), (1.25, 0.95), (-1.25, 0.95)),
    ((0.0, 1.25), (-1.25, -0.95), (1.25, -0.95)),
    ((-0.4, -1.2), (0.4, -1.2), (0.4, -0.4), (1.2, -0.4), (1.2, 0.4), (0.4, 0.4), (0.4, 1.2), (-0.4, 1.2),
     (-0.4, 0.4), (-1.2, 0.4), (-1.2, -0.4), (-0.4, -0.4)),
    ((0.0, -1.25), (1.2, -0.35), (0.75, 1.05), (-0.75, 1.05), (-1.2, -0.35)),
    ((-0.5, -1.1), (0.5, -1.1), (1.1, -0.5), (1.1, 0.5), (0.5, 1.1), (-0.5, 1.1), (-1.1, 0.5), (-1.1, -0.5)),
)  # fmt: skip
NUM_SHAPES = len(_SHAPES)


def shape_path(series: int, x: float, y: float, radius: float) -> str:
    """Return the outline of a mark of a series as path data."""
    corners = _SHAPES[series % NUM_SHAPES]
    if not corners:
        return f"M{x - radius:.1f} {y:.1f}a{radius:g} {radius:g} 0 1 0 {2 * radius:g} 0a{radius:g} {radius:g} 0 1 0" + (
            f"{-2 * radius:g} 0z"
        )
    places = "L".join(f"{x + dx * radius:.1f} {y + dy * radius:.1f}" for dx, dy in corners)
    return f"M{places}z"


def series_paint(series: int, num_series: int) -> str:
    """Return the colour of a series; one that stands alone has the colour of the theme."""
    return colour("accent") if num_series <= 1 else task_colour(series)


def reference_path(kind: str, x: float, y: float) -> str:
    """Return the outline of a reference: a crossed square for separate networks, a barred triangle for one shared."""
    if kind == "single":
        return f"M{x - 6:.1f} {y - 6:.1f}h12v12h-12zl12 12m0-12l-12 12"
    return f"M{x:.1f} {y - 7:.1f}l7.5 13h-15zM{x:.1f} {y - 7:.1f}v13"
