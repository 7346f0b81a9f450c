"""A queue of running kernels, which other threads join within compiled code.

A worker that went through the interpreter would need the GIL, which the calling thread holds
between two kernels: small calls would be over before the worker joined. So a kernel that shares
its work submits its own arguments to a queue in memory, and workers that poll it call the same
compiled function with another thread number, without the interpreter.

The queue is an int64 array: how many workers listen, how many calls were submitted, slots, each
for one running call, and the state of each worker (see `workers`). A slot is open while its call
wants more threads. A worker enters it (INSIDE), checks again that it is open, and takes a thread
number. The caller closes the slot; only when nobody is inside may the call's arrays be freed or the
slot be reused.

A slot is taken, opened, closed and released within one call of compiled code, which no signal,
exception or garbage collection can interrupt: it can be neither lost nor taken twice. For the same
reason the caller runs its own part through the slot, as workers do: an error in any part is
recorded in the slot instead of being raised.

A framework's OpenMP threads keep their processors busy while they wait for work, and would compete
with our workers. There a call can use these threads instead: it hands the slot to GOMP_parallel,
the entry point that GNU's, LLVM's and Intel's OpenMP libraries have in common.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from ..jit import inner
from ..simd import I32, I64, data_pointer
from .atomics import (
    atomic_add,
    atomic_load,
    atomic_replace,
    atomic_store,
    item_pointer,
    spin_hint,
    yield_thread,
)
from .barrier import ABORTED
from .schedule import MOST_THREADS

SLOTS = 4  # calls that can be shared at the same time; others run on one thread
LISTENERS, SUBMITTED, OPENMP, ARRIVED, FIRST_SLOT = 0, 8, 16, 24, 32  # a cache line apart
# OPENMP: addresses of GOMP_parallel and of omp_get_thread_num. ARRIVED: see `workers`. Of a slot:
OPEN, INSIDE, NEXT_THREAD, THREADS = 0, 8, 16, 24
FUNCTION, CONTROL, FAILED, TAKEN, ARGUMENTS = 25, 26, 27, 28, 32
SLOT_WORDS = 512
FIRST_WORKER, WORKER_WORDS = FIRST_SLOT + SLOTS * SLOT_WORDS, 2
LEAVING = 400  # pause instructions that a caller waits for a worker to leave

ALONE, WORKERS, OPENMP_TEAM = -1, 0, 1  # who provides threads: nobody, `pool`, OpenMP
UNSHARED, LEFT, STILL_INSIDE, FAILURE = -1, 0, 1, 2  # what `submit` returns

_i8 = types.int64
_PART = ir.FunctionType(ir.VoidType(), [I64.as_pointer(), I64])  # of (slot, thread)
_OWNER = ir.IntType(8).as_pointer()  # two of these in a row are an array's owners


def new_queue() -> NDArray[np.int64]:
    """A queue without calls and without workers."""
    return np.zeros(FIRST_WORKER + MOST_THREADS * WORKER_WORDS, np.int64)


def slot_start(slot: int) -> int:
    """Where a slot begins in the queue."""
    return FIRST_SLOT + slot * SLOT_WORDS


@intrinsic
def _record(typingctx: Any, queue: Any, slot: Any, control: Any) -> Any:
    """Write the arguments and the address of the function being compiled to the slot."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        start = item_pointer(context, builder, sig, args)
        values = builder.function.args[2:]  # after the pointers to its result and its exception
        record = ir.LiteralStructType([value.type for value in values])
        if context.get_abi_sizeof(record) > (SLOT_WORDS - ARGUMENTS) * 8:
            raise TypeError("a kernel's arguments do not fit into a slot")
        place = builder.bitcast(builder.gep(start, [I64(ARGUMENTS)]), record.as_pointer())
        for i, value in enumerate(values):
            if value.type == _OWNER and _OWNER in (values[i - 1].type, values[i + 1].type):
                # An array's owner, whose references other threads must not count: the counter
                # lives only as long as this call. The caller keeps the memory alive.
                value = ir.Constant(_OWNER, None)
            builder.store(value, builder.gep(place, [I32(0), I32(i)]))
        function = _trampoline(context, builder.module, builder.function, record)
        counters = data_pointer(context, builder, sig.args[2], args[2])
        for word, pointer in ((FUNCTION, function), (CONTROL, counters)):
            builder.store(builder.ptrtoint(pointer, I64), builder.gep(start, [I64(word)]))
        return context.get_dummy_value()

    return types.void(queue, _i8, control), codegen


