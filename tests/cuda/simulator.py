"""Numba's CUDA simulator with what it lacks: warps, waiting blocks, and the project's PTX.

`install()` puts an engine of its own in place of the simulator's. Every thread of a block is a
greenlet, which runs until it waits for others; what lanes of a warp say to each other goes through
a list that all of them see. Blocks run one after another, those of a cooperative kernel at once.
Threads that all wait for each other fail. Local and shared arrays begin full of NaN, and pointers
raise where an index is negative or too large.

Nothing is left to chance, but much to dice that fall alike in every run: after a barrier threads
go on from the first to the last or from the last to the first, and now and then one that is about
to touch memory of others is held up until none of them can go on without it. So what a missing
barrier allows to happen does happen soon.
"""

from __future__ import annotations

import contextvars
import math
import random
import sys
from collections import deque
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from greenlet import getcurrent, greenlet

PATIENCE = 100_000  # looks at memory that do no good before a thread has waited long enough
INTERRUPTED = 1 / 64  # of all accesses to shared and global memory
FULL = 0xFFFFFFFF


class Engine:
    """Whose turn it is among the threads of a launch."""

    def __init__(self) -> None:
        self.ready: deque[Thread] = deque()
        self._held_up: deque[Thread] = deque()
        self.dice = random.Random(0)
        self._idle = 0

    def run(self, threads: list[Thread]) -> None:
        """Run all to their ends; raises what one of them raises."""
        self.go_on(threads)
        while self.ready or self._held_up:
            (self.ready or self._held_up).popleft().switch()
        if not all(thread.dead for thread in threads):
            raise RuntimeError("threads of the kernel wait for each other for ever")

    def go_on(self, threads: list[Thread]) -> None:
        """These can run, the first or the last one first."""
        self._idle = 0
        self.ready.extend(threads if self.dice.random() < 0.5 else reversed(threads))

    def hold_up(self) -> None:
        """Let the caller go on only when no other thread can."""
        thread = this()
        self._held_up.append(thread)
        thread.parent.switch()

    def wait_a_moment(self) -> None:
        """For a thread that looks at memory again and again."""
        self._idle += 1
        if self._idle > PATIENCE:
            raise RuntimeError("a thread of the kernel waits for ever")
        self.hold_up()

    def interrupt(self) -> None:
        """Before an access to memory that threads share."""
        if self.dice.random() < INTERRUPTED:
            self.hold_up()


class Meeting:
    """What threads showed each other."""

    def __init__(self) -> None:
        self.shown: list[Any] = [None] * 32
        self._made: Any = self

    def made(self, make: Callable[[list[Any]], Any]) -> Any:
        """What `make` makes of it, which all that met ask for alike: made for the first."""
        if self._made is self:
            self._made = make(self.shown)
        return self._made


class Gate:
    """A barrier that threads may leave for good: the others wait for those that are left."""

    def __init__(self, parties: int, engine: Engine) -> None:
        self._parties, self._engine = parties, engine
        self._waiting: list[Thread] = []
        self._meeting = Meeting()

    def meet(self, place: int = 0, value: Any = None) -> Meeting:
        """Show a value to the others and wait until all have."""
        thread, meeting = this(), self._meeting
        meeting.shown[place] = value
        self._waiting.append(thread)
        self._open_for_all()
        thread.parent.switch()
        return meeting

    def leave(self) -> None:
        self._parties -= 1
        self._open_for_all()

    def _open_for_all(self) -> None:
        if self._waiting and len(self._waiting) >= self._parties:
            self._engine.go_on(self._waiting)
            self._waiting, self._meeting = [], Meeting()


class Block:
    """What the threads of a block share."""

    def __init__(self, index: Any, threads: int, engine: Engine) -> None:
        self.index = index
        self.gate = Gate(threads, engine)
        self.warps = [Gate(min(32, threads - w), engine) for w in range(0, threads, 32)]
        self.arrays: dict[Any, np.ndarray] = {}


class Thread(greenlet):
    """One thread of a kernel."""

    engine: Engine
    block: Block
    warp: Gate
    lane: int
    index: Any  # threadIdx


