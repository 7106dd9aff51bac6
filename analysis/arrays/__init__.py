"""Arithmetic on whole arrays. Their types stand here once: codes and rows are int32, times and
sums int64."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
Bool = NDArray[np.bool_]
Integers = NDArray[np.integer]
"""Of any width."""

NONE: Final = -1
"""No code, no row, nothing said: in every column of such."""
