"""Kernels: Python functions with a signature, compiled on first use, launched with few words.

Kernels take flat pointers and numbers, never arrays: an array argument costs seven parameters
of the launch, and each of its indices a test for being negative and a product with a stride.
Pointers do not know where they end, so every kernel has its sizes beside them; that no index
leaves its array is what the simulator checks, where pointers are NumPy arrays. Loops with a stride
that is not a constant are `while` loops: `range` divides 64-bit numbers to count its rounds.

    @family("f4", "f8")
    def _scale(dtype):
        real = number(dtype)
        half = dtype.type(0.5)                # a literal 0.5 would be a double

        @kernel(pointer(real), pointer(real), int64)
        def scale(out, x, count):
            i = cuda.grid(1)
            while i < count:
                out[i] = half * x[i]
                i += cuda.gridsize(1)

        return scale

    _scale(x.dtype).launch(*span(x.size), out, x, x.size)

A family makes one kernel for each parameter (a dtype, a size known when compiling) and keeps it.
Those parameters that it lists are what the tests compile for every architecture.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numba import cuda
from numba.cuda import types
from numba.cuda.np.numpy_support import as_dtype, from_dtype
from numpy.ctypeslib import as_ctypes_type

from ...cache import KernelFiles, SafeCache, note_unusable, settings_of, tell
from ...forks import COMPILING, fork_safe, fork_safe_lock
from ...sources import source_digest
from .device import DeviceArray, host_view
from .driver import SIMULATED, allow_shared, on_device, stream_of_launch

int32, int64, float32 = types.int32, types.int64, types.float32
uint8, uint16, uint32 = types.uint8, types.uint16, types.uint32

_compiling = fork_safe_lock(COMPILING)

WARP = 32
MOST_THREADS = 1024  # in a block, by the rules of CUDA
STATIC_SHARED = 48 * 1024  # bytes of shared memory that a block may have unasked
THREADS = 128  # in a block, where a kernel has no reason for another number
LARGE_BLOCK = MOST_THREADS  # threads of a block that works alone
MOST_BLOCKS = 4096  # of one launch; kernels loop with a stride of the whole grid
MOST_BLOCKS_Y = 65535  # what CUDA allows in the second dimension
if SIMULATED:  # which takes long for each thread; and so every loop takes several rounds
    THREADS = LARGE_BLOCK = 64
    MOST_BLOCKS = MOST_BLOCKS_Y = 2


def number(dtype: Any) -> Any:
    """Numba type of a NumPy dtype; bool is stored as uint8."""
    dtype = np.dtype(dtype)
    return types.uint8 if dtype == np.bool_ else from_dtype(dtype)


def pointer(item: Any) -> Any:
    """Type of an argument that is an array: `x[i]` is its i-th item in memory."""
    return types.CPointer(item)


def pointers(item: Any, count: int) -> Any:
    """Type of an argument that is a tuple of arrays, of which a kernel takes each by a constant."""
    return types.UniTuple(pointer(item), count)


def _cooperative_option() -> str:
    """What cuda.core calls it, which numba-cuda knows."""
    if SIMULATED:
        return ""
    from numba.cuda import dispatcher

    return "is_cooperative" if dispatcher.CUDA_CORE_GE_1_0 else "cooperative_launch"


_COOPERATIVE = _cooperative_option()


class Kernel:
    """A function for the GPU with one signature, compiled on first use.

    Args:
        function: source of the kernel.
        argtypes: Numba types of its arguments: `pointer`s, numbers, and tuples of them.
        cooperative: all blocks run at the same time, so that they can wait for each other.
        options: of `numba.cuda.jit`, such as `launch_bounds`.
    """

    def __init__(
        self,
        function: Callable[..., None],
        argtypes: tuple[Any, ...],
        cooperative: bool = False,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.function = function
        self.argtypes = tuple(map(_type_of, argtypes))
        self.cooperative = cooperative
        self.options = options or {}
        self.name = function.__name__
        self._ctypes = [
            None if isinstance(t, types.CPointer) else as_ctypes_type(as_dtype(t))
            for t in _flat(self.argtypes)
        ]
        self._compiled: Any = None
        self._allowed: dict[int, int] = {}  # bytes that were asked for, by device

    def launch(
        self,
        grid: int | tuple[int, ...],
        threads: int | tuple[int, ...],
        *args: Any,
        shared: int = 0,
    ) -> None:
        """Start the kernel on the device of its arrays and on the current stream.

        Args:
            grid: number of blocks; nothing is done where it is 0.
            threads: threads in a block.
            args: a `DeviceArray` for each pointer, a number for each number, a tuple for a tuple.
            shared: bytes of dynamic shared memory.
        """
        grid, threads = _three(grid), _three(threads)
        if not all(grid):
            return
        if SIMULATED:
            from ..simulator import launch

            values = map(_simulated, self.argtypes, args)
            together = self.cooperative
            launch(self.function, grid, threads, *values, shared=shared, cooperative=together)
            return
        args = _flat(args)
        device = next(a.device for a in args if isinstance(a, DeviceArray))
        with on_device(device):
            compiled = self._dispatcher()
            if shared > STATIC_SHARED and self._allowed.get(device, 0) < shared:
                allow_shared(compiled, device, shared)
                self._allowed[device] = shared
            self._start(compiled, grid, threads, shared, args)

    def _start(
        self,
        compiled: Any,
        grid: tuple[int, ...],
        threads: tuple[int, ...],
        shared: int,
        args: tuple[Any, ...],
    ) -> None:
        # As `compiled.launch` does, which takes 11 us for the types of 20 arguments; this 1.5.
        from numba.cuda import dispatcher

        values = [a.address if c is None else c(a) for c, a in zip(self._ctypes, args, strict=True)]
        cooperative = {_COOPERATIVE: compiled.cooperative}
        config = dispatcher.LaunchConfig(grid=grid, block=threads, shmem_size=shared, **cooperative)
        kernel = compiled.library.get_cufunc().kernel
        dispatcher.launch(stream_of_launch(), config, kernel, *values)

    def _dispatcher(self) -> Any:
        if self._compiled is None:
            with fork_safe(_compiling):
                if self._compiled is None:
                    self._compiled = self._compile()
            tell()
        return self._compiled

    def _compile(self) -> Any:
        # Without link-time optimisation what runs is what the tests look at: PTX from NVVM,
        # assembled by ptxas.
        dispatcher = cuda.jit(lto=False, **self.options)(self.function)
        try:
            dispatcher._cache = _source_cache(self.function, self.name)
        except Exception as error:  # no folder can be written, for one
            note_unusable(str(Path(__file__).parent), error)
        # What is compiled is launched itself: the dispatcher would look at the types of all
        # arguments, and warn of every small grid.
        compiled = dispatcher.compile(self.argtypes)
        compiled.cooperative = compiled.cooperative or self.cooperative
        return compiled

    def most_blocks(self, threads: int, shared: int = 0) -> int:
        """How many blocks the current device can run at the same time."""
        if SIMULATED:
            return MOST_BLOCKS
        if shared > STATIC_SHARED:
            allow_shared(self._dispatcher(), cuda.get_current_device().id, shared)
        return int(self._dispatcher().max_cooperative_grid_blocks(threads, shared))


def _type_of(argtype: Any) -> Any:
    """The Numba type of an argument that is a tuple, named or not, from a tuple of types."""
    if not isinstance(argtype, tuple):
        return argtype
    items = tuple(map(_type_of, argtype))
    named = hasattr(argtype, "_fields")
    return types.NamedTuple(items, type(argtype)) if named else types.Tuple(items)


def _flat(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arguments, or their types, one by one: a tuple reaches a kernel as its items."""
    items: list[Any] = []
    for a in args:
        items.extend(_flat(a) if isinstance(a, (tuple, types.BaseTuple)) else (a,))
    return tuple(items)


