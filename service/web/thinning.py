"""Long series made short for a picture: the smallest and the largest value of every stretch of steps. Pure."""

from __future__ import annotations

from collections.abc import Sequence

Point = tuple[int, float]


def thin_points(points: Sequence[Point], max_points: int) -> list[Point]:
    """Return at most `max_points` of a series in order, its first and last and the extremes of every stretch kept.

    Args:
        points: (step, value) by step.
        max_points: At least 4.
    """
    if len(points) <= max_points:
        return list(points)
    num_buckets = (max_points - 2) // 2
    inner = points[1:-1]
    kept = [points[0]]
    for bucket in range(num_buckets):
        stretch = inner[bucket * len(inner) // num_buckets : (bucket + 1) * len(inner) // num_buckets]
        lowest = min(stretch, key=lambda point: point[1])
        highest = max(stretch, key=lambda point: point[1])
        kept += sorted({lowest, highest})
    return [*kept, points[-1]]
