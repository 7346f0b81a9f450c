"""GPU operations that Python lacks, each with the same meaning in the simulator."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import numpy as np
from numba import cuda

from .runtime.device import SIMULATED

ALL = 0xFFFFFFFF  # lanes of a warp


def inlined(function: Callable[..., Any]) -> Any:
    """A function that kernels call, inlined so that its local arrays stay registers.

    In the simulator it stays a Python function, which saves a swap of modules at each call.
    """
    if SIMULATED:
        return called_by_kernels(function)
    return cuda.jit(device=True, forceinline=True)(function)


def of_lines(parameters: Sequence[str], lines: Sequence[str], names: dict[str, Any]) -> Any:
    """A device function from lines of source, in which every index can be a constant.

    Numba compiles one long function much faster than many short ones that call each other.
    Tracebacks and `inspect.getsource` show the lines.

    Args:
        parameters: names of its arguments.
        lines: its body.
        names: the other names that the lines use.
    """
    body = "".join(f"    {line}\n" for line in lines or ("pass",))
    known = {"__name__": __name__, **names}
    source = f"def run({', '.join(parameters)}):\n{body}"
    file = f"<a GPU's lines {sha256(source.encode()).hexdigest()[:12]}>"
    linecache.cache[file] = len(source), None, source.splitlines(True), file
    exec(compile(source, file, "exec"), known)
    return inlined(known["run"])


def in_turn(functions: list[Any]) -> Any:
    """A device function that calls the given ones in turn with its own arguments.

    This is an unrolled loop: an array stays in registers only if every index is a constant, and
    the compiler does not unroll loops with long bodies.
    """
    if not functions:

        @inlined
        def nothing(*args: Any) -> None:
            pass

        return nothing
    if len(functions) == 1:
        return functions[0]
    half = len(functions) // 2
    before, after = in_turn(functions[:half]), in_turn(functions[half:])

    @inlined
    def both(*args: Any) -> None:
        before(*args)
        after(*args)

    return both


if SIMULATED:
    import threading

    from numba.cuda.simulator.kernel import _get_kernel_context

    from .simulator._names import called_by_kernels

    _lock = threading.Lock()

    class _Device:
        """`numba.cuda` as running kernels see it, for functions in other files."""

        def __getattr__(self, name: str) -> Any:
            return getattr(_get_kernel_context(), name)

    device: Any = _Device()

    def load4(array: Any, index: int) -> Any:
        """array[index : index + 4] as a tuple."""
        if index % 4:
            raise IndexError(f"index {index} of a 4-number access is not a multiple of 4")
        return array[index], array[index + 1], array[index + 2], array[index + 3]

    def store4(array: Any, index: int, four: Any) -> None:
        """array[index : index + 4] = four."""
        if index % 4:
            raise IndexError(f"index {index} of a 4-number access is not a multiple of 4")
        array[index], array[index + 1], array[index + 2], array[index + 3] = four

    def fma(a: Any, b: Any, c: Any) -> Any:
        """a * b + c."""
        return a * b + c

    def take_ticket(counter: Any) -> int:
        """Return counter[0] and add 1 to it."""
        memory = np.asarray(counter)  # the simulator's arrays may switch threads at any access
        with _lock:
            ticket = int(memory[0])
            memory[0] = ticket + 1
        return ticket

else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.extending import intrinsic
    from numba.cuda.typing import signature

    device = cuda

    def _four_at(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
        """A pointer to four adjacent items as one vector."""
        data = array
        if not isinstance(kind, types.CPointer):
            data = context.make_array(kind)(context, builder, array).data
        vector = ir.VectorType(data.type.pointee, 4)
        return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())

    @intrinsic
    def load4(typingctx: Any, array: Any, index: Any) -> Any:
        """array[index : index + 4] as a tuple, in accesses of 16 bytes; `index` is aligned."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            loaded = builder.load(_four_at(context, builder, sig.args[0], *args))
            loaded.align = 16
            parts = [
                builder.extract_element(loaded, ir.Constant(ir.IntType(32), i)) for i in range(4)
            ]
            return context.make_tuple(builder, sig.return_type, parts)

        return signature(types.UniTuple(array.dtype, 4), array, index), codegen

    @intrinsic
    def store4(typingctx: Any, array: Any, index: Any, four: Any) -> Any:
        """array[index : index + 4] = four, in accesses of 16 bytes; `index` is aligned."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            place = _four_at(context, builder, sig.args[0], *args[:2])
            vector = ir.Constant(place.type.pointee, ir.Undefined)
            for i in range(4):
                item = builder.extract_value(args[2], i)
                vector = builder.insert_element(vector, item, ir.Constant(ir.IntType(32), i))
            builder.store(vector, place, align=16)
            return context.get_dummy_value()

        return signature(types.none, array, index, four), codegen

    @intrinsic
    def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
        """a * b + c, rounded once."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.fma(*args)

        return signature(a, a, a, a), codegen

    @intrinsic
    def take_ticket(typingctx: Any, counter: Any) -> Any:
        """Return counter[0] and add 1 to it, atomically."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            one = ir.Constant(args[0].type.pointee, 1)
            return builder.atomic_rmw("add", args[0], one, "monotonic")

        return signature(counter.dtype, counter), codegen


@inlined
def meet_block() -> None:
    """Wait for all threads of the block."""
    device.syncthreads()


@inlined
def meet_warp() -> None:
    """Wait for all lanes of the warp, and see what they wrote."""
    device.syncwarp()


@inlined
def thread_of_block() -> Any:
    """Number of the thread in its block."""
    return device.threadIdx.x


@inlined
def shuffle_xor(value: Any, distance: int) -> Any:
    """The value of the lane whose number is this lane's xor `distance`."""
    return device.shfl_xor_sync(ALL, value, distance)