def _trampoline(context: Any, module: Any, kernel: Any, record: Any) -> Any:
    """A function of (slot, thread) that calls the kernel with the arguments in the slot."""
    function = ir.Function(module, _PART, kernel.name + ".thread")
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block())
    slot, thread = function.args
    place = builder.bitcast(builder.gep(slot, [I64(ARGUMENTS)]), record.as_pointer())
    values = [
        builder.load(builder.gep(place, [I32(0), I32(i)])) for i in range(len(record.elements) - 2)
    ]
    values.append(I64(ALONE))  # this thread does not submit the call again
    result, exception = (builder.alloca(a.type.pointee) for a in kernel.args[:2])
    status = builder.call(kernel, [result, exception, *values, thread])
    with builder.if_then(builder.icmp_signed("!=", status, ir.Constant(status.type, 0))):
        # Only checked indexing (NUMBA_BOUNDSCHECK) can fail: let the others stop waiting.
        builder.store(I64(1), builder.gep(slot, [I64(FAILED)]))
        address = builder.load(builder.gep(slot, [I64(CONTROL)]))
        control = builder.inttoptr(address, I64.as_pointer())
        # Release order: a thread that sees ABORTED sees FAILED, too.
        builder.store_atomic(I64(1), builder.gep(control, [I64(ABORTED)]), "release", 8)
    builder.ret_void()
    return function


def _call_part(builder: Any, slot: Any, thread: Any) -> None:
    address = builder.load(builder.gep(slot, [I64(FUNCTION)]))
    builder.call(builder.inttoptr(address, _PART.as_pointer()), [slot, thread])


@intrinsic
def _call(typingctx: Any, queue: Any, slot: Any, thread: Any) -> Any:
    """Run one thread's part of the call in a slot."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _call_part(builder, item_pointer(context, builder, sig, args), args[2])
        return context.get_dummy_value()

    return types.void(queue, _i8, _i8), codegen


@intrinsic
def _call_openmp(typingctx: Any, queue: Any, start: Any, threads: Any) -> Any:
    """Let an OpenMP team run all threads' parts of the call in a slot."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        words = data_pointer(context, builder, sig.args[0], args[0])
        slot = item_pointer(context, builder, sig, args)
        entry_type = ir.FunctionType(ir.VoidType(), [I64.as_pointer()])
        signature = ir.FunctionType(
            ir.VoidType(), [entry_type.as_pointer(), I64.as_pointer(), I32, I32]
        )
        address = builder.load(builder.gep(words, [I64(OPENMP)]))
        number = builder.load(builder.gep(words, [I64(OPENMP + 1)]))
        builder.store(number, builder.gep(slot, [I64(NEXT_THREAD)]))
        entry = _openmp_entry(builder.module, builder.function.name + ".openmp", entry_type)
        parallel = builder.inttoptr(address, signature.as_pointer())
        builder.call(parallel, [entry, slot, builder.trunc(args[2], I32), I32(0)])
        return context.get_dummy_value()

    return types.void(queue, _i8, _i8), codegen


def _openmp_entry(module: Any, name: str, signature: Any) -> Any:
    """What each thread of an OpenMP team calls: its own part of the call in a slot."""
    function = ir.Function(module, signature, name)
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block())
    (slot,) = function.args
    number = ir.FunctionType(I32, [])
    address = builder.load(builder.gep(slot, [I64(NEXT_THREAD)]))
    thread = builder.sext(builder.call(builder.inttoptr(address, number.as_pointer()), []), I64)
    _call_part(builder, slot, thread)
    builder.ret_void()
    return function