def _three(sizes: int | tuple[int, ...]) -> tuple[int, ...]:
    sizes = sizes if isinstance(sizes, tuple) else (sizes,)
    return (*sizes, 1, 1)[:3]


def _simulated(argtype: Any, value: Any) -> Any:
    if isinstance(value, DeviceArray):
        return host_view(value, as_dtype(argtype.dtype))
    if isinstance(value, tuple):
        return getattr(type(value), "_make", tuple)(map(_simulated, argtype, value))
    return as_dtype(argtype).type(value)


def _source_cache(function: Callable[..., None], name: str) -> Any:
    """Numba's disk cache in files of ours, as in `cpu.jit`."""
    from numba.cuda.core import config
    from numba.cuda.dispatcher import CUDACache
    from numba.cuda.serialize import dumps

    class SourceCache(SafeCache, CUDACache):  # type: ignore[misc]  # Numba is Any here
        def __init__(self) -> None:
            super().__init__(function)
            base = self._impl.filename_base
            self._cache_file = KernelFiles(self._cache_path, base, dumps)

        def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, Any]:
            here = sig, codegen.magic_tuple(), name, settings_of(config)
            made_by = version("numba-cuda"), np.__version__
            return here, (made_by, self._impl.locator.get_source_stamp(), source_digest())

    return SourceCache()


