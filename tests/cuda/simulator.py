"""Numba's CUDA simulator with what it lacks: warps, waiting blocks, and the project's PTX.

`install()` puts an engine of its own in place of the simulator's. Every thread of a block is a
Python thread; what lanes of a warp say to each other goes through a list that all of them see
between two barriers. Blocks run one after another, those of a cooperative kernel at once. A
thread that waits for five minutes fails. Local and shared arrays begin full of NaN, and pointers
raise where an index is negative or too large.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

PATIENCE = 300.0
FULL = 0xFFFFFFFF


class Gate:
    """A barrier that threads may leave for good: the others wait for those that are left."""

    def __init__(self, parties: int, failed: threading.Event) -> None:
        self._condition = threading.Condition()
        self._parties, self._waiting, self._round, self._failed = parties, 0, 0, failed

    def wait(self) -> None:
        with self._condition:
            mine = self._round
            self._waiting += 1
            if self._waiting >= self._parties:
                self._open()
                return
            done = self._condition.wait_for(
                lambda: self._round != mine or self._failed.is_set(), PATIENCE
            )
            if self._failed.is_set() and self._round == mine:
                raise RuntimeError("another thread failed")
            if not done:
                raise RuntimeError("threads of the kernel wait for each other for ever")

    def leave(self) -> None:
        with self._condition:
            self._parties -= 1
            if self._waiting and self._waiting >= self._parties:
                self._open()

    def wake(self) -> None:
        with self._condition:
            self._condition.notify_all()

    def _open(self) -> None:
        self._waiting = 0
        self._round += 1
        self._condition.notify_all()


class Warp:
    """Up to 32 threads that can show each other a value."""

    def __init__(self, lanes: int, failed: threading.Event) -> None:
        self.gate = Gate(lanes, failed)
        self._shown: list[Any] = [None] * 32

    def exchange(self, lane: int, value: Any) -> list[Any]:
        """What every lane shows; all lanes of the warp must come here together."""
        self._shown[lane] = value
        self.gate.wait()
        shown = list(self._shown)
        self.gate.wait()
        return shown


class Block:
    """What the threads of a block share."""

    def __init__(self, index: tuple[int, ...], threads: int, failed: threading.Event) -> None:
        self.index = index
        self.gate = Gate(threads, failed)
        self.warps = [Warp(min(32, threads - w), failed) for w in range(0, threads, 32)]
        self.arrays: dict[Any, np.ndarray] = {}
        self.lock = threading.Lock()


class Thread(threading.Thread):
    """One thread of a kernel."""

    block: Block
    number: int


class Checked(np.ndarray):
    """Memory behind a pointer, or an array of a kernel: no index is negative."""

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(_inside(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_inside(index), value)

    def __repr__(self) -> str:
        return repr(self.view(np.ndarray))


def _inside(index: Any) -> Any:
    for i in index if isinstance(index, tuple) else (index,):
        if isinstance(i, (int, np.integer)) and i < 0:
            raise IndexError(f"negative index {i} in a kernel")
    return int(index) if isinstance(index, np.integer) else index


def fresh(shape: Any, dtype: Any) -> np.ndarray:
    """Memory that nobody wrote to yet."""
    array = np.empty(shape, dtype)
    array.view("u1").fill(0xFF)  # NaN of every kind of float
    return array.view(Checked)


def this() -> Any:
    """The thread that asks."""
    return threading.current_thread()


def lane() -> int:
    return this().number % 32


def exchange(value: Any) -> list[Any]:
    """What every lane of the caller's warp shows."""
    thread = this()
    return thread.block.warps[thread.number // 32].exchange(thread.number % 32, value)


def install() -> None:
    """Replace the simulator's engine, and the project's PTX by emulations."""
    from numba.cuda.simulator import kernel, kernelapi

    from fastmask_kernels.cuda import _ptx

    sys.setswitchinterval(1e-4)
    module = _module_class(kernelapi)

    def call(self: Any, *args: Any) -> Any:
        context = kernel._get_kernel_context()
        if self._device or context is not None:
            with kernelapi.swapped_cuda_module(self.fn, context):
                return self.fn(*args)
        grid, block = kernel.normalize_kernel_dimensions(self.grid_dim, self.block_dim)
        run(module, self.fn, grid, block, self.dynshared_size, args, self)
        return None

    def run(
        module: Any, function: Any, grid: Any, block: Any, dynamic: int, args: Any, owner: Any
    ) -> None:
        values = [a.view(Checked) if isinstance(a, np.ndarray) else a for a in args]
        fake = module(grid, block, dynamic)
        with kernel._push_kernel_context(fake), kernelapi.swapped_cuda_module(function, fake):
            indices = [tuple(reversed(i)) for i in product(*map(range, reversed(grid)))]
            together = getattr(owner, "cooperative", False)
            for group in [indices] if together else [[i] for i in indices]:
                run_blocks(function, group, math.prod(block), values)

    kernel.FakeCUDAKernel.__call__ = call
    for name, emulation in EMULATIONS.items():
        setattr(_ptx, name, emulation)


def run_blocks(function: Callable[..., None], group: list[Any], size: int, args: list[Any]) -> None:
    """Run some blocks at once and raise what the first failed thread raised."""
    failed = threading.Event()
    errors: list[BaseException] = []
    threads = []
    for index in group:
        block = Block(index, size, failed)
        threads += [_thread(function, block, n, args, failed, errors) for n in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _thread(
    function: Callable[..., None],
    block: Block,
    number: int,
    args: list[Any],
    failed: threading.Event,
    errors: list[BaseException],
) -> Thread:
    warp = block.warps[number // 32]

    def work() -> None:
        try:
            with np.errstate(all="ignore"):
                function(*args)
        except BaseException as error:
            if not failed.is_set():
                errors.append(error)
            failed.set()
            for gate in (block.gate, *(w.gate for w in block.warps)):
                gate.wake()
        finally:
            block.gate.leave()
            warp.gate.leave()

    thread = Thread(target=work, daemon=True)
    thread.block, thread.number = block, number
    return thread


def _module_class(kernelapi: Any) -> Any:
    """The module `cuda` as kernels see it."""

    class Shared:
        def __init__(self, dynamic: int) -> None:
            self._dynamic = dynamic

        def array(self, shape: Any, dtype: Any, alignment: int | None = None) -> Any:
            dtype = kernelapi.numpy_support.as_dtype(dtype) if _is_numba(dtype) else dtype
            block = this().block
            caller = sys._getframe(1)
            key: Any = "dynamic" if shape == 0 else (caller.f_code, caller.f_lasti)
            with block.lock:
                if key not in block.arrays:
                    size = (self._dynamic, "u1") if shape == 0 else (shape, dtype)
                    block.arrays[key] = fresh(*size)
                memory = block.arrays[key]
            if shape == 0:
                items = self._dynamic // np.dtype(dtype).itemsize
                return memory[: items * np.dtype(dtype).itemsize].view(dtype)
            return memory

    class Local:
        def array(self, shape: Any, dtype: Any, alignment: int | None = None) -> Any:
            dtype = kernelapi.numpy_support.as_dtype(dtype) if _is_numba(dtype) else dtype
            return fresh(shape, dtype)

    class Module(kernelapi.FakeCUDAModule):
        def __init__(self, grid: Any, block: Any, dynamic: int) -> None:
            super().__init__(grid, block, 0)
            self._shared, self._local = Shared(dynamic), Local()
            self._size = block

        @property
        def threadIdx(self) -> Any:
            x, y, _ = self._size
            number = this().number
            return kernelapi.Dim3(number % x, number // x % y, number // (x * y))

        @property
        def blockIdx(self) -> Any:
            return kernelapi.Dim3(*this().block.index)

        @property
        def laneid(self) -> int:
            return lane()

        def syncthreads(self) -> None:
            this().block.gate.wait()

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
            threading.Event().wait(1e-4)

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
    a, b = np.zeros((16, depth), np.float32), np.zeros((depth, 8), np.float32)
    c = np.zeros((16, 8), np.float32)
    for number, held in enumerate(exchange(operands)):
        g, t = divmod(number, 4)
        for i in range(4):
            k = width * t + (i // 2) * 4 * width
            a[g + i % 2 * 8, k : k + width] = numbers(held[i])
        for i in range(2):
            k = width * t + i * 4 * width
            b[k : k + width, g] = numbers(held[4 + i])
        c[g, 2 * t : 2 * t + 2], c[g + 8, 2 * t : 2 * t + 2] = held[6:8], held[8:10]
    d = a @ b + c
    g, t = divmod(lane(), 4)
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


_COUNTERS = threading.Lock()


def _add_release(address: Any, value: Any) -> None:
    array, i = address
    with _COUNTERS:
        array[i] += np.uint32(value)


def _fetch_add(address: Any, value: Any) -> Any:
    array, i = address
    with _COUNTERS:
        old = array[i]
        array[i] += np.uint32(value)
    return old


def _add_to(address: Any, value: Any) -> None:
    array, i = address
    with _COUNTERS:
        array[i] += value


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
    "add_release": _add_release,
    "load_acquire": lambda address: address[0][address[1]],
    "global_address": lambda array, i: (array, int(i)),
    "shared_address": lambda array, i: (array, int(i)),
}
