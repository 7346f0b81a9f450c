"""The kernels of any cell, made from its formula when they are first needed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ... import cells
from ...cells import Cell
from ...cells.table import CellKernels
from ...checks import checked
from ...memory import address, aligned_empty
from ...spec import cell_kernels
from ..jit import CompiledKernel
from ..packing import pack_weights, packed_size
from ..parallel import pool as _pool
from ..quantized.formats import FORMATS
from ..quantized.weights import quantized
from .backward_calls import BackwardPass
from .batch import RAGGED, time_of
from .calls import LayerKernel, layer_kernel, run_layer
from .cell_code import CellCode, code_of
from .columns import columns_of
from .packs import Packs
from .ranks import check_plan
from .step import run_step, step_kernel
from .words import matrix_of

PART_BYTES = 1 << 21  # of states in each part of a batch whose forward pass is run again
PART_ROWS = 16  # least rows of such a part: fewer would leave the kernels idle
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
    """A cell's kernels in one form, see `forms`; they compile when first called."""
    code = code_of_cell(cell, format, gathered)
    return Compiled(code, layer_kernel(code, cell_kernels(cell).fwd), step_kernel(code))


@cache
def trained(cell: Cell) -> tuple[Packs, BackwardPass]:
    """What training needs besides the forward kernel: packed weights and the backward pass."""
    columns = columns_of(cell)
    # Arguments as in `kernels_of`, so that both share one entry of the cache.
    return Packs(compiled_of(cell, None, False).code, columns), BackwardPass(columns)


def run_backward(cell: Cell, call: Any) -> None:
    """Run a cell's backward kernel; `call` has the arguments that the table lists."""
    packs, backward = trained(cell)
    features, units, dtype = call.x.shape[2], call.dout.shape[2], call.x.dtype
    again, sizes = cell.keeps_gates and not call.gates_saved, packs.sizes(features, units, dtype)
    names = ("kernel", "recurrent_kernel", "bias", *cell.vectors)
    weights = [matrix_of(getattr(call, name)) for name in names]
    packed = aligned_empty(sum(sizes[0 if again else 1 :]), dtype)
    packs.pack(packed, features, units, weights, again)
    if again:
        first = [getattr(call, f"{state}_first") for state in cell.states]
        chosen = {name: getattr(call, name) for name in (*cell.activations, *_SETTINGS)}
        plan = call.offsets, call.steps, call.order
        save_again(cell, call.gates, call.x, plan, packed[: sizes.forward], first, chosen)
        packed = packed[sizes.forward :]
    begin = address(packed)
    backward.run(call, begin, begin + sizes.recurrent * dtype.itemsize)


def save_again(
    cell: Cell,
    gates: Any,
    x: Any,
    plan: Any,
    packed: Any,
    first: Sequence[Any],
    chosen: dict[str, Any],
) -> None:
    """Run the forward pass again, to write the gates that it did not save, bit for bit the same.

    Args:
        cell: the cell.
        gates: (P, width * H); the columns that forward saves are written.
        x: (B, T, F), or (1, P, F) for a ragged batch.
        plan: offsets, steps and order.
        packed: what forward reads, see `packs`.
        first: the initial states, (B, H) each.
        chosen: activations and settings of the forward kernel, by name.
    """
    (offsets, steps, order), dtype = plan, x.dtype
    rows, time = len(order), time_of(x, len(order))
    check_plan(offsets, steps, order, time)
    layer, units = compiled_of(cell, None, False).layer, first[0].shape[1]
    saved, forward = len(cell.saved) * units, cell_kernels(cell).fwd
    step_bytes = units * len(first) * dtype.itemsize
    most = max(PART_ROWS, PART_BYTES * rows // max(x.shape[0] * x.shape[1] * step_bytes, 1))
    for begin in range(0, rows, most):
        if begin > 0:  # a worker that is late keeps the memory of its part
            _pool.pool.settle()
        part = slice(begin, min(begin + most, rows))
        start, last = offsets[part.start], offsets[part.stop]
        own = gates[start:last]
        whole = own.shape[1] == saved
        size = last - start, units
        given = {
            "out": np.empty((part.stop - begin, 0, units), dtype),
            "gates": own if whole else np.empty((size[0], saved), dtype),
            "x": x[:, start:last] if time == RAGGED else x[part],
            "offsets": offsets[begin : part.stop + 1] - start,
            "steps": steps[start:last] - (start if time == RAGGED else begin * time),
            "order": order[(order >= part.start) & (order < part.stop)] - begin,
            "packed": packed,
        }
        for state, initial in zip(cell.states, first, strict=True):
            given[f"{state}_first"] = initial[part]
            given[f"{state}_last"] = np.empty_like(initial[part])
            given[f"{state}_steps"] = np.empty(size, dtype)
        run_layer(layer, forward.call(**given, **chosen))
        if not whole:
            own[:, :saved] = given["gates"]


@cache
def kernels_of(cell: Cell, format: str | None = None, gathered: bool = False) -> CellKernels:
    """The kernels of a cell, see `spec.cell_kernels`; backward ignores format and `gathered`."""
    rows, (code, layer, step) = cell_kernels(cell), compiled_of(cell, format, gathered)

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
        run_backward(cell, call)

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
    """Where compiled kernels are kept between processes; None if no folder is writable."""
    return compiled_of(cells.lstm).layer.compiled.cache_folder
