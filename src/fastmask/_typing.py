"""Types, and dtypes, that occur everywhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Optional, Protocol

import numpy as np
from numpy import typing as npt
from numpy.typing import DTypeLike as DTypeLike
from numpy.typing import NDArray

if TYPE_CHECKING:
    from typing_extensions import TypeIs as TypeIs
    from typing_extensions import Unpack as Unpack
else:  # only tools that print hints look at these when a program runs
    TypeIs = Optional
    if sys.version_info >= (3, 11):
        from typing import Unpack
    else:
        Unpack = Optional

FLOAT32, FLOAT64, INT64 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)
BOOL = np.dtype(np.bool_)

Array = NDArray[Any]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Shape = tuple[int | None, ...]
"""A shape in which None stands for a size that may vary."""
Shapes = Shape | list["Shapes"]
"""A shape, or the shapes of several arrays."""


class HasShape(Protocol):
    """An array of any library, or a symbolic tensor."""

    @property
    def shape(self) -> Shape:
        """The sizes of its axes."""


class OnDevice(Protocol):
    """An array on a GPU, of any library."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...


class DeviceArray(OnDevice, Protocol):
    """An array on a GPU as kernels see it: `fastmask_kernels.cuda.runtime.device.DeviceArray`."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    device: int
    flags: Any
    owner: Any

    @property
    def ndim(self) -> int: ...

    @property
    def size(self) -> int: ...

    def __len__(self) -> int: ...


ArrayLike = npt.ArrayLike | OnDevice
"""An array of any library, or nested lists."""
MaskLike = ArrayLike
"""A `Mask`, or anything that one can be made of."""
Figure = Any
"""A `matplotlib.figure.Figure`; Matplotlib is imported only by what draws."""
Axes = Any
"""A `matplotlib.axes.Axes`."""
