"""What rounds say about a difference: pure functions of arrays, on NumPy alone.

Nothing here reads a file, a clock or a source of chance that was not handed in as a seed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
