"""Arrays from .npy files that nobody has looked at: sizes are judged by the header, and nothing is executed.

They are read without NumPy's loader, which takes archives and pickles too, by the first bytes of a file.
"""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.data.reading.places import quote, read_bounded, refusing
from search.errors import SampleError

MAX_HEADER_BYTES = 4096


def read_npy(path: Path) -> NDArray[np.generic]:
    """Return the array of numbers or truth values in an .npy file; it cannot be written to.

    Raises:
        SampleError: The file is missing, broken, of another size than its header says, or holds objects.
    """
    data = read_bounded(path)
    with refusing(path, ".npy array"):
        stream = io.BytesIO(data)
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise ValueError(f"version {version[0]}.{version[1]} of the format, where 1.0 or 2.0 is known")
        shape, is_fortran, dtype = read_header(stream, max_header_size=MAX_HEADER_BYTES)
    if dtype.hasobject or dtype.kind not in "buif" or dtype.subdtype is not None:
        raise SampleError(
            f"Arrays must hold numbers, but {quote(path)} holds {'objects' if dtype.hasobject else dtype}. "
            f"Save it with numpy.save as an array of numbers; objects are never loaded, since that can run code."
        )
    num_bytes = math.prod(shape) * dtype.itemsize
    start = stream.tell()
    if min(shape, default=0) < 0 or num_bytes != len(data) - start:
        raise SampleError(
            f"{quote(path)} announces an array {shape} of {dtype} ({num_bytes:,} bytes), but {len(data) - start:,} "
            f"bytes follow. Copy the file again."
        )
    with refusing(path, ".npy array"):
        flat = np.frombuffer(data, dtype, offset=start)
        array: NDArray[np.generic] = flat.reshape(shape, order="F" if is_fortran else "C")
    return array
