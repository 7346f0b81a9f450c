"""The kernel of a time loop, forward or backward: a thread's arrays, then its turns."""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import cuda

from ..runtime.kernel import Kernel, int32, int64, kernel, number, pointer, uint32
from .loop_groups import Layer, Thread, make_run, turns_of
from .loop_products import Products


class Parts(NamedTuple):
    """What makes up a loop besides its products."""

    name: str  # shown by profilers
    call: Any  # Numba types of the arrays of this direction
    sizes: tuple[int, int, int, int]  # lengths of a thread's `values`, `now`, `operand` and `given`
    fetch: Any  # device function of (thread, call): loads what stays constant
    open: Any  # of (thread, call, turn, first step)
    step: Any  # of (thread, call, step)
    close: Any  # of (thread, call, turn)
    forth: int  # 1 from the first step to the last, -1 from the last to the first
    units: int  # H, or 0 if it is only known at run time
    width: int  # of a row of z, if H is known
    reverse: bool | None  # the direction of the layer, None if only known at run time


def loop_of(products: Products, dtype: Any, parts: Parts) -> Kernel:
    """The kernel, called with a direction's arrays and a `Layer`."""
    turns, forth = turns_of(products), parts.forth
    run_turns = make_run(turns, parts.open, parts.step, parts.close, forth)
    who, fetch, fetch_own = turns.who, products.fetch, parts.fetch
    real, word, item, zero = number(dtype), products.word, products.item, dtype.type(0)
    held_size, second_held_size = (max(n, 1) for n in (*products.held, 0)[:2])
    values_size, now_size, operand_size, given_size = (max(n, 1) for n in parts.sizes)
    sums_size, per, threads = products.sums_size, products.per, products.threads
    blocks, told_size = max(products.blocks, 1), products.groups + 1
    all_units, all_width, is_known = parts.units, parts.width, parts.reverse is not None
    reverse = bool(parts.reverse)
    # With a constant stride the compiler gives every pointer its own registers and adds to it at
    # each step; where registers are short, addresses are computed from the row instead.
    is_constant = is_known and not products.tight
    constant = -forth if reverse else forth
    pointers = pointer(word), int64, pointer(int64), pointer(int64), *(int64,) * 4
    layer_type = Layer(*pointers, pointer(uint32), pointer(item), int64)

    def run(c: Any, layer: Any) -> None:
        words = cuda.shared.array(0, word, alignment=16)
        items = cuda.shared.array(0, item, alignment=16)
        partial = cuda.shared.array(0, real, alignment=16)
        told = cuda.shared.array(told_size, int32)
        held = cuda.local.array(held_size, word), cuda.local.array(second_held_size, word)
        sums, values = cuda.local.array(sums_size, real), cuda.local.array(values_size, real)
        now, given = cuda.local.array(now_size, real), cuda.local.array(given_size, real)
        operand, count = cuda.local.array(operand_size, real), cuda.local.array(per, int32)
        row, at = cuda.local.array(per, int64), cuda.local.array(per, int64)
        to, state = cuda.local.array(per, int64), cuda.local.array(per, int64)
        met = cuda.local.array(1, uint32)
        units, width, reversed_ = layer.units, layer.width, layer.reverse
        if all_units:
            units, width = all_units, all_width
        if is_known:
            reversed_ = reverse
        ahead = forth - 2 * forth * layer.reverse
        if is_constant:
            ahead = constant
        tid = int32(cuda.threadIdx.x)
        copy, block, unit, pair, leads, at_once = who(tid, cuda.blockIdx.x, units, layer.groups)
        t = Thread(
            *(tid, copy, cuda.gridDim.x // blocks, block, unit, pair, leads, at_once),
            *(units, width, reversed_, ahead, layer, told, words, items, partial),
            *(held, sums, values, now, operand, given, count, row, at, to, state, met),
        )
        met[0] = uint32(0)
        for i in range(values_size):
            values[i] = zero
        fetch(t)
        fetch_own(t, c)
        run_turns(t, c)

    run.__name__ = run.__qualname__ = parts.name
    made = kernel(parts.call, layer_type, cooperative=products.together, launch_bounds=(threads, 1))
    return made(run)
