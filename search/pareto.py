"""Which candidates nobody beats, and how good a front is: cost (lower is better) against gain (higher is better).

Plain Python, no torch: the report and the web process use it too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

Point = tuple[float, float]


def non_dominated(points: Sequence[Point]) -> list[int]:
    """Return the indices of the points on the Pareto front, by ascending cost (and gain).

    A point is off the front when another costs no more and gains no less, one of the two strictly. Of equal points only
    the first is kept. A point with a NaN is never on the front.

    Args:
        points: (cost, gain) pairs, in any order; infinities are allowed.
    """
    sound = [index for index, (cost, gain) in enumerate(points) if not (math.isnan(cost) or math.isnan(gain))]
    # Cheapest first, of equal cost the best first, of equal points the first: each must beat all before it.
    front: list[int] = []
    for index in sorted(sound, key=lambda i: (points[i][0], -points[i][1], i)):
        if not front or points[index][1] > points[front[-1]][1]:
            front.append(index)
    return front


def hypervolume(points: Iterable[Point], reference: Point) -> float:
    """Return the area that the points dominate within the reference: cheaper than its cost, more gain than its gain.

    Args:
        points: (cost, gain) pairs, in any order; points not better than the reference in both add nothing.
        reference: A cost and a gain that every useful point beats, for example the single networks' cost and the
            worst gain. Both must be finite.

    Returns:
        The area, in cost times gain; infinite for a point of infinite gain or of minus infinite cost.
    """
    worst_cost, worst_gain = reference
    within = [(cost, gain) for cost, gain in points if cost < worst_cost and gain > worst_gain]
    front = [within[index] for index in non_dominated(within)]
    ends = [*(cost for cost, _ in front), worst_cost][1:]
    return math.fsum((end - cost) * (gain - worst_gain) for (cost, gain), end in zip(front, ends, strict=True))
