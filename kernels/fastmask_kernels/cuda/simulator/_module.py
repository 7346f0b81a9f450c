"""The module `cuda` as kernels see it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from difflib import get_close_matches
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba.cuda import types
from numba.cuda.np.numpy_support import as_dtype
from numba.cuda.simulator import kernelapi

from ._barriers import FULL, exchange, this
from ._items import item
from ._memory import Checked, Common, converted, fresh, inside
from ._stores import differs

ATOMICS = (
    *("add", "sub", "max", "min", "nanmax", "nanmin", "and_", "or_", "xor", "inc", "dec", "exch"),
    *("cas", "compare_and_swap"),
)


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
        if name not in ATOMICS:
            raise AttributeError(_lacks(f"atomic.{name}", [f"atomic.{one}" for one in ATOMICS]))
        at_first = name == "compare_and_swap"  # which is `cas` of the first item
        operation = getattr(kernelapi.FakeCUDAAtomic, "cas" if at_first else name)

        def run(array: Any, *args: Any) -> Any:
            thread, whole = this(), np.asarray(array)
            index, *given = ((0,) * array.ndim, *args) if at_first else args
            index = _place(array, index)
            thread.engine.interrupt()  # some threads poll for what others store
            thread.stores.flush_place(array, index)
            before = operation(self, whole, index, *(converted(whole, one) for one in given))
            progress = thread.engine.progress
            if progress.turns >= progress.watched and differs(whole, index, before):
                progress.made()
            return item(before)

        return run


def _place(array: Any, index: Any) -> Any:
    """The index of one item."""
    given = len(index) if isinstance(index, tuple) else 1
    if given != array.ndim:
        raise IndexError(f"{given} indices of an array of {array.ndim} dimensions in an atomic")
    return inside(index)


class Grid:
    """All blocks of a cooperative launch."""

    def sync(self) -> None:
        """Wait for all threads of all blocks.

        Raises:
            RuntimeError: the launch is not cooperative.
        """
        if this().block.grid is None:
            raise RuntimeError(
                "blocks can wait for each other only in cooperative launches: pass cooperative=True"
            )
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
        self._const = SimpleNamespace(array_like=_constant)

    def __getattr__(self, name: str) -> Any:
        """A type of Numba; the simulator has nothing else that is not defined here."""
        found = getattr(types, name, None)
        if isinstance(found, types.Type):
            return found
        raise AttributeError(_lacks(name, NAMES))

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
        return _shuffled("shfl_xor_sync", mask, value, this().lane ^ int(other) % 32)

    def shfl_down_sync(self, mask: int, value: Any, delta: int) -> Any:
        return _shuffled("shfl_down_sync", mask, value, this().lane + int(delta) % 32)

    def shfl_up_sync(self, mask: int, value: Any, delta: int) -> Any:
        return _shuffled("shfl_up_sync", mask, value, this().lane - int(delta) % 32)

    def ballot_sync(self, mask: int, value: Any) -> Any:
        return _lanes(exchange("ballot_sync", bool(value), mask), True)

    def any_sync(self, mask: int, value: Any) -> bool:
        return any(exchange("any_sync", bool(value), mask))

    def all_sync(self, mask: int, value: Any) -> bool:
        return False not in exchange("all_sync", bool(value), mask)

    def eq_sync(self, mask: int, value: Any) -> bool:
        return len({*exchange("eq_sync", bool(value), mask)} - {None}) == 1

    def match_any_sync(self, mask: int, value: Any) -> Any:
        own = _compared(value)
        return _lanes(exchange("match_any_sync", own, mask), own)

    def match_all_sync(self, mask: int, value: Any) -> tuple[Any, bool]:
        own = _compared(value)
        shown = exchange("match_all_sync", own, mask)
        same = {*shown} - {None} == {own}
        return (_lanes(shown, own) if same else 0), same

    def activemask(self) -> int:
        return int(this().warp.present)

    def lanemask_lt(self) -> int:
        return int((1 << this().lane) - 1)

    def popc(self, value: int) -> int:
        return _bits(value).count("1")

    def clz(self, value: int) -> int:
        return len(_bits(value)) - len(_bits(value).lstrip("0"))

    def ffs(self, value: int) -> int:
        return _bits(value)[::-1].find("1") + 1

    def brev(self, value: int) -> int:
        return int(_bits(value)[::-1], 2)

    def cbrt(self, value: Any) -> Any:
        return np.cbrt(value)

    def ldca(self, array: Any, index: Any) -> Any:
        return array[index]

    ldcg = ldcs = ldcv = ldlu = ldca  # caches are not told apart

    def stcg(self, array: Any, index: Any, value: Any) -> None:
        array[index] = value

    stcs = stwb = stwt = stcg

    def nanosleep(self, nanoseconds: int) -> None:
        this().engine.hold_up()

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return a * b + c


def _lacks(name: str, has: list[str]) -> str:
    """What to say of a name that a kernel uses."""
    near = get_close_matches(name, has, 1)
    known = f"did you mean cuda.{near[0]}?" if near else f"it has {', '.join(has)}"
    return f"the simulator lacks cuda.{name}: {known}"


def _constant(array: Any) -> Any:
    """An array of constants."""
    found = np.array(array).view(Checked)
    found.setflags(write=False)
    return found


def _lanes(shown: list[Any], value: Any) -> Any:
    """The mask of the lanes that show a value, with the sign that Numba gives it as an int32."""
    mask = sum(1 << i for i, told in enumerate(shown) if told == value)
    return np.int64(mask - (mask >> 31 << 32))


def _compared(value: Any) -> Any:
    """A number that equals another one if their bits are the same."""
    return np.float64(value).tobytes() if isinstance(value, (float, np.floating)) else int(value)


def _bits(value: Any) -> str:
    """The digits of an integer of 32 bits, or of 64 if it does not fit into 32."""
    width = 32 if -(2**31) <= value < 2**32 else 64
    return f"{int(value) & (1 << width) - 1:0{width}b}"


NAMES = sorted({n for n in dir(Module) if n[0] != "_"} - {"fp16"} | {"blockDim", "gridDim"})


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
