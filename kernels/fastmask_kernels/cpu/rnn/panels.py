"""What a thread does with one panel of units in one round of a step.

Weights are packed by vectors, one register's width of units each (see `packing`); a panel is one
vector, or a few, that a thread computes together.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from ..jit import inlined, inner
from ..packing import gate_distance
from ..simd import lanes_of
from .batch import save_step, write_last, write_outputs
from .cell_code import CellCode


class Layer(NamedTuple):
    """Weights and state."""

    packed: Any  # real (W)
    states: Any  # real (planes * slots * padded H)
    panels: int
    vectors: int  # registers that hold one number a unit
    plane: int  # elements of one plane
    activation: int
    recurrent_activation: int
    save_gates: int  # 1 if the gates to be saved are left in z
    bounded: int  # 1 if states that are converted are nearly always between -1 and 1


class Round(NamedTuple):
    """One round of one step of a block of steps."""

    k: int  # the step
    part: int  # which of the step's rounds
    number: int  # of the round in its block: the first one begins the sums of all steps
    phase: int  # number of the round in the time loop, see `barrier`
    rows: int  # rows that have the step
    begin: int  # where they begin among the rows of the block's steps
    total: int  # rows of all the block's steps
    block: int  # steps of the block
    new: int  # plane of h that the step writes
    z: Any  # real: the sums; those of all panels, unless `panel_size` is 0
    panel_size: int


def panels_of(vectors: int, panel: int, threads: int) -> int:
    """Number of panels: as few as possible, but equally many for each thread that shares a step."""
    each = -(-vectors // (panel * threads))
    return min(vectors, each * threads)


count_panels = inlined(panels_of)


@cache
def places_of_panels(code: CellCode) -> tuple[Any, Any]:
    """`vectors_of_panel`: a panel's first vector and their number; `gates_apart`: see `packing`."""
    panel_vectors, paired = code.panel, code.layout.paired

    @inner
    def vectors_of_panel(layer: Any, panel: int) -> tuple[int, int]:
        if panel_vectors == 1:
            return panel, 1
        vector = panel * layer.vectors // layer.panels
        return vector, (panel + 1) * layer.vectors // layer.panels - vector

    @inner
    def gates_apart(vector: int, units: int, lanes: int) -> int:
        return gate_distance(vector, units, lanes) if paired else lanes

    return vectors_of_panel, gates_apart


def panel_update(code: CellCode) -> Any:
    """`update_panel` for a cell, for compiled kernels to call."""
    vectors_of_panel, gates_apart = places_of_panels(code)
    compute_units, row_vectors = code.compute_units, code.tiles.row
    bias, vectors = code.layout.bias, code.layout.vectors

    @inlined
    def update_panel(batch: Any, layer: Any, scratch: Any, now: Any, panel: int) -> None:
        """Compute the round's results from the sums of one panel."""
        lanes = lanes_of(now.z)
        vector, count = vectors_of_panel(layer, panel)
        compute_units(
            now.part,
            now.rows,
            count,
            gates_apart(vector, batch.units, lanes),
            batch.units,
            vector * lanes,
            now.z,
            panel * now.panel_size + now.begin * row_vectors * lanes,
            layer.states,
            layer.plane,
            now.new,
            scratch.state,
            layer.packed,
            (layer.vectors * bias + vector * vectors) * lanes,
            layer.activation,
            layer.recurrent_activation,
            layer.save_gates,
        )

    return update_panel


def panel_outputs(code: CellCode) -> Any:
    """`finish_panel` for a cell, for compiled kernels to call."""
    vectors_of_panel, gates_apart = places_of_panels(code)
    row_vectors = code.tiles.row

    @inlined
    def finish_panel(batch: Any, layer: Any, scratch: Any, now: Any, panel: int) -> None:
        """Copy the new state of one panel to where it is wanted."""
        lanes, rows, new = lanes_of(now.z), now.rows, now.new
        vector, count = vectors_of_panel(layer, panel)
        z_start = panel * now.panel_size + now.begin * row_vectors * lanes
        for v in range(count):
            left = (vector + v) * lanes
            columns = min(lanes, batch.units - left)
            if batch.sequences:
                write_outputs(batch, layer, scratch, rows, new, left, columns)
            if batch.save_states:
                apart = gates_apart(vector, batch.units, lanes)
                save_step(
                    *(batch, layer, scratch, now.k, rows, new, left, columns),
                    *(now.z, z_start + v * lanes, row_vectors * lanes, apart),
                )
            write_last(batch, layer, scratch, now.k, rows, new, left, columns)

    return finish_panel
