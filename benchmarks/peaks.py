"""What the processor does at best: multiply-adds alone, in registers, each kind that kernels use.

The report's shares of the peak are shares of this. A compiled loop works on as many sums as two
units with a latency of four to six cycles can have in flight, on every thread at once.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from fastmask_kernels.cpu.quantized.formats import FORMATS, words_type
from fastmask_kernels.cpu.simd import Emitter, data_pointer, lanes

FLOAT32 = "float32"
KINDS = (FLOAT32, *FORMATS)
CHAINS = 12
ROUNDS = 20_000
ROUNDS_OF_THREADS = 2_000_000  # for several threads, which have to be woken

Words = npt.NDArray[np.float32]


def operations(kind: str, rounds: int = ROUNDS) -> int:
    """Multiplications and additions of one call, of one thread."""
    group = 1 if kind == FLOAT32 else FORMATS[kind].group
    return 2 * CHAINS * lanes(np.float32) * group * rounds


def peak_call(kind: str = FLOAT32) -> Callable[[], object]:
    """`operations(kind)` of them, on the calling thread."""
    loop, sums = _LOOPS[kind], _sums()
    loop(sums, 1)
    return lambda: loop(sums, ROUNDS)


def threads_call(kind: str, threads: int) -> Callable[[], object]:
    """`operations(kind, ROUNDS_OF_THREADS)` of them, on each of several threads."""
    loop, each = _LOOPS[kind], [_sums() for _ in range(threads)]
    pool = ThreadPoolExecutor(threads)
    loop(each[0], 1)
    return lambda: list(pool.map(lambda sums: loop(sums, ROUNDS_OF_THREADS), each))


def _sums() -> Words:
    return np.zeros(CHAINS * lanes(np.float32), np.float32)


def _loop_of(kind: str) -> Callable[[Words, int], None]:
    @intrinsic  # type: ignore[untyped-decorator]  # Numba is Any
    def body(typingctx: Any, sums: Any, rounds: Any) -> Any:  # noqa: ARG001 - Numba's
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            emit = Emitter(builder, sums.dtype)
            place = data_pointer(context, builder, sig.args[0], args[0])
            update = _update(emit, kind)
            chains = [emit.variable(emit.load(place, i * emit.lanes)) for i in range(CHAINS)]
            with emit.loop(args[1]):
                for read, write in chains:
                    write(update(read()))
            for i, (read, _) in enumerate(chains):
                emit.store(read(), place, i * emit.lanes)
            return context.get_dummy_value()

        return types.void(sums, types.int64), codegen

    @njit(nogil=True)  # type: ignore[untyped-decorator]  # Numba is Any
    def loop(sums: Words, rounds: int) -> None:
        body(sums, rounds)

    compiled: Callable[[Words, int], None] = loop
    return compiled


def _update(emit: Emitter, kind: str) -> Callable[[Any], Any]:
    """Sums after one multiply-add, or dot product of words, that no compiler can remove."""
    if kind == FLOAT32:
        half, one = emit.const(0.5), emit.const(1.0)
        return lambda sums: emit.fma(sums, half, one)
    one_kind, b = FORMATS[kind], emit.builder
    row = ir.Constant(words_type(emit), [0x01010101] * emit.lanes)

    def update(sums: Any) -> Any:
        typed = b.bitcast(sums, one_kind.sums_type(emit))
        return b.bitcast(one_kind.dot(emit, typed, row, row), emit.vector)

    return update


_LOOPS = {kind: _loop_of(kind) for kind in KINDS}
