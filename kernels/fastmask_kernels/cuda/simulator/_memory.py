"""Arrays as kernels see them: negative indices raise, and threads may switch between accesses.

What is stored is cut to the width of the array. What a thread writes to memory of all threads goes
through its `_stores`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray
from numpy.typing import NDArray

from ..runtime.driver import Described
from ._barriers import this
from ._items import NARROW, item
from ._stores import assign


class Checked(np.ndarray[Any, Any]):
    """A thread's own array: negative indices raise."""

    def __getitem__(self, index: Any) -> Any:
        return item(_get(self, inside(index)))

    def __setitem__(self, index: Any, value: Any) -> None:
        assign(self, inside(index), value)

    def __repr__(self) -> str:
        return repr(self.view(np.ndarray))


class Common(Checked):
    """Memory that several threads see: shared memory, and all behind pointers."""

    common = True

    def __getitem__(self, index: Any) -> Any:
        this().engine.interrupt()
        value = _get(self, inside(index))
        return item(value) if type(value) in NARROW else value  # most are not, and calls take time

    def __setitem__(self, index: Any, value: Any) -> None:
        thread = this()
        thread.engine.interrupt()
        thread.stores.put(self, inside(index), value)
        progress = thread.engine.progress
        if progress.turns >= progress.watched and thread.stores.changed():
            progress.made()


_get: Callable[..., Any] = np.ndarray.__getitem__

_ALL_BITS = 2**64 - 1


def inside(index: Any) -> Any:
    """An index of an array, which must not be negative."""
    for i in index if isinstance(index, tuple) else (index,):
        if isinstance(i, (int, np.integer)) and i < 0:
            raise IndexError(f"negative index {i} in a kernel")
    return int(index) if isinstance(index, np.integer) else index


def converted(array: NDArray[Any], value: Any) -> Any:
    """A number as an atomic operation on an array takes it: of the array's dtype."""
    number = np.uint64(int(value) & _ALL_BITS) if array.dtype.kind in "iu" else np.float64(value)
    return number.astype(array.dtype)


def fresh(shape: Any, dtype: Any, kind: type[Checked]) -> NDArray[Any]:
    """Uninitialized memory."""
    array = np.empty(shape, dtype)
    array.view("u1").fill(0xFF)  # NaN of every kind of float
    return array.view(kind)


def seen(value: Any) -> Any:
    """An argument of a launch as its kernel sees it, without a copy.

    Raises:
        TypeError: it is what a launch on a GPU refuses.
    """
    if isinstance(value, tuple):
        return getattr(type(value), "_make", tuple)(map(seen, value))
    if hasattr(type(value), "__cuda_ndarray__"):  # of Numba's simulator, around a NumPy array
        value = np.asarray(value)
    if isinstance(value, np.ndarray) and value.dtype.kind not in "OSU":
        return value.view(Common)
    if type(value) in (int, float):
        return np.asarray(value)[()]
    if isinstance(value, (int, float, complex, np.number, np.bool_)):
        return item(value)
    known = "must be a number, or an array of NumPy or numba.cuda.to_device"
    of = f" of {value.dtype}" if isinstance(value, np.ndarray) else ""
    raise TypeError(f"{known}, not {type(value).__name__}{of}")


def as_numba(value: Any) -> Any:
    """An array of Numba's simulator over the memory of an array on the simulated device."""
    interface = value.__cuda_array_interface__
    if 0 in interface["shape"]:
        return FakeCUDAArray(np.empty(interface["shape"], interface["typestr"]))
    return FakeCUDAArray(np.asarray(Described({**interface, "version": 3}, value)))