@inner
def _open(queue: Any, start: int, threads: int) -> None:
    queue[start + THREADS] = threads
    queue[start + NEXT_THREAD] = 1
    atomic_add(queue, start + OPEN, 1)
    atomic_add(queue, SUBMITTED, 1)


@inner
def _take_slot(queue: Any) -> int:
    """Take a free slot for this call; returns where it begins, or -1 if none is free."""
    for slot in range(SLOTS):
        start = FIRST_SLOT + slot * SLOT_WORDS
        if atomic_replace(queue, start + TAKEN, 0, 1):
            # A worker may still be inside for the previous call; no other can enter for that one.
            if atomic_add(queue, start + INSIDE, 0) == 0:
                return start
            atomic_store(queue, start + TAKEN, 0)
    return -1


@inner
def _close(queue: Any, start: int, provider: int) -> int:
    """Close and release the slot; returns how the call ended."""
    inside = 0
    if provider == WORKERS:
        atomic_add(queue, start + OPEN, -1)
        for _ in range(LEAVING):
            inside = atomic_add(queue, start + INSIDE, 0)
            if inside == 0:
                break
            spin_hint()
    failed = atomic_load(queue, start + FAILED)
    atomic_store(queue, start + TAKEN, 0)
    if failed != 0:
        return FAILURE
    return STILL_INSIDE if inside else LEFT


@njit(inline="always")  # before type inference: `_record` looks at the kernel's own arguments
def submit(queue: Any, provider: int, control: Any, threads: int, thread: int) -> int:
    """Let other threads join the kernel that calls this; the code after it is one thread's part.

    The last arguments of such a kernel are queue, provider and thread.

    Args:
        queue: int64.
        provider: ALONE, WORKERS or OPENMP_TEAM.
        control: int64, the counters of the call, see `barrier`.
        threads: how many may take part.
        thread: this one; 0 is the calling thread.

    Returns:
        UNSHARED if this thread's part is still to be done: the kernel goes on, and returns LEFT.
        Otherwise all parts are done, and the kernel returns the same value: LEFT if all workers
        have left, STILL_INSIDE if not, FAILURE if a part has failed.
    """
    state = UNSHARED
    # A process forked after `provider` was found knows no OpenMP library.
    if thread == 0 and (provider == WORKERS or (provider == OPENMP_TEAM and queue[OPENMP] != 0)):
        start = _take_slot(queue)
        if start >= 0:
            _record(queue, start, control)
            queue[start + FAILED] = 0
            if provider == OPENMP_TEAM:
                _call_openmp(queue, start, threads)
            else:
                _open(queue, start, threads)
                _call(queue, start, 0)
            state = _close(queue, start, provider)
    return state


@inner
def join(queue: Any, start: int) -> bool:
    """Take part in the call of a slot, if it is still open; returns whether it was."""
    if atomic_load(queue, start + OPEN) == 0:
        return False
    joined = False
    atomic_add(queue, start + INSIDE, 1)
    # Check again: from now on the caller sees that a worker is inside.
    if atomic_add(queue, start + OPEN, 0) != 0:
        thread = atomic_add(queue, start + NEXT_THREAD, 1)
        if thread < queue[start + THREADS]:
            _call(queue, start, thread)
            joined = True
    atomic_add(queue, start + INSIDE, -1)
    return joined


@inner
def settle(queue: Any, control: Any) -> None:
    """Return when no worker is inside the caller's last call, which returned STILL_INSIDE.

    For callers whose arguments are memory that is freed once they return.

    Args:
        queue: int64.
        control: int64, the counters of the call.
    """
    for slot in range(SLOTS):
        start = FIRST_SLOT + slot * SLOT_WORDS
        while queue[start + CONTROL] == control.ctypes.data:
            if atomic_add(queue, start + INSIDE, 0) == 0:
                break
            yield_thread()
