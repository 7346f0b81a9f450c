"""The sums of a panel of units: the bias, the products with x, and those with states.

Quantized weights are multiplied with rows of the same format, which each thread converts in its own
memory: rows of x once for a block of steps, states in each round. Where a table of sums replaces
x (see `cell_code`), its rows are looked up.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..jit import inlined
from ..quantized.rows import row_converter
from ..simd import copy_row, lanes_of
from .batch import await_outputs
from .cell_code import CellCode
from .panels import places_of_panels


def panel_sums(code: CellCode) -> Any:
    """`sum_panel` for a cell, for compiled kernels to call."""
    vectors_of_panel, _ = places_of_panels(code)
    begin_sums, add_products = _sums_of_inputs(code), _products_of_round(code)

    @inlined
    def sum_panel(batch: Any, layer: Any, scratch: Any, now: Any, panel: int) -> None:
        """Compute one panel's sums; a block's first round starts those of all its steps."""
        lanes = lanes_of(now.z)
        vector, count = vectors_of_panel(layer, panel)
        if now.block == 1 and now.part == 0 and batch.sequences:
            await_outputs(batch, scratch, now.rows, vector * lanes, count * lanes)
        if now.number == 0:
            begin_sums(batch, layer, scratch, now, panel)
        add_products(batch, layer, scratch, now, panel)

    return sum_panel


def operands_size(
    code: CellCode, features: int, units: int, lanes: int, total: int, rows: int
) -> int:
    """Elements of a thread's converted rows: `total` rows of x, and `rows` of each state."""
    if code.format is None:
        return 0
    stride = _stride_of(code)
    x = 0 if code.gathered else total * stride(features, lanes)
    size = x + len(code.parts) * rows * stride(units, lanes)
    return int(-(-size // lanes) * lanes)


def _stride_of(code: CellCode) -> Any:
    """The distance of converted rows, see `quantized.rows`, as a function of depth and lanes."""
    group = code.layout.group

    def stride(depth: int, lanes: int) -> int:
        return (depth + lanes - 1) // lanes * (lanes // group) + 1

    return stride


def converted_rows(code: CellCode) -> Any:
    """`convert_operands` for a cell, for compiled kernels to call."""
    if code.format is None:

        @inlined
        def nothing(batch: Any, layer: Any, scratch: Any, now: Any) -> None:
            """Rows are multiplied where they are."""

        return nothing
    convert_rows, stride, parts = row_converter(code.format), inlined(_stride_of(code)), code.parts
    of_x = not code.gathered

    @inlined
    def convert_operands(batch: Any, layer: Any, scratch: Any, now: Any) -> None:
        """Convert the rows that a round multiplies."""
        lanes, zero = lanes_of(now.z), np.int64(0)
        at = now.total * stride(batch.features, lanes) if of_x else zero
        if of_x and now.number == 0:
            convert_rows(
                *(now.total, batch.features, batch.x, zero, scratch.source),
                *(scratch.operands, zero, stride(batch.features, lanes), np.float32(0)),
            )
        width, least = stride(batch.units, lanes), np.float32(layer.bounded)
        for part in parts:
            number, plane, gates, _, _ = part
            if number == now.part and gates > 0:
                start = plane * layer.plane if plane > 0 else layer.plane - now.new
                convert_rows(
                    *(now.rows, batch.units, layer.states, start, scratch.state),
                    *(scratch.operands, at, width, least),
                )
                at += now.rows * width

    return convert_operands


def _sums_of_inputs(code: CellCode) -> Any:
    """`begin_sums` for a cell, for compiled kernels to call."""
    vectors_of_panel, gates_apart = places_of_panels(code)
    layout, panel_vectors = code.layout, code.panel
    inputs, recurrent, strip, group = layout.inputs, layout.recurrent, layout.strip, layout.group
    bias, head, scales = layout.bias, layout.head, layout.bias + layout.vectors
    sums, row_vectors = len(code.cell.sums), code.tiles.row
    add_inputs = _looked_up(code) if code.gathered else _product_with_x(code)

    @inlined
    def begin_sums(batch: Any, layer: Any, scratch: Any, now: Any, panel: int) -> None:
        """Start the sums of all steps of a block with bias + x W."""
        lanes, z_start = lanes_of(now.z), panel * now.panel_size
        vector, count = vectors_of_panel(layer, panel)
        words = -(-batch.features // group)
        size = (inputs * words + recurrent * -(-batch.units // group)) * lanes
        own_bias = vector * bias * lanes
        strip_step = size if panel_vectors > 1 else strip * words * lanes
        add_inputs(
            *(batch, layer, scratch, now, vector),
            inputs * count * gates_apart(vector, batch.units, lanes) // lanes,
            layer.vectors * head * lanes + vector * size,
            strip_step,
            (layer.vectors * scales + vector * inputs) * lanes,
            *(own_bias, z_start),
        )
        for gate in range(inputs, sums):  # those without a product with x
            for i in range(now.total):
                start = z_start + (i * row_vectors + gate) * lanes
                copy_row(now.z, start, layer.packed, own_bias + gate * lanes, lanes)

    return begin_sums


def _product_with_x(code: CellCode) -> Any:
    multiply, inputs, group = code.multiply, code.layout.inputs, code.layout.group
    converted, stride = code.format is not None, inlined(_stride_of(code))

    @inlined
    def multiply_x(
        batch: Any,
        layer: Any,
        scratch: Any,
        now: Any,
        vector: int,
        registers: int,
        weights: int,
        strip_step: int,
        scales: int,
        bias: int,
        z_start: int,
    ) -> None:
        lanes, zero = lanes_of(now.z), np.int64(0)  # a literal would make it compile once more
        if converted:  # a constant: only one of the two products is compiled
            multiply(
                *(registers, now.total, scratch.operands, zero, stride(batch.features, lanes)),
                *(-(-batch.features // group), layer.packed, weights, strip_step),
                *(layer.packed, bias, zero, now.z, z_start),
                *(scales, scales + layer.vectors * inputs * lanes),
            )
        else:
            multiply(
                *(registers, now.total, batch.x, zero, scratch.source, batch.features),
                *(layer.packed, weights, strip_step, layer.packed, bias, zero, now.z, z_start),
            )

    return multiply_x


def _looked_up(code: CellCode) -> Any:
    """`copy_sums`: rows of the table [row][vector][gate][lane] instead of a product."""
    inputs, row_vectors = code.layout.inputs, code.tiles.row

    @inlined
    def copy_sums(
        batch: Any,
        layer: Any,
        scratch: Any,
        now: Any,
        vector: int,
        registers: int,
        weights: int,
        strip_step: int,
        scales: int,
        bias: int,
        z_start: int,
    ) -> None:
        lanes = lanes_of(now.z)
        for i in range(now.total):
            source = scratch.source[i] + vector * inputs * lanes
            target = z_start + i * row_vectors * lanes
            for v in range(registers):
                copy_row(now.z, target + v * lanes, batch.x, source + v * lanes, lanes)

    return copy_sums


def _products_of_round(code: CellCode) -> Any:
    """`add_products` for a cell, for compiled kernels to call."""
    vectors_of_panel, gates_apart = places_of_panels(code)
    layout, panel_vectors, parts = code.layout, code.panel, code.parts
    inputs, recurrent, strip, group = layout.inputs, layout.recurrent, layout.strip, layout.group
    head, scales = layout.head, layout.bias + layout.vectors + 2 * inputs
    row_vectors, of_x = code.tiles.row, not code.gathered
    multiply_state, stride = _product_with_state(code), inlined(_stride_of(code))

    @inlined
    def add_products(batch: Any, layer: Any, scratch: Any, now: Any, panel: int) -> None:
        """Add a round's products to the sums."""
        lanes = lanes_of(now.z)
        vector, count = vectors_of_panel(layer, panel)
        # Where a vector's two matrices begin, and the distance of their strips.
        words, of_states = -(-batch.features // group), -(-batch.units // group)
        input_size = inputs * words * lanes if of_x else 0
        size = input_size + recurrent * of_states * lanes
        weights = layer.vectors * head * lanes + vector * size + input_size
        strip_step = size if panel_vectors > 1 else strip * of_states * lanes
        own_scales = (layer.vectors * scales + vector * recurrent) * lanes
        z_start = panel * now.panel_size + now.begin * row_vectors * lanes
        at = now.total * stride(batch.features, lanes) if of_x else 0
        for part in parts:
            number, plane, gates, column, place = part
            if number == now.part and gates > 0:
                multiply_state(
                    *(batch, layer, scratch, now, plane, at),
                    gates * count * gates_apart(vector, batch.units, lanes) // lanes,
                    weights + column // strip * strip_step + column % strip * lanes,
                    strip_step,
                    own_scales + column * lanes,
                    z_start + place * lanes,
                )
                at += now.rows * stride(batch.units, lanes)

    return add_products


def _product_with_state(code: CellCode) -> Any:
    multiply, recurrent, group = code.multiply, code.layout.recurrent, code.layout.group
    converted, stride = code.format is not None, inlined(_stride_of(code))
    row_vectors = code.tiles.row

    @inlined
    def multiply_state(
        batch: Any,
        layer: Any,
        scratch: Any,
        now: Any,
        plane: int,
        at: int,
        registers: int,
        weights: int,
        strip_step: int,
        scales: int,
        z_start: int,
    ) -> None:
        lanes = lanes_of(now.z)
        row = np.int64(row_vectors) * lanes
        if converted:  # a constant: only one of the two products is compiled
            multiply(
                *(registers, now.rows, scratch.operands, at, stride(batch.units, lanes)),
                *(-(-batch.units // group), layer.packed, weights, strip_step),
                *(now.z, z_start, row, now.z, z_start),
                *(scales, scales + layer.vectors * recurrent * lanes),
            )
        else:
            start = plane * layer.plane if plane > 0 else layer.plane - now.new
            multiply(
                *(registers, now.rows, layer.states, start, scratch.state, batch.units),
                *(layer.packed, weights, strip_step, now.z, z_start, row, now.z, z_start),
            )

    return multiply_state
