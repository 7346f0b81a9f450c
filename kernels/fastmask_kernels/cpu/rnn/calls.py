"""One call of a recurrent layer's forward kernel: its plan, its memory, its threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ...cells.cell import Cell
from ...packed import wrong_packed
from ...spec import Kernel
from ..jit import CompiledKernel
from ..parallel.run import reserve, run
from .activations import CODES
from .cell_code import CellCode
from .layer import compile_layer
from .ranks import length_of_rank, raise_fault
from .sizes import SizesOf, sizes_of

_OF_STATES = "last", "steps", "first"


class LayerKernel(NamedTuple):
    """The compiled kernel of a cell, and what it needs."""

    code: CellCode
    compiled: CompiledKernel
    sizes: SizesOf
    fields: Callable[[Any], tuple[Any, ...]]  # see `fields_of`
    others: int  # states besides h
    has_gates: bool


def layer_kernel(code: CellCode, fwd: Kernel) -> LayerKernel:
    """The kernel of a cell, for calls of `fwd`."""
    others, has_gates = len(code.cell.states) - 1, code.cell.keeps_gates
    return LayerKernel(
        code, compile_layer(code), sizes_of(code), fields_of(code, fwd), others, has_gates
    )


def fields_of(code: CellCode, fwd: Kernel) -> Callable[[Any], tuple[Any, ...]]:
    """A function that picks the arguments that `run_layer` needs from a call of `fwd`.

    For an argument that a cell lacks, another one stands in.
    """
    h, other = [*code.cell.states, *code.cell.states][:2]
    return fwd.getter(
        *("out", f"{h}_last", f"{other}_last", f"{h}_steps", f"{other}_steps", "gates|x", "x"),
        *("offsets", "steps", "order", "packed", f"{h}_first", f"{other}_first"),
        *("activation|threads", "recurrent_activation|activation|threads"),
        *("reverse", "zero_masked", "threads"),
    )


def run_layer(kernel: LayerKernel, call: Any) -> None:
    """Run a forward kernel of the table.

    Args:
        kernel: from `layer_kernel`.
        call: its arguments.

    Raises:
        ValueError: the plan or the packed weights do not fit.
    """
    code, compiled, sizes_of, fields, number_of_others, has_gates = kernel
    out, h_last, c_last, h_steps, c_steps, gates, x, offsets, steps, order, *others = fields(call)
    packed, h_first, c_first, activation, gates_activation, reverse, zeros, threads = others
    if number_of_others > 1:
        c_last, c_steps, c_first = (_stack(call, code.cell, what) for what in _OF_STATES)
    elif number_of_others == 0:
        c_last, c_steps, c_first = c_last[:0], c_steps[:0], c_first[:0]
    if not has_gates:
        gates = c_steps[:0]
    rows, features, units, dtype = len(order), x.shape[2], h_first.shape[1], x.dtype
    if code.gathered:
        packed, table = packed
        features, x = 0, (table, x.ids)
    schedule, provider = reserve(
        length_of_rank,
        (offsets, order),
        rows,
        len(steps),
        features,
        units,
        code.layout.recurrent,
        code.weight_bytes(dtype),
        threads,
    )
    threads, groups, join, _, common = schedule
    size, real_size, integer_size, settings = sizes_of(
        rows, features, units, dtype, threads, groups, common
    )
    if len(packed) != size:
        pack = f"{type(call).__name__.rpartition('_')[0]}_pack"
        raise wrong_packed(pack, features, units, size, len(packed))
    if len(gates) and not len(h_steps):
        raise ValueError("gates are saved only with h_steps: give h_steps a row for each step")
    integers = np.empty(integer_size, np.int64)
    codes = CODES.get(activation, 0), CODES.get(gates_activation, 0)
    arguments = (
        out,
        h_last,
        c_last,
        h_steps,
        c_steps,
        gates,
        x,
        offsets,
        steps,
        order,
        packed,
        h_first,
        c_first,
        np.empty(real_size, dtype),
        integers,
        (
            *codes,
            1 if reverse else 0,
            1 if zeros else 0,
            code.is_bounded(*codes),
            threads,
            join,
            *settings,
        ),
    )
    ended = run(compiled.for_dtype(dtype), arguments, provider, integers)
    if ended < 0:
        raise_fault(-ended)
    if number_of_others > 1:
        for what, stack in (("last", c_last), ("steps", c_steps)):
            for state, new in zip(code.cell.states[1:], np.split(stack, number_of_others)):
                getattr(call, f"{state}_{what}")[:] = new


def _stack(call: Any, cell: Cell, what: str) -> Any:
    """The arrays of all states but h, concatenated."""
    return np.concatenate([getattr(call, f"{state}_{what}") for state in cell.states[1:]])
