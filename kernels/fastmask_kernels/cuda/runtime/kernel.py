"""Kernels: Python functions with a signature, compiled on first use, launched with few words.

Kernels take flat pointers and numbers, never arrays: an array argument costs seven launch
parameters, and each index into it a test for negative values and a multiplication by a stride.
Pointers carry no sizes, so every kernel takes sizes as well; the simulator, where pointers are
NumPy arrays, checks that no index is out of bounds. Loops with a stride that is not a constant are
`while` loops: `range` would divide 64-bit numbers to count its iterations.

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
For the parameters that it lists, the tests compile it for every architecture.
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
from numba.cuda.np.numpy_support import from_dtype

from ...cache import KernelFiles, SafeCache, note_unusable, settings_of, tell
from ...forks import COMPILING, fork_safe, fork_safe_lock
from ...sources import source_digest
from . import arguments as _arguments
from .driver import (
    SIMULATED,
    allow_shared,
    current_device,
    here,
    on_device,
    refusing,
    stream_of_launch,
    stream_on,
)

if not SIMULATED:
    from cuda.core import LaunchConfig, launch

int32, int64, float32 = types.int32, types.int64, types.float32
uint8, uint16, uint32 = types.uint8, types.uint16, types.uint32

_compiling = fork_safe_lock(COMPILING)

WARP = 32
MOST_THREADS = 1024  # in a block, CUDA's limit
UNASKED_SHARED = 48 * 1024  # CUDA's default limit of a block's shared memory, static and dynamic
THREADS = 128  # in a block, unless a kernel needs another number
LARGE_BLOCK = MOST_THREADS  # threads of a block that works alone
MOST_BLOCKS = 4096  # of one launch; kernels loop with a stride of the whole grid
MOST_READY = 1024  # launch configurations that a kernel remembers
MOST_BLOCKS_Y = 65535  # CUDA's limit in the second dimension
if SIMULATED:  # threads are slow, and small grids make every loop take several rounds
    THREADS = LARGE_BLOCK = 64
    MOST_BLOCKS = MOST_BLOCKS_Y = 2


def number(dtype: Any) -> Any:
    """Numba type of a NumPy dtype; bool is stored as uint8."""
    dtype = np.dtype(dtype)
    return types.uint8 if dtype == np.bool_ else from_dtype(dtype)


def pointer(item: Any) -> Any:
    """Type of an array argument: `x[i]` is its i-th item in memory."""
    return types.CPointer(item)


def pointers(item: Any, count: int) -> Any:
    """Type of an argument that is a tuple of arrays, to be indexed by constants."""
    return types.UniTuple(pointer(item), count)


_OLD_COOPERATIVE = "cooperative_launch"  # before cuda.core 1.0


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
        self.argtypes = tuple(map(_arguments.type_of, argtypes))
        self.cooperative = cooperative
        self.options = options or {}
        self.name = function.__name__
        flat = _arguments.flat(self.argtypes)
        self._converters = [_arguments.converter(t) for t in flat]
        self._array = next(i for i, t in enumerate(flat) if isinstance(t, types.CPointer))
        self._tuples = len(flat) > len(argtypes) or flat != self.argtypes
        self._compiled: Any = None
        # By device: the kernel, its allowed dynamic shared memory, how many blocks run at once by
        # threads and bytes, and the arguments of launches by their configuration.
        self._loaded: dict[int, Any] = {}
        self._allowed: dict[int, int] = {}
        self._most: dict[tuple[int, int, int], int] = {}
        self._ready: dict[Any, tuple[Any, Any]] = {}

    def launch(
        self,
        grid: int | tuple[int, ...],
        threads: int | tuple[int, ...],
        *args: Any,
        shared: int = 0,
    ) -> None:
        """Start the kernel on the current stream, on the device of `on_device` or of its arrays.

        Args:
            grid: number of blocks; nothing happens if it is 0.
            threads: threads in a block.
            args: a `DeviceArray` for each pointer, a number for each number, a tuple for a tuple.
            shared: bytes of dynamic shared memory.

        Raises:
            RuntimeError: the driver refuses the kernel or the launch.
            TypeError: an argument is missing or of another kind, or, in the simulator, an array has
                another dtype; a pointer to unsigned integers takes any.
            ValueError: the device does not have that much shared memory.
        """
        if SIMULATED:
            self._simulate(_three(grid), _three(threads), args, shared)
            return
        items = _arguments.flat(args) if self._tuples else args
        try:
            values = [c(a) for c, a in zip(self._converters, items, strict=True)]
        except (AttributeError, TypeError, ValueError):
            self._check(args)
            raise
        device = here()  # an empty array may be on any
        if device >= 0:
            self._start(device, grid, threads, shared, values)
            return
        device = items[self._array].device
        with on_device(device):
            self._start(device, grid, threads, shared, values)

    def _check(self, args: tuple[Any, ...]) -> None:
        _arguments.check(self.name, self.function, self.argtypes, args)

    def _start(
        self,
        device: int,
        grid: int | tuple[int, ...],
        threads: int | tuple[int, ...],
        shared: int,
        values: list[Any],
    ) -> None:
        # numba-cuda would look up device, module and types at each launch, which takes 30 us.
        ready = self._ready.get((device, grid, threads, shared))
        if ready is None:
            if not all(_three(grid)):
                return
            ready = self._prepare(device, grid, threads, shared)
        try:
            launch(stream_on(device, stream_of_launch()), *ready, *values)
        except Exception as error:
            asked = f"{grid} blocks of {threads} threads with {shared} bytes"
            raise RuntimeError(
                f"the CUDA driver refuses to launch {self.name} in {asked}: {error}"
            ) from error

    def _simulate(
        self, grid: tuple[int, ...], threads: tuple[int, ...], args: tuple[Any, ...], shared: int
    ) -> None:
        from ..simulator import launch

        self._check(args)
        if all(grid):
            values, together = map(_arguments.simulated, self.argtypes, args), self.cooperative
            launch(self.function, grid, threads, *values, shared=shared, cooperative=together)

    def _prepare(self, device: int, grid: Any, threads: Any, shared: int) -> tuple[Any, Any]:
        """A launch configuration and the kernel loaded on the current device; both are kept."""
        option = "is_cooperative" if hasattr(LaunchConfig, "is_cooperative") else _OLD_COOPERATIVE
        options = {"shmem_size": shared, option: self.cooperative}
        config = LaunchConfig(grid=_three(grid), block=_three(threads), **options)
        found = config, self._kernel_on(device, shared)
        if len(self._ready) == MOST_READY:
            self._ready.clear()
        self._ready[device, grid, threads, shared] = found
        return found

    def _kernel_on(self, device: int, shared: int) -> Any:
        """The kernel loaded on the current device, allowed `shared` bytes of dynamic memory."""
        kernel = self._loaded.get(device)
        if kernel is None:
            kernel = self._load(device)
        if shared > self._allowed[device]:
            allow_shared(kernel, device, shared)
            self._allowed[device] = shared
        return kernel

    def _load(self, device: int) -> Any:
        with refusing(f"to load {self.name} on device {device}"):
            function = self._dispatcher().library.get_cufunc()
        self._allowed[device] = UNASKED_SHARED - function.attrs.shared
        self._loaded[device] = function.kernel
        return function.kernel

    def _dispatcher(self) -> Any:
        if self._compiled is None:
            with fork_safe(_compiling):
                if self._compiled is None:
                    self._compiled = self._compile()
            tell()
        return self._compiled

    def _compile(self) -> Any:
        # Without link-time optimization the code that runs is the code that tests inspect: PTX
        # from NVVM, assembled by ptxas.
        dispatcher = cuda.jit(lto=False, **self.options)(self.function)
        try:
            dispatcher._cache = _source_cache(self.function, self.name)
        except Exception as error:  # for example, no folder is writeable
            note_unusable(str(Path(__file__).parent), error)
        # We launch the compiled kernel itself: the dispatcher would inspect the types of all
        # arguments, and warn about every small grid.
        return dispatcher.compile(self.argtypes)

    def most_blocks(self, threads: int, shared: int = 0) -> int:
        """How many blocks the current device can run at the same time."""
        if SIMULATED:
            return MOST_BLOCKS
        device = current_device()
        known = device, threads, shared
        if known not in self._most:
            with on_device(device):
                self._kernel_on(device, shared)
                blocks = self._dispatcher().max_cooperative_grid_blocks(threads, shared)
            self._most[known] = int(blocks)
        return self._most[known]


def _three(sizes: int | tuple[int, ...]) -> tuple[int, ...]:
    sizes = sizes if isinstance(sizes, tuple) else (sizes,)
    return (*sizes, 1, 1)[:3]


def _source_cache(function: Callable[..., None], name: str) -> Any:
    """Numba's disk cache with our own files, as in `cpu.jit`."""
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
"""Every family by module and name: its function, and the parameters that tests compile."""


