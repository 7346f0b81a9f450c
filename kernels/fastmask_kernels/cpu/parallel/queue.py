"""Handing a running kernel to helper threads, inside compiled code.

A helper that had to come through the interpreter would need its lock, which the calling thread
holds between two kernels: small calls are over before it comes. So a kernel that shares its
work posts its own arguments on a board in memory, and helpers that listen there call the same
compiled function with another member's number, without meeting the interpreter at all.

The board is an int64 array: how many helpers listen, a bell that counts calls posted, and
slots, each for one running call. A slot is open while the call wants help; a helper enters it
(INSIDE), looks again whether it is open, and takes a member's number. The caller closes the
slot, and only when nobody is inside may the call's arrays be freed or the slot be used again.

A slot is taken, opened, closed and given back within one call of compiled code, which no signal,
no exception and no garbage collection can interrupt: so it can be neither lost nor taken twice.
For that reason the caller does its own part as the helpers do theirs, through the slot: whatever
a part raises ends in the slot, not in the caller.

In a program whose framework has OpenMP threads, these wait for their next work in a loop that
keeps a processor busy, and helpers of ours would have to share it with them. There a call can
have them for its members instead: it hands the slot to GOMP_parallel, the entry point that GNU's,
LLVM's and Intel's OpenMP libraries have in common.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from ..jit import compiled, inner, output
from ..simd import I32, I64, data_pointer
from .atomics import atomic_add, atomic_load, atomic_replace, atomic_store, spin_hint
from .barrier import ABORTED

SLOTS = 4  # calls that can have helpers at the same time; others work alone
LISTENERS, BELL, OPENMP, FIRST_SLOT = 0, 8, 16, 24  # a cache line apart
# OPENMP: addresses of GOMP_parallel and of omp_get_thread_num. Of a slot:
OPEN, INSIDE, NEXT_MEMBER, MEMBERS = 0, 8, 16, 24
FUNCTION, CONTROL, FAILED, TAKEN, ARGUMENTS = 25, 26, 27, 28, 32
SLOT_WORDS = 512
LISTENING = 8000  # pauses of the processor, about 0.2 ms
LEAVING = 400  # pauses that a caller waits for a helper to leave

ALONE, WORKERS, TEAM = -1, 0, 1  # who may join a call: nobody, threads of ours, of OpenMP
UNSHARED, LEFT, STILL_INSIDE, FAILURE = -1, 0, 1, 2  # what `post` returns

_i8 = types.int64
_OWNER = ir.IntType(8).as_pointer()  # two in a row are what an array knows of its memory


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
            if value.type == _OWNER and _OWNER in (values[i - 1].type, values[i + 1].type):
                # Of an array's memory, which another member must not count references to: the
                # counter lives only as long as this call. The caller keeps the memory itself.
                value = ir.Constant(_OWNER, None)
            builder.store(value, builder.gep(place, [I32(0), I32(i)]))
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
        builder.load(builder.gep(place, [I32(0), I32(i)])) for i in range(len(record.elements) - 2)
    ]
    values.append(I64(ALONE))  # this member has nothing to post
    result, exception = (builder.alloca(a.type.pointee) for a in kernel.args[:2])
    status = builder.call(kernel, [result, exception, *values, member])
    with builder.if_then(builder.icmp_signed("!=", status, ir.Constant(status.type, 0))):
        # Only indexing that is checked can fail (NUMBA_BOUNDSCHECK): let the others stop waiting.
        builder.store(I64(1), builder.gep(slot, [I64(FAILED)]))
        control = builder.inttoptr(
            builder.load(builder.gep(slot, [I64(CONTROL)])), I64.as_pointer()
        )
        # After FAILED for whoever sees it, on every processor: the caller then looks at that.
        builder.store_atomic(I64(1), builder.gep(control, [I64(ABORTED)]), "release", 8)
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


@intrinsic
def _call_team(typingctx: Any, board: Any, start: Any, members: Any) -> Any:
    """Let an OpenMP team do all members' parts of the call in a slot."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        words = data_pointer(context, builder, sig.args[0], args[0])
        slot = builder.gep(words, [args[1]])
        entry_type = ir.FunctionType(ir.VoidType(), [I64.as_pointer()])
        signature = ir.FunctionType(
            ir.VoidType(), [entry_type.as_pointer(), I64.as_pointer(), I32, I32]
        )
        address = builder.load(builder.gep(words, [I64(OPENMP)]))
        number = builder.load(builder.gep(words, [I64(OPENMP + 1)]))
        builder.store(number, builder.gep(slot, [I64(NEXT_MEMBER)]))
        entry = _team_entry(builder.module, builder.function.name + ".team", entry_type)
        parallel = builder.inttoptr(address, signature.as_pointer())
        builder.call(parallel, [entry, slot, builder.trunc(args[2], I32), I32(0)])
        return context.get_dummy_value()

    return types.void(board, _i8, _i8), codegen


