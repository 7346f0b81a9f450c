"""Arrays as kernels see them: negative indices raise, and threads may switch between accesses.

What a thread writes to memory of all threads goes through its `_stores`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray
from numpy.typing import NDArray

from ..runtime.driver import Described
from ._engine import this


class Checked(np.ndarray[Any, Any]):
    """A thread's own array: negative indices raise."""

    def __getitem__(self, index: Any) -> Any:
        return _get(self, _inside(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        _set(self, _inside(index), value)

    def __repr__(self) -> str:
        return repr(self.view(np.ndarray))


class Common(Checked):
    """Memory that several threads see: shared memory, and all behind pointers."""

    common = True

    def __getitem__(self, index: Any) -> Any:
        this().engine.interrupt()
        return _get(self, _inside(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        thread = this()
        thread.engine.interrupt()
        thread.stores.put(self, _inside(index), value)
        progress = thread.engine.progress
        if progress.turns >= progress.watched and thread.stores.changed():
            progress.made()


_get: Callable[..., Any] = np.ndarray.__getitem__
_set: Callable[..., Any] = np.ndarray.__setitem__


def _inside(index: Any) -> Any:
    for i in index if isinstance(index, tuple) else (index,):
        if isinstance(i, (int, np.integer)) and i < 0:
            raise IndexError(f"negative index {i} in a kernel")
    return int(index) if isinstance(index, np.integer) else index


def fresh(shape: Any, dtype: Any, kind: type[Checked]) -> NDArray[Any]:
    """Uninitialized memory."""
    array = np.empty(shape, dtype)
    array.view("u1").fill(0xFF)  # NaN of every kind of float
    return array.view(kind)


def seen(value: Any) -> Any:
    """An argument of a launch as its kernel sees it, without a copy."""
    if isinstance(value, tuple):
        return getattr(type(value), "_make", tuple)(map(seen, value))
    if hasattr(type(value), "__cuda_ndarray__"):  # of Numba's simulator, around a NumPy array
        value = np.asarray(value)
    return value.view(Common) if isinstance(value, np.ndarray) else value


def as_numba(value: Any) -> Any:
    """An array of Numba's simulator over the memory of an array on the simulated device."""
    interface = value.__cuda_array_interface__
    if 0 in interface["shape"]:
        return FakeCUDAArray(np.empty(interface["shape"], interface["typestr"]))
    return FakeCUDAArray(np.asarray(Described({**interface, "version": 3}, value)))
