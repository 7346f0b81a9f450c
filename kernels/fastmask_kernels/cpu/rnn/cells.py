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
from ..quantized.formats import FORMATS
from ..quantized.weights import quantized
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
def compiled_of(cell: Cell, format: str | None = None) -> Compiled:
    """A cell's compiled kernels, with weights of a format; nothing is compiled yet."""
    code = code_of(cell, None if format is None else FORMATS[format])
    return Compiled(code, layer_kernel(code, cell_kernels(cell).fwd), step_kernel(code))


@cache
def kernels_of(cell: Cell, format: str | None = None) -> CellKernels:
    """The kernels of a cell, see `spec.cell_kernels`; backward knows no other formats."""
    rows, (code, layer, step) = cell_kernels(cell), compiled_of(cell, format)

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
    of_x = _in_order(kernel, code.inputs, units)
    of_h = _in_order(recurrent_kernel, code.recurrents, units)
    scales = []
    if code.format is not None:
        (of_x, *of_columns), (of_h, *others) = (quantized(w, code.format) for w in (of_x, of_h))
        scales = [*of_columns, *others] if code.format.scaled else []
    pack_weights(
        packed,
        code.layout,
        of_x,
        of_h,
        _in_order(bias[np.newaxis], code.biases, units)[0],
        np.stack(vectors) if len(vectors) else bias[:0].reshape(0, units),
        scales,
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
