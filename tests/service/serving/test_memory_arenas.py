"""The heaps that a server's threads share."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import re, sys, threading, ctypes
from service.serving.memory_arenas import share_memory_arenas
if sys.argv[1] == "shared" and not share_memory_arenas():
    sys.exit(3)
holding, done = threading.Barrier(13), threading.Event()
def hold():
    ctypes.CDLL(None).malloc(1000)
    holding.wait()
    done.wait()
threads = [threading.Thread(target=hold) for _ in range(12)]
for thread in threads:
    thread.start()
holding.wait()
ctypes.CDLL(None).malloc_info(0, ctypes.c_void_p.in_dll(ctypes.CDLL(None), "stdout"))
ctypes.CDLL(None).fflush(None)
done.set()
"""


@pytest.mark.parametrize(("how", "most"), [("shared", 2), ("own", 64)])
def test_threads_share_two_heaps(how: str, most: int) -> None:
    """Twelve threads have two heaps between them, where each would have one of its own otherwise."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM, how], capture_output=True, text=True, check=False)
    if done.returncode == 3 or "<heap" not in done.stdout:
        pytest.skip("the C library is not glibc")
    heaps = done.stdout.count("<heap ")
    assert (1 if how == "shared" else 5) <= heaps <= most
