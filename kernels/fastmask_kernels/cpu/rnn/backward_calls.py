"""One call of a cell's backward kernel: its memory, its threads."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...memory import address, aligned_empty
from ...spec import cell_kernels
from ..parallel.barrier import control_size
from ..parallel.run import reserve, reserve_even, run
from ..parallel.schedule import Schedule, even_schedule
from ..simd import lanes
from .activations import codes_of
from .batch import time_of
from .cell_gradients import PANEL
from .columns import Columns
from .gate_gradients import INDEX_ROWS, LOOP, PRODUCTS, Places, backward_kernel
from .groups import Groups, deal
from .ranks import length_of_rank, raise_fault, seen_size
from .step_products import INDICES, WORDS, items_of, memory_size
from .words import Addresses, matrix_of, words_of

Ints = NDArray[np.int64]


class Call(NamedTuple):
    """A call without its addresses: sizes, plan and settings."""

    sizes: tuple[int, int, int, int]  # B, T or RAGGED, F, H
    dtype: np.dtype[Any]
    plan: tuple[Ints, Ints, Ints]  # offsets, steps, order
    activations: tuple[int, int]  # codes
    reverse: bool
    zero_masked: bool
    threads: int


class BackwardPass:
    """The backward pass of a cell.

    Attributes:
        columns: what it knows of the cell.
        kernel: compiled.
        recurrents: products of a unit with H_before; as a schedule counts them.
        sizes: see `_find_sizes`.
    """

    def __init__(self, columns: Columns) -> None:
        cell, spec = columns.cell, cell_kernels(columns.cell).bwd
        self.columns, self.kernel = columns, backward_kernel(columns)
        forms = ("d{}_first", "d{}_last", "{}_steps", "{}_first")
        names = [form.format(state) for form in forms for state in cell.states]
        self._states = spec.getter(*names, *(cell.vectors or ["bias"]))
        outs = ("kernel", "recurrent_kernel", "bias", *cell.vectors)
        self._outs = spec.getter(*(f"d{name}" for name in outs))
        self.recurrents = max(len(cell.recurrents), 1)
        self.sizes = lru_cache(maxsize=64)(self._find_sizes)

    def run(self, call: Any, recurrent: int, inputs: int) -> None:
        """Run a backward kernel of the table, with U^T and W^T at two addresses, see `packs`."""
        outs, states = self._outs(call), self._states(call)
        (_, _, features), rows, units = call.x.shape, len(call.order), call.dout.shape[2]
        time = time_of(call.x, rows)
        self.run_at(
            Call(
                *((rows, time, features, units), call.x.dtype),
                *((call.offsets, call.steps, call.order), codes_of(call)),
                *(call.reverse, call.zero_masked, call.threads),
            ),
            Addresses(
                address(call.x),
                address(call.dx) if call.dx.size else 0,
                address(call.gates),
                address(call.dout) if call.dout.shape[1] else 0,
                *(recurrent, inputs),
                *(tuple(map(matrix_of, outs)), tuple(map(address, states))),
            ),
            call,
        )

    def run_at(self, call: Call, addresses: Addresses, owners: Any) -> None:
        """Compute the gradients of all arguments from what was saved of each step.

        Args:
            call: sizes, plan and settings.
            addresses: where everything is.
            owners: objects that keep this memory alive.
        """
        (rows, _, features, units), (offsets, steps, order) = call.sizes, call.plan
        valid = len(steps)
        work = rows, valid, 0, units, self.recurrents, call.dtype.itemsize
        schedule, provider = reserve(length_of_rank, (offsets, order), *work, call.threads)
        parts = LOOP + PRODUCTS
        if schedule.threads == 1 and call.threads > 1:
            # The loop runs on one thread, but the products may be worth sharing.
            of_products = self.products(features, units) * valid
            if even_schedule(of_products, call.threads).threads > 1:
                self._call(call, addresses, owners, schedule, provider, LOOP)
                # Only now, since woken workers listen for less time than the loop may take.
                schedule, provider = reserve_even(of_products, call.threads)
                parts = PRODUCTS
        self._call(call, addresses, owners, schedule, provider, parts)

    def products(self, features: int, units: int) -> int:
        """Operations of a step's part in the gradients of the weights and of x."""
        return 2 * len(self.columns.cell.sums) * units * (2 * features + units)

    def _call(
        self,
        call: Call,
        addresses: Addresses,
        owners: Any,
        schedule: Schedule,
        provider: int,
        parts: int,
    ) -> None:
        (rows, time, features, units), dtype, threads = call.sizes, call.dtype, schedule.threads
        groups, places, reals, integers, items = self.sizes(
            *(rows, features, units, dtype, threads, schedule.groups, schedule.common)
        )
        numbers = (
            *(time, *call.activations, int(call.reverse), int(call.zero_masked), threads),
            *(schedule.join, parts, *groups, *places),
        )
        cell, number = self.columns.cell, len(items) // WORDS
        known = features, units, cell.width * units, len(cell.inputs) * units, number
        control = np.zeros(control_size(threads), np.int64)
        arguments = (
            *(*call.plan, words_of(known, addresses), items),
            *(aligned_empty(reals, dtype), np.empty(integers, np.int64), control, numbers),
        )
        ended = run(self.kernel.for_dtype(dtype), arguments, provider, control, owners)
        if ended < 0:
            raise_fault(-ended)

    def _find_sizes(
        self,
        rows: int,
        features: int,
        units: int,
        dtype: Any,
        threads: int,
        dealt: int,
        common: int,
    ) -> tuple[Groups, Places, int, int, Ints]:
        """What follows from a call's sizes, whatever its arrays.

        These are the groups of rows, the places in memory, the numbers of reals and integers, and
        the work items of the weights' gradients.
        """
        width, columns = lanes(dtype), self.columns
        row = -(-units // width) * width * columns.backward.planes
        row_bytes = dtype.itemsize * (row + PANEL * width) + 8 * INDEX_ROWS
        groups = deal(rows, dealt, common, row_bytes)
        own_z = groups.most * PANEL * width
        z = groups.slots(threads) * row
        products = z + threads * own_z
        own = memory_size(features, units, len(columns.cell.sums), width)
        places = Places(z, own_z, products, own)
        integers = threads * (INDEX_ROWS * groups.most + INDICES)
        items = np.array(items_of(columns, features, units, threads, dtype), np.int64)
        return groups, places, products + threads * own, max(integers, seen_size(rows)), items
