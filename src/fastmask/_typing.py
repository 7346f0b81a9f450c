"""Names of types that occur everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Shape = tuple[int | None, ...]
"""A shape in which None stands for a size that may vary."""
