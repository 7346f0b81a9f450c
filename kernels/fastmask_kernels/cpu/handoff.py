"""Handing a running kernel to helper threads, inside compiled code.

A helper that had to come through the interpreter would need its lock, which the calling thread
holds between two kernels: small calls are over before it comes. So a kernel that shares its
work posts its own arguments on a board in memory, and helpers that listen there call the same
compiled function with another member's number, without meeting the interpreter at all.

The board is an int64 array: how many helpers listen, a bell that counts calls posted, and
slots, each for one running call. A slot is open while the call wants help; a helper enters it
(INSIDE), looks again whether it is open, and takes a member's number. The caller closes the
slot, and only when nobody is inside may the call's arrays be freed or the slot be used again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from ._compile import compiled, inlined, inner, output
from .atomics import atomic_add, atomic_load, spin_hint
from .simd import I64, data_pointer
from .teamwork import ABORTED

SLOTS = 4  # calls that can have helpers at the same time; others work alone
LISTENERS, BELL, FIRST_SLOT = 0, 8, 16  # a cache line apart
OPEN, INSIDE, NEXT_MEMBER, MEMBERS, FUNCTION, CONTROL, FAILED, ARGUMENTS = (
    0,
    8,
    16,
    24,
    25,
    26,
    27,
    32,
)
SLOT_WORDS = 512
LISTENING = 8000  # pauses of the processor, about 0.2 ms
LEAVING = 400  # pauses that a caller waits for a helper to leave

LEFT, STILL_INSIDE, A_HELPER_FAILED = 0, 1, 2  # what `withdraw` returns

_i8 = types.int64


def new_board() -> NDArray[np.int64]:
    """A board on which nothing is posted."""
    return np.zeros(FIRST_SLOT + SLOTS * SLOT_WORDS, np.int64)


def slot_start(slot: int) -> int:
    """Where a slot begins on the board."""
    return FIRST_SLOT + slot * SLOT_WORDS


@intrinsic
def _record(typingctx: Any, board: Any, slot: Any, control: Any) -> Any:
    """Write the arguments of the function being compiled to the slot, and its address."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        words = data_pointer(context, builder, sig.args[0], args[0])
        start = builder.gep(words, [args[1]])
        values = builder.function.args[2:]  # after the places for its result and its exception
        record = ir.LiteralStructType([value.type for value in values])
        if context.get_abi_sizeof(record) > (SLOT_WORDS - ARGUMENTS) * 8:
            raise TypeError("a kernel's arguments do not fit into a slot")
        place = builder.bitcast(builder.gep(start, [I64(ARGUMENTS)]), record.as_pointer())
        for i, value in enumerate(values):
            builder.store(value, builder.gep(place, [ir.IntType(32)(0), ir.IntType(32)(i)]))
        function = _trampoline(context, builder.module, builder.function, record)
        counters = data_pointer(context, builder, sig.args[2], args[2])
        for word, pointer in ((FUNCTION, function), (CONTROL, counters)):
            builder.store(builder.ptrtoint(pointer, I64), builder.gep(start, [I64(word)]))
        return context.get_dummy_value()

    return types.void(board, _i8, control), codegen


def _trampoline(context: Any, module: Any, kernel: Any, record: Any) -> Any:
    """A function of (slot, member) that calls the kernel with the arguments in the slot."""
    signature = ir.FunctionType(ir.VoidType(), [I64.as_pointer(), I64])
    function = ir.Function(module, signature, kernel.name + ".member")
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block())
    slot, member = function.args
    place = builder.bitcast(builder.gep(slot, [I64(ARGUMENTS)]), record.as_pointer())
    values = [
        builder.load(builder.gep(place, [ir.IntType(32)(0), ir.IntType(32)(i)]))
        for i in range(len(record.elements) - 1)
    ]
    result, exception = (builder.alloca(a.type.pointee) for a in kernel.args[:2])
    status = builder.call(kernel, [result, exception, *values, member])
    with builder.if_then(builder.icmp_signed("!=", status, ir.Constant(status.type, 0))):
        # Only indexing that is checked can fail (NUMBA_BOUNDSCHECK): let the others stop waiting.
        builder.store(I64(1), builder.gep(slot, [I64(FAILED)]))
        control = builder.inttoptr(
            builder.load(builder.gep(slot, [I64(CONTROL)])), I64.as_pointer()
        )
        builder.store(I64(1), builder.gep(control, [I64(ABORTED)]))
    builder.ret_void()
    return function


@intrinsic
def _call(typingctx: Any, board: Any, slot: Any, member: Any) -> Any:
    """Do a member's part of the call in a slot."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        words = data_pointer(context, builder, sig.args[0], args[0])
        start = builder.gep(words, [args[1]])
        signature = ir.FunctionType(ir.VoidType(), [I64.as_pointer(), I64])
        address = builder.load(builder.gep(start, [I64(FUNCTION)]))
        builder.call(builder.inttoptr(address, signature.as_pointer()), [start, args[2]])
        return context.get_dummy_value()

    return types.void(board, _i8, _i8), codegen


@inner
def _open(board: Any, start: int, members: int) -> None:
    board[start + FAILED] = 0
    board[start + MEMBERS] = members
    board[start + NEXT_MEMBER] = 1
    atomic_add(board, start + OPEN, 1)
    atomic_add(board, BELL, 1)


@inlined
def post(board: Any, start: int, control: Any, members: int, member: int) -> None:
    """First line of a kernel that helpers may join; `member` must be its last argument.

    Args:
        board: int64.
        start: see `slot_start`; negative where no help is wanted.
        control: int64, the counters of the call, see `teamwork`.
        members: how many may take part.
        member: this one; 0 is the calling thread.
    """
    if start >= 0 and member == 0:
        _record(board, start, control)
        _open(board, start, members)


@inner
def withdraw(board: Any, start: int, member: int) -> int:
    """Last line of such a kernel: what it returns."""
    if start < 0 or member != 0:
        return LEFT
    atomic_add(board, start + OPEN, -1)
    inside = 1
    for _ in range(LEAVING):
        inside = atomic_add(board, start + INSIDE, 0)
        if inside == 0:
            break
        spin_hint()
    if atomic_load(board, start + FAILED) != 0:
        return A_HELPER_FAILED
    return STILL_INSIDE if inside else LEFT


@inner
def _help(board: Any, start: int) -> bool:
    """Take part in the call of a slot, if it still wants help."""
    if atomic_load(board, start + OPEN) == 0:
        return False
    helped = False
    atomic_add(board, start + INSIDE, 1)
    # Looked at again from inside: now the caller cannot leave unseen.
    if atomic_add(board, start + OPEN, 0) != 0:
        member = atomic_add(board, start + NEXT_MEMBER, 1)
        if member < board[start + MEMBERS]:
            _call(board, start, member)
            helped = True
    atomic_add(board, start + INSIDE, -1)
    return helped


@compiled(lambda t: types.void(output(t, 1)))
def listen(board: Any) -> None:
    """Help with whatever is posted; return when for a moment nothing was."""
    heard = -1
    while atomic_load(board, BELL) != heard:  # or rung while this thread was about to go
        atomic_add(board, LISTENERS, 1)
        idle = 0
        while idle < LISTENING:
            spin_hint()
            idle += 1
            rung = atomic_load(board, BELL)
            if rung != heard:
                heard = rung
                for slot in range(SLOTS):
                    if _help(board, FIRST_SLOT + slot * SLOT_WORDS):
                        idle = 0
        atomic_add(board, LISTENERS, -1)
