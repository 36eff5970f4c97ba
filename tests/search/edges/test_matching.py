"""The matching that grows and shrinks pixel by pixel: always as large as one found from scratch."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from search.edges.counts import match_size
from search.edges.matching import GrowingMatching, count_matched


def find_plainly(near: list[list[int]], num_true: int, there: set[int]) -> int:
    """Return the size of a maximum matching of the pixels that are there."""
    pairs = [(candidate, place) for candidate in there for place in near[candidate]]
    matrix = sparse.csr_matrix(
        (np.ones(len(pairs), np.int8), ([first for first, _ in pairs], [second for _, second in pairs])),
        shape=(len(near), num_true),
    )
    return match_size(matrix)


NEAR = st.integers(1, 7).flatmap(
    lambda num_true: st.tuples(
        st.just(num_true),
        st.lists(st.lists(st.integers(0, num_true - 1), unique=True, max_size=4), min_size=1, max_size=9),
    )
)


@settings(max_examples=150, deadline=None)
@given(near=NEAR, moves=st.lists(st.integers(0, 8), max_size=40))
def test_pixels_that_come_and_go_leave_a_maximum_matching(near: tuple[int, list[list[int]]], moves: list[int]) -> None:
    """Every move adds a pixel that is not there or removes one that is; the size is right after each."""
    num_true, lists = near
    matching, there = GrowingMatching(lists, num_true), set[int]()
    for move in moves:
        candidate = move % len(lists)
        if candidate in there:
            there.remove(candidate)
            matching.remove(candidate)
        else:
            there.add(candidate)
            matching.add(candidate)
        assert matching.size == find_plainly(lists, num_true, there)


def test_thresholds_are_counted_from_the_highest_down() -> None:
    """A pixel that thinning takes away at a lower threshold gives its true pixel back."""
    near = [[0], [0, 1], [1]]
    present_KN = np.array([[True, False, True], [True, True, True], [False, True, False], [False, False, False]])
    assert count_matched(present_KN, near, 2).tolist() == [2, 2, 1, 0]
    assert count_matched(present_KN, [[], [], []], 0).tolist() == [0, 0, 0, 0]