def _team_entry(module: Any, name: str, signature: Any) -> Any:
    """What each thread of an OpenMP team calls: the part of the member with its number."""
    function = ir.Function(module, signature, name)
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block())
    (slot,) = function.args
    number = ir.FunctionType(I32, [])
    address = builder.load(builder.gep(slot, [I64(NEXT_MEMBER)]))
    member = builder.sext(builder.call(builder.inttoptr(address, number.as_pointer()), []), I64)
    part = ir.FunctionType(ir.VoidType(), [I64.as_pointer(), I64])
    address = builder.load(builder.gep(slot, [I64(FUNCTION)]))
    builder.call(builder.inttoptr(address, part.as_pointer()), [slot, member])
    builder.ret_void()
    return function


@inner
def _open(board: Any, start: int, members: int) -> None:
    board[start + MEMBERS] = members
    board[start + NEXT_MEMBER] = 1
    atomic_add(board, start + OPEN, 1)
    atomic_add(board, BELL, 1)


@inner
def _take_slot(board: Any) -> int:
    """Where a slot begins that is now this call's; below 0 if none is free."""
    for slot in range(SLOTS):
        start = FIRST_SLOT + slot * SLOT_WORDS
        if atomic_replace(board, start + TAKEN, 0, 1):
            # A helper may still be inside for the call before; none can enter for that one now.
            if atomic_add(board, start + INSIDE, 0) == 0:
                return start
            atomic_store(board, start + TAKEN, 0)
    return -1


@inner
def _close(board: Any, start: int, help_from: int) -> int:
    """Give the slot back; how the call has ended."""
    inside = 0
    if help_from == WORKERS:
        atomic_add(board, start + OPEN, -1)
        for _ in range(LEAVING):
            inside = atomic_add(board, start + INSIDE, 0)
            if inside == 0:
                break
            spin_hint()
    failed = atomic_load(board, start + FAILED)
    atomic_store(board, start + TAKEN, 0)
    if failed != 0:
        return FAILURE
    return STILL_INSIDE if inside else LEFT


@njit(inline="always")  # before type inference: `_record` looks at the kernel's own arguments
def post(board: Any, help_from: int, control: Any, members: int, member: int) -> int:
    """First line of a kernel that helpers may join; its other lines are one member's part.

    The last arguments of such a kernel are board, help_from and member.

    Args:
        board: int64.
        help_from: ALONE, WORKERS or TEAM.
        control: int64, the counters of the call, see `barrier`.
        members: how many may take part.
        member: this one; 0 is the calling thread.

    Returns:
        UNSHARED where this member's part is yet to be done, here: the kernel goes on, and
        returns LEFT. Else all parts are done, and the kernel returns what this returns: LEFT if
        all helpers have left, STILL_INSIDE if not, FAILURE if a part has failed.
    """
    state = UNSHARED
    # A process forked after `help_from` was found knows no OpenMP library.
    if member == 0 and (help_from == WORKERS or (help_from == TEAM and board[OPENMP] != 0)):
        start = _take_slot(board)
        if start >= 0:
            _record(board, start, control)
            board[start + FAILED] = 0
            if help_from == TEAM:
                _call_team(board, start, members)
            else:
                _open(board, start, members)
                _call(board, start, 0)
            state = _close(board, start, help_from)
    return state


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
