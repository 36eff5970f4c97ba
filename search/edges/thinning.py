"""Thinning of many nested masks at once: what remains of an edge map at each of its thresholds.

A bit per threshold and pixel, so that one pass of whole-word logic thins all masks; equal to skimage's `thin` on each.
Source: Guo and Hall, CACM 1989, algorithm A1. Legend: N candidate pixels, K thresholds, W words of 64 thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

_WORD = 64  # thresholds
# Neighbours counter-clockwise from the right, as (row, column) steps.
_STEPS = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


@dataclass(frozen=True)
class ThinnedMasks:
    """The masks of all thresholds, thinned.

    Attributes:
        places_N: Position of each candidate in the image, row by row.
        present_KN: Whether a candidate belongs to the thinned mask of a threshold.
    """

    places_N: Indices
    present_KN: Mask


def thin_at_thresholds(strength_HW: npt.NDArray[np.float64], thresholds: npt.NDArray[np.float64]) -> ThinnedMasks:
    """Return the masks `strength_HW > threshold` worn down to lines of one pixel, for every threshold.

    Args:
        strength_HW: Edge strength.
        thresholds: K rising values.
    """
    strength_P = strength_HW.ravel()
    places_N = np.flatnonzero(strength_P > thresholds[0])
    num_words = -(-len(thresholds) // _WORD)
    # Masks are nested: a pixel belongs to those of its first so many thresholds.
    levels_N = np.searchsorted(thresholds, strength_P[places_N], side="left")
    words_NW = np.zeros((len(places_N) + 1, num_words), dtype=np.uint64)  # the last one stands for "no candidate"
    for word in range(num_words):
        ones_N = np.clip(levels_N - word * _WORD, 0, _WORD).astype(np.uint64)
        full = np.uint64(2**_WORD - 1)
        words_NW[:-1, word] = np.where(ones_N > 0, full >> (np.uint64(_WORD) - np.maximum(ones_N, 1)), 0)
    _thin(words_NW, _find_neighbours(places_N, (strength_HW.shape[0], strength_HW.shape[1])))
    bytes_NB = words_NW[:-1].astype("<u8").view(np.uint8)  # lowest threshold first on every machine
    bits_NK = np.unpackbits(bytes_NB, axis=1, count=len(thresholds), bitorder="little")
    return ThinnedMasks(places_N, np.ascontiguousarray(bits_NK.T).astype(np.bool_))


def _find_neighbours(places_N: Indices, size: tuple[int, int]) -> Indices:
    """Return the eight neighbours of every candidate as candidates, (N, 8); N where the neighbour is none."""
    height, width = size
    number_HW = np.full((height + 2, width + 2), len(places_N), dtype=np.intp)
    rows_N, columns_N = places_N // width + 1, places_N % width + 1
    number_HW[rows_N, columns_N] = np.arange(len(places_N))
    return np.stack([number_HW[rows_N + down, columns_N + right] for down, right in _STEPS], axis=1)


def _thin(words_NW: Words, neighbours_N8: Indices) -> None:
    """Wear the masks down in place; only pixels whose neighbourhood changed are looked at again."""
    num_pixels = len(neighbours_N8)
    dirty_2N = np.ones((2, num_pixels + 1), dtype=np.bool_)
    dirty_2N[:, -1] = False
    while dirty_2N.any():
        for half in (0, 1):
            looked_at = np.flatnonzero(dirty_2N[half])
            dirty_2N[half] = False
            around_8MW = words_NW[neighbours_N8[looked_at].T]
            gone_MW = _find_removable(around_8MW, half) & words_NW[looked_at]
            changes_M = gone_MW.any(axis=1)
            changed = looked_at[changes_M]
            words_NW[changed] &= ~gone_MW[changes_M]
            dirty_2N[:, neighbours_N8[changed].ravel()] = True
            dirty_2N[:, -1] = False


def _find_removable(around_8MW: Words, half: int) -> Words:
    """Return per pixel the masks in which it may go in one of the two half passes; bits of other pixels mean nothing.

    A pixel goes when its neighbours form one piece, when it is no end of a line, and when it lies on the sides that
    this half pass wears down.
    """
    right, right_up, up, left_up, left, left_down, down, right_down = around_8MW
    pieces = (
        ~right & (right_up | up),
        ~up & (left_up | left),
        ~left & (left_down | down),
        ~down & (right_down | right),
    )
    first = (right | right_up, up | left_up, left | left_down, down | right_down)
    second = (right_up | up, left_up | left, left_down | down, right_down | right)
    one_piece = (pieces[0] | pieces[1] | pieces[2] | pieces[3]) & ~_at_least_two(pieces)
    no_end = _at_least_two(first) & _at_least_two(second) & ~(_all(first) & _all(second))
    if half == 0:
        side = ~((right_up | up | ~right_down) & right)
    else:
        side = ~((left_down | down | ~left_up) & left)
    removable: Words = one_piece & no_end & side
    return removable


def _at_least_two(terms: tuple[Words, Words, Words, Words]) -> Words:
    """Return where at least two of four bits are set."""
    a, b, c, d = terms
    several: Words = np.bitwise_or((a & b) | (c & d), (a | b) & (c | d))
    return several


def _all(terms: tuple[Words, Words, Words, Words]) -> Words:
    """Return where all four bits are set."""
    a, b, c, d = terms
    every: Words = a & b & c & d
    return every
