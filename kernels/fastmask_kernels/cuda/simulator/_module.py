"""The module `cuda` as kernels see it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba.cuda.np.numpy_support import as_dtype
from numba.cuda.simulator import kernelapi

from ._engine import FULL, exchange, this
from ._memory import Checked, Common, fresh
from ._stores import differs


class Shared:
    """Arrays of a block: one for each place in the source that asks for one."""

    def __init__(self, dynamic: int) -> None:
        self._dynamic = dynamic

    def array(self, shape: Any, dtype: Any, alignment: int | None = None) -> Any:
        """Memory that the threads of a block share; the dynamic memory if the shape is 0."""
        arrays = this().block.arrays
        if shape == 0:
            memory = arrays.setdefault("dynamic", fresh(self._dynamic, "u1", Common))
            whole = self._dynamic // _numpy(dtype).itemsize * _numpy(dtype).itemsize
            return memory[:whole].view(_numpy(dtype))
        caller = sys._getframe(1)
        key = caller.f_code, caller.f_lasti
        if key not in arrays:
            arrays[key] = fresh(shape, _numpy(dtype), Common)
        return arrays[key]


def _local_array(shape: Any, dtype: Any, alignment: int | None = None) -> Any:
    """Memory of one thread."""
    return fresh(shape, _numpy(dtype), Checked)


class Atomic:
    """Numba's atomic operations.

    They order nothing: the thread's other stores are held back as before.
    """

    def __getattr__(self, name: str) -> Callable[..., Any]:
        operation = getattr(kernelapi.FakeCUDAAtomic, name)

        def run(array: Any, *args: Any) -> Any:
            thread, index = this(), args[0]
            if name == "compare_and_swap":  # always of the first item
                index = (0,) * array.ndim
            thread.engine.interrupt()  # some threads poll for what others store
            thread.stores.flush_place(array, index)
            whole = np.asarray(array)
            before = operation(self, whole, *args)
            progress = thread.engine.progress
            if progress.turns >= progress.watched and differs(whole, index, before):
                progress.made()
            return before

        return run


class Grid:
    """All blocks of a cooperative launch."""

    def sync(self) -> None:
        """Wait for all threads of all blocks.

        Raises:
            RuntimeError: the launch is not cooperative.
        """
        if this().block.grid is None:
            raise RuntimeError("blocks can wait for each other only in cooperative launches")
        this().stores.flush()
        this().block.grid.wait("this_grid().sync")


class Module(kernelapi.FakeCUDAModule):  # type: ignore[misc]  # Numba is Any here
    """The module of Numba's simulator, with warps, and with arrays and barriers of our own.

    Args:
        grid: blocks in three dimensions.
        block: threads of a block in three dimensions.
        dynamic: bytes of dynamic shared memory.
    """

    def __init__(self, grid: tuple[int, ...], block: tuple[int, ...], dynamic: int) -> None:
        super().__init__(grid, block, 0)
        self._shared, self._local = Shared(dynamic), SimpleNamespace(array=_local_array)
        self._atomic, self._cg = Atomic(), SimpleNamespace(this_grid=Grid)

    @property
    def threadIdx(self) -> Any:
        return this().index

    @property
    def blockIdx(self) -> Any:
        return this().block.index

    @property
    def laneid(self) -> Any:
        return this().lane

    def threadfence(self) -> None:
        this().stores.flush()

    threadfence_block = threadfence_system = threadfence  # scopes are not told apart

    def syncthreads(self) -> None:
        _meet("syncthreads")

    def syncthreads_count(self, value: Any) -> int:
        return sum(told is True for told in _meet("syncthreads_count", bool(value)))

    def syncthreads_and(self, value: Any) -> int:
        return int(False not in _meet("syncthreads_and", bool(value)))

    def syncthreads_or(self, value: Any) -> int:
        return int(True in _meet("syncthreads_or", bool(value)))

    def syncwarp(self, mask: int = FULL) -> None:
        this().stores.flush()
        exchange("syncwarp", None, mask)

    def shfl_sync(self, mask: int, value: Any, source: int) -> Any:
        return _shuffled("shfl_sync", mask, value, int(source) % 32)

    def shfl_xor_sync(self, mask: int, value: Any, other: int) -> Any:
        return _shuffled("shfl_xor_sync", mask, value, this().lane ^ int(other))

    def shfl_down_sync(self, mask: int, value: Any, delta: int) -> Any:
        return _shuffled("shfl_down_sync", mask, value, this().lane + int(delta))

    def shfl_up_sync(self, mask: int, value: Any, delta: int) -> Any:
        return _shuffled("shfl_up_sync", mask, value, this().lane - int(delta))

    def ballot_sync(self, mask: int, value: Any) -> int:
        shown = exchange("ballot_sync", bool(value), mask)
        return sum(1 << i for i, told in enumerate(shown) if told)

    def any_sync(self, mask: int, value: Any) -> bool:
        return any(exchange("any_sync", bool(value), mask))

    def all_sync(self, mask: int, value: Any) -> bool:
        return False not in exchange("all_sync", bool(value), mask)

    def popc(self, value: int) -> int:
        return int(value).bit_count()

    def nanosleep(self, nanoseconds: int) -> None:
        this().engine.hold_up()

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return a * b + c


def _shuffled(call: str, mask: int, value: Any, source: int) -> Any:
    """What another lane shows; the lane's own value if there is no such lane."""
    thread = this()
    shown = thread.warp.wait(call, thread.lane, value, mask).shown
    found = shown[source] if 0 <= source < 32 else value
    if found is None:  # from a lane that takes no part: on a GPU it may be anything
        return np.float32(np.nan) if isinstance(value, (float, np.floating)) else -1
    return found


def _meet(call: str, value: bool | None = None) -> list[Any]:
    """Wait for the threads of the block, which must be at one line; returns what they show."""
    thread, caller = this(), sys._getframe(2)
    thread.stores.flush()
    site = call, caller.f_code, caller.f_lasti
    shown: list[Any] = thread.block.barrier.wait(site, thread.number, value).shown
    return shown


def _numpy(dtype: Any) -> np.dtype[Any]:
    """The NumPy dtype of a NumPy or Numba type."""
    of_numba = type(dtype).__module__.startswith("numba")
    found: np.dtype[Any] = np.dtype(as_dtype(dtype) if of_numba else dtype)
    return found
