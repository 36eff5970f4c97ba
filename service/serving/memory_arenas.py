"""How many heaps the C library gives to a server's threads: few, for they take turns anyway.

By default each of dozens of threads gets one of its own, which keeps the most that this thread ever needed: after a
thousand submissions on SQLite that was 29 MB, with two heaps 6 MB, at the same speed.
"""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8  # of glibc's malloc.h
_ARENAS = 2


def share_memory_arenas() -> bool:
    """Have all threads that start from now on share two heaps; return False where the C library knows no such thing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_M_ARENA_MAX, _ARENAS) == 1