class Checked(np.ndarray):
    """A thread's own array: no index is negative."""

    def __getitem__(self, index: Any) -> Any:
        return _get(self, _inside(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        _set(self, _inside(index), value)

    def __repr__(self) -> str:
        return repr(self.view(np.ndarray))


class Common(Checked):
    """Memory of more than one thread, or behind a pointer."""

    def __getitem__(self, index: Any) -> Any:
        this().engine.interrupt()
        return _get(self, _inside(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        this().engine.interrupt()
        _set(self, _inside(index), value)


_get, _set = np.ndarray.__getitem__, np.ndarray.__setitem__


def _inside(index: Any) -> Any:
    for i in index if isinstance(index, tuple) else (index,):
        if isinstance(i, (int, np.integer)) and i < 0:
            raise IndexError(f"negative index {i} in a kernel")
    return int(index) if isinstance(index, np.integer) else index


def fresh(shape: Any, dtype: Any, kind: type[Checked]) -> np.ndarray:
    """Memory that nobody wrote to yet."""
    array = np.empty(shape, dtype)
    array.view("u1").fill(0xFF)  # NaN of every kind of float
    return array.view(kind)


def this() -> Any:
    """The thread that asks."""
    return getcurrent()


def lane() -> int:
    return this().lane


def exchange(value: Any) -> list[Any]:
    """What every lane of the caller's warp shows."""
    thread = this()
    return thread.warp.meet(thread.lane, value).shown


def install() -> None:
    """Replace the simulator's engine, and the project's PTX by emulations."""
    from numba.cuda.simulator import kernel, kernelapi

    from fastmask_kernels.cuda import _ptx

    module = _module_class(kernelapi)

    def call(self: Any, *args: Any) -> Any:
        context = kernel._get_kernel_context()
        if self._device or context is not None:
            with kernelapi.swapped_cuda_module(self.fn, context):
                return self.fn(*args)
        grid, block = kernel.normalize_kernel_dimensions(self.grid_dim, self.block_dim)
        fake = module(grid, block, self.dynshared_size)
        values = [a.view(Common) if isinstance(a, np.ndarray) else a for a in args]
        with kernel._push_kernel_context(fake), kernelapi.swapped_cuda_module(self.fn, fake):
            indices = [kernelapi.Dim3(*i[::-1]) for i in product(*map(range, reversed(grid)))]
            threads = [kernelapi.Dim3(*i[::-1]) for i in product(*map(range, reversed(block)))]
            together = getattr(self, "cooperative", False)
            for group in [indices] if together else [[i] for i in indices]:
                run_blocks(self.fn, group, threads, values)
        return None

    kernel.FakeCUDAKernel.__call__ = call
    for name, emulation in EMULATIONS.items():
        setattr(_ptx, name, emulation)


def run_blocks(
    function: Callable[..., None], blocks: list[Any], threads: list[Any], args: list[Any]
) -> None:
    """Run some blocks at once; indices are those that kernels see."""
    engine = Engine()
    started = []
    with np.errstate(all="ignore"):
        for index in blocks:
            block = Block(index, len(threads), engine)
            started += [_thread(function, block, n, i, args, engine) for n, i in enumerate(threads)]
        engine.run(started)


def _thread(
    function: Callable[..., None],
    block: Block,
    number: int,
    index: Any,
    args: list[Any],
    engine: Engine,
) -> Thread:
    def work() -> None:
        function(*args)
        thread.block.gate.leave()
        thread.warp.leave()

    thread = Thread(work)
    thread.gr_context = contextvars.copy_context()  # where NumPy keeps what errors are ignored
    thread.engine, thread.block, thread.index = engine, block, index
    thread.warp, thread.lane = block.warps[number // 32], number % 32
    return thread


def _module_class(kernelapi: Any) -> Any:
    """The module `cuda` as kernels see it."""

    class Shared:
        def __init__(self, dynamic: int) -> None:
            self._dynamic = dynamic

        def array(self, shape: Any, dtype: Any, alignment: int | None = None) -> Any:
            dtype = kernelapi.numpy_support.as_dtype(dtype) if _is_numba(dtype) else dtype
            arrays = this().block.arrays
            caller = sys._getframe(1)
            key: Any = "dynamic" if shape == 0 else (caller.f_code, caller.f_lasti)
            if key not in arrays:
                size = (self._dynamic, "u1") if shape == 0 else (shape, dtype)
                arrays[key] = fresh(*size, Common)
            memory = arrays[key]
            if shape == 0:
                items = self._dynamic // np.dtype(dtype).itemsize
                return memory[: items * np.dtype(dtype).itemsize].view(dtype)
            return memory

    class Local:
        def array(self, shape: Any, dtype: Any, alignment: int | None = None) -> Any:
            dtype = kernelapi.numpy_support.as_dtype(dtype) if _is_numba(dtype) else dtype
            return fresh(shape, dtype, Checked)

    class Module(kernelapi.FakeCUDAModule):
        def __init__(self, grid: Any, block: Any, dynamic: int) -> None:
            super().__init__(grid, block, 0)
            self._shared, self._local = Shared(dynamic), Local()

        @property
        def threadIdx(self) -> Any:
            return this().index

        @property
        def blockIdx(self) -> Any:
            return this().block.index

        @property
        def laneid(self) -> int:
            return lane()

        def syncthreads(self) -> None:
            this().block.gate.meet()

        def syncwarp(self, mask: int = FULL) -> None:
            exchange(None)

        def shfl_sync(self, mask: int, value: Any, source: int) -> Any:
            return exchange(value)[int(source) % 32]

        def shfl_xor_sync(self, mask: int, value: Any, other: int) -> Any:
            return exchange(value)[lane() ^ int(other)]

        def shfl_down_sync(self, mask: int, value: Any, delta: int) -> Any:
            source = lane() + int(delta)
            return exchange(value)[source if source < 32 else lane()]

        def shfl_up_sync(self, mask: int, value: Any, delta: int) -> Any:
            source = lane() - int(delta)
            return exchange(value)[source if source >= 0 else lane()]

        def ballot_sync(self, mask: int, value: Any) -> int:
            return sum(1 << i for i, told in enumerate(exchange(bool(value))) if told)

        def any_sync(self, mask: int, value: Any) -> bool:
            return any(exchange(bool(value)))

        def all_sync(self, mask: int, value: Any) -> bool:
            return all(v is not False for v in exchange(bool(value)))

        def popc(self, value: int) -> int:
            return int(value).bit_count()

        def nanosleep(self, nanoseconds: int) -> None:
            this().engine.wait_a_moment()

        def fma(self, a: Any, b: Any, c: Any) -> Any:
            return a * b + c

    return Module


def _is_numba(dtype: Any) -> bool:
    return type(dtype).__module__.startswith("numba")


# The project's PTX. Addresses are pairs of an array and an index.


def _word(x: Any) -> int:
    return int(np.float32(x).view(np.uint32))


def _single(word: Any) -> np.float32:
    return np.uint32(word).view(np.float32)


def to_tf32(x: Any) -> np.uint32:
    """Ten bits of mantissa, ties away from zero."""
    return np.uint32(((_word(x) + 0x1000) & 0xFFFFE000) & 0xFFFFFFFF)


def _bf16(x: Any) -> int:
    word = _word(x)
    return (word + 0x7FFF + (word >> 16 & 1)) >> 16 & 0xFFFF


def pack_bf16(low: Any, high: Any) -> np.uint32:
    return np.uint32(_bf16(low) | _bf16(high) << 16)


def _pair(word: Any) -> list[np.float32]:
    return [_single(int(word) << 16 & 0xFFFFFFFF), _single(int(word) & 0xFFFF0000)]


def mma_bf16(*operands: Any) -> tuple[Any, ...]:
    return _product(operands, 16, 2, _pair)


def mma_tf32(*operands: Any) -> tuple[Any, ...]:
    return _product(operands, 8, 1, lambda word: [_single(int(word) & 0xFFFFE000)])


def _product(
    operands: tuple[Any, ...], depth: int, width: int, numbers: Callable[[Any], list[Any]]
) -> tuple[Any, ...]:
    """D = A B + C from every lane's fragments; `width` numbers stand in a register."""

    def multiply(shown: list[Any]) -> np.ndarray:
        a, b = np.zeros((16, depth), np.float32), np.zeros((depth, 8), np.float32)
        c = np.zeros((16, 8), np.float32)
        for number, held in enumerate(shown):
            g, t = divmod(number, 4)
            for i in range(4):
                k = width * t + (i // 2) * 4 * width
                a[g + i % 2 * 8, k : k + width] = numbers(held[i])
            for i in range(2):
                k = width * t + i * 4 * width
                b[k : k + width, g] = numbers(held[4 + i])
            c[g, 2 * t : 2 * t + 2], c[g + 8, 2 * t : 2 * t + 2] = held[6:8], held[8:10]
        return a @ b + c

    thread = this()
    d = thread.warp.meet(thread.lane, operands).made(multiply)
    g, t = divmod(thread.lane, 4)
    return d[g, 2 * t], d[g, 2 * t + 1], d[g + 8, 2 * t], d[g + 8, 2 * t + 1]


def load_matrix(address: Any) -> tuple[Any, ...]:
    """Four 8 x 8 matrices of 16-bit items, whose rows lanes 0..7, 8..15, ... point at."""
    rows, (g, t) = exchange(address), divmod(lane(), 4)
    return tuple(_sixteen_bytes(rows[8 * i + g])[t] for i in range(4))


def _sixteen_bytes(address: Any) -> np.ndarray:
    """The four words at an address, which must be a multiple of 16 bytes into its array."""
    array, start = address
    first = start * array.dtype.itemsize
    if first % 16:
        raise ValueError(f"16 bytes are wanted at {first} bytes into an array")
    if first < 0 or first + 16 > array.nbytes:
        raise IndexError(f"16 bytes are wanted at {first} of an array of {array.nbytes}")
    return array.view(np.ndarray).view(np.uint8)[first : first + 16].view(np.uint32)


def _load_4(address: Any) -> tuple[Any, ...]:
    return tuple(_sixteen_bytes(address).view(np.float32))


def _load_4_words(address: Any) -> tuple[Any, ...]:
    return tuple(_sixteen_bytes(address))


def _store_4(address: Any, *values: Any) -> None:
    _sixteen_bytes(address).view(np.float32)[:] = values


def _store_half(address: Any, word: Any) -> None:
    array, i = address
    if array.dtype.itemsize != 2:
        raise TypeError("half a word is stored where items are whole ones")
    array[i] = np.uint16(int(word) & 0xFFFF)


def _store_word(address: Any, word: Any) -> None:
    array, i = address
    array[i] = np.uint32(word)


def _copy_16(target: Any, source: Any) -> None:
    _sixteen_bytes(target)[:] = _sixteen_bytes(source)


def _add_to(address: Any, value: Any) -> None:
    _fetch_add(address, value)


def _fetch_add(address: Any, value: Any) -> Any:
    array, i = address
    whole = array.view(np.ndarray)  # nobody comes in between
    old = whole[i]
    whole[i] += whole.dtype.type(value)
    return old


def _load_acquire(address: Any) -> Any:
    array, i = address
    this().engine.wait_a_moment()
    return array[i]


EMULATIONS: dict[str, Callable[..., Any]] = {
    "tanh_approx": lambda x: np.float32(math.tanh(x)),
    "exp2_approx": lambda x: np.exp2(np.float32(x)),
    "reciprocal_approx": lambda x: np.float32(1) / np.float32(x),
    "to_tf32": to_tf32,
    "pack_bf16": pack_bf16,
    "bits_of": lambda x: np.uint32(_word(x)),
    "float_of": _single,
    "mma_bf16": mma_bf16,
    "mma_tf32": mma_tf32,
    "load_matrix": load_matrix,
    "load_shared_4": _load_4,
    "load_constant_4": _load_4,
    "load_global_4": _load_4,
    "load_global_4_words": _load_4_words,
    "store_shared_4": _store_4,
    "store_shared_half": _store_half,
    "store_shared": _store_word,
    "copy_async_16": _copy_16,
    "copy_async_commit": lambda: None,
    "copy_async_wait": lambda: None,
    "add_to": _add_to,
    "fetch_add": _fetch_add,
    "add_release": _add_to,
    "load_acquire": _load_acquire,
    "global_address": lambda array, i: (array, int(i)),
    "shared_address": lambda array, i: (array, int(i)),
}
