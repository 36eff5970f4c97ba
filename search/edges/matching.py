"""How many predicted edge pixels find a true one of their own, while predictions come and go with the threshold.

A maximum matching is kept up to date pixel by pixel instead of being found anew at each threshold. Legend: N candidate
pixels, T true pixels, K thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Near = Sequence[Sequence[int]]
_NOBODY = -1


class GrowingMatching:
    """A maximum matching between true pixels, all there, and predicted ones, which are added and removed.

    A true pixel is *taken* when no chain of swaps leads from it to a free one; it was reached by a search that failed,
    and everything such a search reaches is taken. Taken pixels are passed over until one of them falls free.

    Args:
        near: For each candidate the true pixels within the tolerance, nearest first.
        num_true: T.
    """

    def __init__(self, near: Near, num_true: int) -> None:
        self.size = 0
        self._near = near
        self._mate_of_candidate = [_NOBODY] * len(near)
        self._mate_of_true = [_NOBODY] * num_true
        self._is_there = [False] * len(near)
        self._is_taken = [False] * num_true
        self._near_true: list[list[int]] = [[] for _ in range(num_true)]
        for candidate, places in enumerate(near):
            for place in places:
                self._near_true[place].append(candidate)

    def add(self, candidate: int) -> None:
        """Add a predicted pixel and match it where the matching can grow by it."""
        self._is_there[candidate] = True
        for place in self._near[candidate]:
            if self._mate_of_true[place] == _NOBODY:
                self._join(candidate, place)
                self.size += 1
                return
        self._search_free_true(candidate)

    def remove(self, candidate: int) -> None:
        """Remove a predicted pixel; the true one it held goes to a pixel that has none, where swaps lead to one."""
        self._is_there[candidate] = False
        place = self._mate_of_candidate[candidate]
        if place == _NOBODY:
            return
        self._mate_of_candidate[candidate] = self._mate_of_true[place] = _NOBODY
        self.size -= 1
        if self._is_taken[place]:  # or else no unmatched pixel can reach it
            self._search_unmatched(place)

    def _join(self, candidate: int, place: int) -> None:
        """Match a pair."""
        self._mate_of_candidate[candidate] = place
        self._mate_of_true[place] = candidate

    def _search_free_true(self, start: int) -> None:
        """Grow the matching by swaps that begin at an unmatched candidate, or note that nothing can."""
        came_from: dict[int, int] = {}
        waiting = [start]
        for candidate in waiting:
            for place in self._near[candidate]:
                if self._is_taken[place] or place in came_from:
                    continue
                came_from[place] = candidate
                mate = self._mate_of_true[place]
                if mate == _NOBODY:
                    self._swap_back(place, came_from)
                    self.size += 1
                    return
                waiting.append(mate)
        for place in came_from:
            self._is_taken[place] = True

    def _swap_back(self, place: int, came_from: dict[int, int]) -> None:
        """Give the free true pixel at the end of a chain to the candidate before it, and so on to the chain's begin."""
        while place != _NOBODY:
            candidate = came_from[place]
            before = self._mate_of_candidate[candidate]
            self._join(candidate, place)
            place = before

    def _search_unmatched(self, start: int) -> None:
        """Give a true pixel that fell free to an unmatched candidate by swaps, or note who can reach it now."""
        leads_to: dict[int, int] = {start: _NOBODY}
        waiting = [start]
        for place in waiting:
            for candidate in self._near_true[place]:
                if not self._is_there[candidate]:
                    continue
                held = self._mate_of_candidate[candidate]
                if held == _NOBODY:
                    self._swap_forth(candidate, place, leads_to)
                    self.size += 1
                    return
                if held not in leads_to and self._is_taken[held]:
                    leads_to[held] = place
                    waiting.append(held)
        for place in leads_to:
            self._is_taken[place] = False

    def _swap_forth(self, candidate: int, place: int, leads_to: dict[int, int]) -> None:
        """Give a true pixel to an unmatched candidate, the next one to the candidate that held it, and so on."""
        while place != _NOBODY:
            former = self._mate_of_true[place]
            self._join(candidate, place)
            candidate, place = former, leads_to[place]


def count_matched(present_KN: npt.NDArray[np.bool_], near: Near, num_true: int) -> npt.NDArray[np.int64]:
    """Return how many predicted pixels can be matched to a true one of their own at every threshold, (K,).

    Args:
        present_KN: Which candidates are predicted at each of the rising thresholds.
        near: For each candidate the true pixels it may be matched to, the preferred first.
        num_true: T.
    """
    matching = GrowingMatching(near, num_true)
    matched_K = np.zeros(len(present_KN), dtype=np.int64)
    reachable_N = np.array([bool(places) for places in near], dtype=np.bool_)
    before_N = np.zeros(present_KN.shape[1], dtype=np.bool_)
    for index in range(len(present_KN) - 1, -1, -1):  # from few predictions to many: they are mostly added
        now_N = present_KN[index] & reachable_N
        for candidate in np.flatnonzero(now_N & ~before_N).tolist():
            matching.add(candidate)
        for candidate in np.flatnonzero(before_N & ~now_N).tolist():
            matching.remove(candidate)
        matched_K[index] = matching.size
        before_N = now_N
    return matched_K