def kernel(
    *argtypes: Any, cooperative: bool = False, **options: Any
) -> Callable[[Callable[..., None]], Kernel]:
    """Decorator form of `Kernel`."""
    return lambda function: Kernel(function, argtypes, cooperative, options)


FAMILIES: dict[str, tuple[Callable[..., Kernel], tuple[Any, ...]]] = {}
"""Every family by module and name: its function, and the parameters to compile in tests."""


def family(*parameters: Any) -> Callable[[Callable[..., Kernel]], Callable[..., Kernel]]:
    """Keep what a function makes for each parameter, and tell the tests of it.

    Args:
        parameters: examples of the function's arguments, a tuple where it takes several; names
            of dtypes stand for these.
    """

    def decorate(make: Callable[..., Kernel]) -> Callable[..., Kernel]:
        @cache
        def made(*args: Any) -> Kernel:
            result = make(*args)
            result.name = f"{make.__name__.strip('_')}({', '.join(map(str, args))})"
            return result

        examples = tuple(
            tuple(np.dtype(a) if isinstance(a, str) else a for a in given)
            for given in (p if isinstance(p, tuple) else (p,) for p in parameters)
        )
        _register(make, made, examples)
        return made

    return decorate


def single(*argtypes: Any) -> Callable[[Callable[..., None]], Kernel]:
    """A kernel without parameters, which is a family of its own."""

    def decorate(function: Callable[..., None]) -> Kernel:
        made = Kernel(function, argtypes)
        made.name = function.__name__.strip("_")
        _register(function, lambda: made, ((),))
        return made

    return decorate


def _register(
    source: Callable[..., Any], make: Callable[..., Kernel], examples: tuple[Any, ...]
) -> None:
    FAMILIES[f"{source.__module__.rpartition('.')[2]}.{source.__name__}"] = make, examples


def blocks_for(items: int, in_block: int) -> int:
    """Blocks for a loop over `items` with a stride of the grid; 0 for none."""
    return min(-(-items // in_block), MOST_BLOCKS)


def threads_for(items: int, most: int | None = None) -> int:
    """Threads of a block for `items`: whole warps, at most `THREADS` or `most`."""
    return min(max(-(-items // WARP), 1) * WARP, most or THREADS)


def span(items: int, lanes: int = 1) -> tuple[int, int]:
    """Blocks and threads for a loop over `items`, `lanes` threads for each; strides are grids."""
    threads = threads_for(items * lanes)
    return blocks_for(items, threads // lanes), threads


def lanes_for(items: int) -> int:
    """Lanes of a warp that share a row of `items`: a power of two, at most a warp."""
    return min(1 << max(items - 1, 0).bit_length(), WARP)


def span_rows(items: int, rows: int) -> tuple[tuple[int, int], int]:
    """Blocks and threads for `items` of each row; rows are the grid's second dimension."""
    blocks, threads = span(items)
    return (blocks, min(rows, MOST_BLOCKS_Y)), threads
