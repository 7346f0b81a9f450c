"""The kernels of any cell, made from its formula when they are first asked for."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ... import cells
from ...cells import Cell
from ...cells.table import CellKernels
from ...checks import checked
from ...spec import cell_kernels
from ..jit import CompiledKernel
from ..packing import pack_weights, packed_size
from .bwd import backward
from .calls import LayerKernel, layer_kernel, run_layer
from .cell_code import CellCode, code_of
from .step import run_step, step_kernel


class Compiled(NamedTuple):
    """What the forward kernels of a cell are compiled from."""

    code: CellCode
    layer: LayerKernel
    step: CompiledKernel


@cache
def compiled_of(cell: Cell) -> Compiled:
    """A cell's compiled kernels; nothing is compiled yet."""
    code = code_of(cell)
    return Compiled(code, layer_kernel(code, cell_kernels(cell).fwd), step_kernel(code))


@cache
def kernels_of(cell: Cell) -> CellKernels:
    """The kernels of a cell, see `spec.cell_kernels`."""
    rows, (code, layer, step) = cell_kernels(cell), compiled_of(cell)

    def size(features: int, units: int, dtype: np.dtype[Any]) -> int:
        """Length of `packed`."""
        return packed_size(code.layout, features, units, dtype)

    def pack(call: Any) -> None:
        packed, kernel, recurrent_kernel, bias, *vectors = call
        pack_cell(code, packed, kernel, recurrent_kernel, bias, vectors)

    def fwd(call: Any) -> None:
        """Fastest when `packed` begins on a cache line (see `memory`)."""
        run_layer(layer, call)

    def one_step(call: Any) -> None:
        run_step(code, step, call)

    return CellKernels(
        size,
        checked(pack, kernel=rows.pack),
        checked(fwd, kernel=rows.fwd),
        backward(cell),
        checked(one_step, kernel=rows.step),
    )


def pack_cell(
    code: CellCode, packed: Any, kernel: Any, recurrent_kernel: Any, bias: Any, vectors: Any = ()
) -> None:
    """Write packed weights; the arguments are as in `spec.cell_kernels`."""
    units = len(recurrent_kernel)
    pack_weights(
        packed,
        code.layout,
        _in_order(kernel, code.inputs, units),
        _in_order(recurrent_kernel, code.recurrents, units),
        _in_order(bias[np.newaxis], code.biases, units)[0],
        np.stack(vectors) if len(vectors) else bias[:0].reshape(0, units),
    )


def _in_order(weights: Any, order: tuple[int, ...], units: int) -> Any:
    """Weights (rows, blocks * H) as (rows, blocks, H) in another order of blocks."""
    blocks = weights.reshape(len(weights), len(order), units)
    return blocks if _is_ascending(order) else blocks[:, order]


@cache
def _is_ascending(order: tuple[int, ...]) -> bool:
    return order == tuple(range(len(order)))


def cache_folder() -> str | None:
    """Where compiled kernels are kept between processes; None where no folder can be written."""
    return compiled_of(cells.lstm).layer.compiled.cache_folder