def family(*parameters: Any) -> Callable[[Callable[..., Kernel]], Callable[..., Kernel]]:
    """Keep the kernel that a function makes for each parameter, and register it for the tests.

    Args:
        parameters: examples of the function's arguments, a tuple if it takes several; names of
            dtypes stand for the dtypes.
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
    """A kernel without parameters, as a family of its own."""

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
    """Blocks for a grid-stride loop over `items`; 0 if there are none."""
    return min(-(-items // in_block), MOST_BLOCKS)


def threads_for(items: int, most: int | None = None) -> int:
    """Threads of a block for `items`: whole warps, at most `THREADS` or `most`."""
    return min(max(-(-items // WARP), 1) * WARP, most or THREADS)


def span(items: int, lanes: int = 1) -> tuple[int, int]:
    """Blocks and threads for a grid-stride loop over `items`, with `lanes` threads for each."""
    threads = threads_for(items * lanes)
    return blocks_for(items, threads // lanes), threads


def lanes_for(items: int) -> int:
    """Lanes of a warp that share a row of `items`: a power of two, at most a warp."""
    return min(1 << max(items - 1, 0).bit_length(), WARP)


def span_rows(items: int, rows: int) -> tuple[tuple[int, int], int]:
    """Blocks and threads for `items` of each row; rows are the grid's second dimension."""
    blocks, threads = span(items)
    return (blocks, min(rows, MOST_BLOCKS_Y)), threads
