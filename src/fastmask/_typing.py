"""Names of types that occur everywhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Optional

import numpy as np
from numpy.typing import DTypeLike, NDArray

if TYPE_CHECKING:
    from typing_extensions import Unpack
elif sys.version_info >= (3, 11):
    from typing import Unpack
else:  # nothing but tools that print hints look at it when a program runs
    Unpack = Optional

__all__ = ["Array", "Bools", "DTypeLike", "Ints", "Shape", "Unpack"]

Array = NDArray[Any]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Shape = tuple[int | None, ...]
"""A shape in which None stands for a size that may vary."""
