"""The kernels of any cell, made from its formula when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ... import cells
from ...cells import Cell
from ...cells.table import CellKernels
from ...checks import checked
from ...memory import aligned_empty
from ...spec import cell_kernels
from ..jit import CompiledKernel
from ..packing import pack_weights, packed_size
from ..quantized.formats import FORMATS
from ..quantized.weights import quantized
from .backward_calls import BackwardPass
from .calls import LayerKernel, layer_kernel, run_layer
from .cell_code import CellCode, code_of
from .columns import columns_of
from .ranks import check_plan
from .step import run_step, step_kernel

PART_BYTES = 1 << 21  # of states of a part of a batch whose forward pass is run again
PART_ROWS = 16  # of a part at least: fewer would leave the kernels idle
_SETTINGS = "reverse", "zero_masked", "threads"


class Compiled(NamedTuple):
    """What the forward kernels of a cell are compiled from."""

    code: CellCode
    layer: LayerKernel
    step: CompiledKernel


@cache
def code_of_cell(cell: Cell, format: str | None = None, gathered: bool = False) -> CellCode:
    """A cell as its kernels see it, see `code_of`."""
    return code_of(cell, None if format is None else FORMATS[format], gathered)


@cache
def compiled_of(cell: Cell, format: str | None = None, gathered: bool = False) -> Compiled:
    """A cell's compiled kernels, in a form; nothing is compiled yet."""
    code = code_of_cell(cell, format, gathered)
    return Compiled(code, layer_kernel(code, cell_kernels(cell).fwd), step_kernel(code))


@cache
def gradients_of(cell: Cell) -> Callable[[Any], None]:
    """A function that runs a cell backward."""
    backward = BackwardPass(columns_of(cell))

    def run(call: Any) -> None:
        if cell.keeps_gates and not call.gates_saved:
            _save_again(cell, call)
        backward.run(call)

    return run


def _save_again(cell: Cell, call: Any) -> None:
    """Run the forward pass of a backward call, to write what it has not saved: the same bits."""
    check_plan(call.offsets, call.steps, call.order, call.x.shape[1])
    code, layer, _ = compiled_of(cell, None, False)  # as `kernels_of` asks for it: one in the cache
    (rows, time, features), units, dtype = call.x.shape, call.dout.shape[2], call.x.dtype
    packed = aligned_empty(packed_size(code.layout, features, units, dtype), dtype)
    vectors = [getattr(call, name) for name in cell.vectors]
    pack_cell(code, packed, call.kernel, call.recurrent_kernel, call.bias, vectors)
    chosen = {name: getattr(call, name) for name in (*cell.activations, *_SETTINGS)}
    saved, states, forward = len(cell.saved) * units, len(cell.states), cell_kernels(cell).fwd
    most = max(PART_ROWS, PART_BYTES // max(time * units * states * dtype.itemsize, 1))
    for begin in range(0, rows, most):
        part = slice(begin, min(begin + most, rows))
        first, last = call.offsets[part.start], call.offsets[part.stop]
        order = call.order[(call.order >= part.start) & (call.order < part.stop)] - begin
        gates = call.gates[first:last]
        whole = gates.shape[1] == saved
        size = last - first, units
        given = {
            "out": np.empty((part.stop - begin, 0, units), dtype),
            "gates": gates if whole else np.empty((size[0], saved), dtype),
            "x": call.x[part],
            "offsets": call.offsets[begin : part.stop + 1] - first,
            "steps": call.steps[first:last] - begin * time,
            "order": order,
            "packed": packed,
        }
        for state in cell.states:
            given[f"{state}_first"] = getattr(call, f"{state}_first")[part]
            given[f"{state}_last"] = np.empty_like(given[f"{state}_first"])
            given[f"{state}_steps"] = np.empty(size, dtype)
        run_layer(layer, forward.call(**given, **chosen))
        if not whole:
            gates[:, :saved] = given["gates"]


@cache
def kernels_of(cell: Cell, format: str | None = None, gathered: bool = False) -> CellKernels:
    """The kernels of a cell, see `spec.cell_kernels`, in a form, which backward has not."""
    rows, (code, layer, step) = cell_kernels(cell), compiled_of(cell, format, gathered)
    gradients = gradients_of(cell)

    def size(features: int, units: int, dtype: np.dtype[Any]) -> int:
        """Length of `packed`."""
        return packed_size(code.layout, features, units, dtype)

    def pack(call: Any) -> None:
        packed, kernel, recurrent_kernel, bias, *vectors = call
        pack_cell(code, packed, kernel, recurrent_kernel, bias, vectors)

    def fwd(call: Any) -> None:
        """Fastest when `packed` begins on a cache line (see `memory`)."""
        run_layer(layer, call)

    def bwd(call: Any) -> None:
        """See `spec`."""
        gradients(call)

    def one_step(call: Any) -> None:
        run_step(code, step, call)

    return CellKernels(
        size,
        checked(pack, kernel=rows.pack),
        checked(fwd, kernel=rows.fwd),
        checked(bwd, kernel=rows.bwd),
        checked(one_step, kernel=rows.step),
    )


def pack_cell(
    code: CellCode, packed: Any, kernel: Any, recurrent_kernel: Any, bias: Any, vectors: Any = ()
) -> None:
    """Write packed weights; the arguments are as in `spec.cell_kernels`."""
    units = len(recurrent_kernel)
    of_x = in_order(kernel, code.inputs, units)
    of_h = in_order(recurrent_kernel, code.recurrents, units)
    scales = []
    if code.format is not None:
        (of_x, *of_columns), (of_h, *others) = (quantized(w, code.format) for w in (of_x, of_h))
        scales = [*of_columns, *others] if code.format.scaled else []
    pack_weights(
        packed,
        code.layout,
        of_x,
        of_h,
        in_order(bias[np.newaxis], code.biases, units)[0],
        np.stack(vectors) if len(vectors) else bias[:0].reshape(0, units),
        scales,
    )


def in_order(weights: Any, order: tuple[int, ...], units: int) -> Any:
    """Weights (rows, blocks * H) as (rows, blocks, H) in another order of blocks."""
    blocks = weights.reshape(len(weights), len(order), units)
    return blocks if _is_ascending(order) else blocks[:, order]


@cache
def _is_ascending(order: tuple[int, ...]) -> bool:
    return order == tuple(range(len(order)))


def cache_folder() -> str | None:
    """Where compiled kernels are kept between processes; None where no folder can be written."""
    return compiled_of(cells.lstm).layer.compiled.cache_folder
