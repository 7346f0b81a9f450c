"""One call of a cell's backward kernel: its memory, its threads."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...memory import address, aligned_empty
from ...spec import cell_kernels
from ..parallel.barrier import control_size
from ..parallel.run import reserve, reserve_even, run
from ..parallel.schedule import Schedule
from ..simd import lanes
from .activations import codes_of
from .cell_gradients import PANEL
from .columns import Columns
from .gate_gradients import (
    INDEX_ROWS,
    LOOP,
    PRODUCTS,
    Places,
    backward_kernel,
    blocks_packed,
)
from .groups import Groups, deal
from .ranks import length_of_rank, raise_fault, seen_size
from .step_products import DX, INDICES, WORDS, items_of, memory_size
from .transpose import STRIP

Array = NDArray[np.floating]
Ints = NDArray[np.int64]


class BackwardPass:
    """The backward pass of a cell."""

    def __init__(self, columns: Columns) -> None:
        cell, spec = columns.cell, cell_kernels(columns.cell).bwd
        self._columns, self._kernel = columns, backward_kernel(columns)
        forms = ("d{}_first", "d{}_last", "{}_steps", "{}_first")
        self._states = [
            spec.getter(*(form.format(state) for state in cell.states), "bias") for form in forms
        ]
        # Something else, where there are none.
        self._vectors = spec.getter(*(cell.vectors or ["bias"]), "bias")
        self._dvectors = spec.getter(*(f"d{v}" for v in cell.vectors or ["bias"]), "bias")
        self._recurrents = max(len(cell.recurrents), 1)
        self._sizes = lru_cache(maxsize=64)(self._find_sizes)

    def run(self, call: Any) -> None:
        """Turn what was saved of each step into gradients, and write those of all arguments."""
        (rows, _, features), units, dtype = call.x.shape, call.dout.shape[2], call.x.dtype
        valid = len(call.steps)
        work = rows, valid, 0, units, self._recurrents, dtype.itemsize
        schedule, provider = reserve(
            length_of_rank, (call.offsets, call.order), *work, call.threads
        )
        if schedule.threads == 1 and call.threads > 1:
            # The loop is one thread's, the products may be too much for it.
            of_weights = len(self._columns.cell.sums) * units * (2 * features + units)
            later, later_provider = reserve_even(2 * of_weights * valid, call.threads)
            if later.threads > 1:
                self._call(call, schedule, provider, LOOP)
                self._call(call, later, later_provider, PRODUCTS)
                return
        self._call(call, schedule, provider, LOOP + PRODUCTS)

    def _call(self, call: Any, schedule: Schedule, provider: int, parts: int) -> None:
        dfirst, dlast, states, first = (get(call)[:-1] for get in self._states)
        (rows, time, features), units, dtype = call.x.shape, call.dout.shape[2], call.x.dtype
        threads = schedule.threads
        groups, places, reals, integers, tables, items = self._sizes(
            *(rows, features, units, bool(call.dx.size), dtype),
            *(threads, schedule.groups, schedule.common),
        )
        numbers = (
            *(time, *codes_of(call), int(call.reverse), int(call.zero_masked), threads),
            *(schedule.join, parts, *groups, *places),
        )
        outs = call.dkernel, call.drecurrent_kernel, call.dbias, *self._dvectors(call)[:-1]
        matrices = call.kernel, call.recurrent_kernel, *outs
        words = [features, address(call.x), 0, len(self._columns.inputs) * units, items]
        if call.dx.size:
            words[DX] = address(call.dx)
        for matrix in matrices:
            row, column = matrix.strides if matrix.ndim == 2 else (0, dtype.itemsize)
            words += address(matrix), row // dtype.itemsize, column // dtype.itemsize
        control = np.zeros(control_size(threads), np.int64)
        arguments = (
            *(call.gates, dfirst, call.dout, dlast, states, first, self._vectors(call)[:-1]),
            *(call.offsets, call.steps, call.order, np.array(words, np.int64), tables),
            *(aligned_empty(reals, dtype), np.empty(integers, np.int64), control, numbers),
        )
        ended = run(self._kernel.for_dtype(dtype), arguments, provider, control, (call, outs))
        if ended < 0:
            raise_fault(-ended)

    def _find_sizes(
        self,
        rows: int,
        features: int,
        units: int,
        has_dx: bool,
        dtype: Any,
        threads: int,
        dealt: int,
        common: int,
    ) -> tuple[Groups, Places, int, int, Ints, int]:
        """What is known of a call before its arrays.

        How rows are dealt, where parts of the memory begin, how many reals and integers there
        are, what the kernel takes of the cell, and how many items.
        """
        width, columns = lanes(dtype), self._columns
        row = -(-units // width) * width * columns.backward.planes
        row_bytes = dtype.itemsize * (row + PANEL * width) + 8 * INDEX_ROWS
        groups = deal(rows, dealt, common, row_bytes)
        own_z = groups.most * PANEL * width
        z = groups.slots(threads) * row
        recurrent = z + threads * own_z
        # Strips of a matrix's rows, of whole panels where it is U^T.
        of_units = -(-units // (PANEL * width)) * PANEL * width
        blocks = len(columns.at_once) + len(columns.called)
        inputs = recurrent + of_units * blocks * units
        of_features = -(-features // (STRIP * width)) * STRIP * width * has_dx
        products = inputs + of_features * len(columns.inputs) * units
        own = memory_size(features, units, len(columns.cell.sums), width)
        places = Places(z, own_z, recurrent, inputs, products, own)
        integers = threads * (INDEX_ROWS * groups.most + INDICES)
        items = items_of(columns, features, units, threads, dtype)
        tables = np.array([*blocks_packed(columns), *items], np.int64)
        reals, integers = products + threads * own, max(integers, seen_size(rows))
        return groups, places, reals, integers, tables, len(items) // WORDS
