"""The kernels of any cell: its formula in NumPy, one row and one step at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cells import Cell
from ..cells.table import CellKernels
from ..cells.values import step_values
from ..formula import Symbol, evaluate
from ..packed import wrong_packed
from ..spec import cell_kernels
from .packing import pack as pack_weights
from .plans import checked
from .recurrent import States, Walk, run_backward, run_forward
from .step import run_step

Array = NDArray[np.floating]


@cache
def kernels_of(cell: Cell) -> CellKernels:
    """The kernels of a cell, see `spec.cell_kernels`."""
    rows, states = cell_kernels(cell), cell.states
    weights = "kernel", "recurrent_kernel", "bias", *cell.vectors

    def packed_size(features: int, units: int, dtype: np.dtype[Any]) -> int:  # noqa: ARG001 - layouts of other backends depend on it
        """Length of `packed`."""
        return sum(int(np.prod(shape)) for shape in _shapes(cell, features, units))

    def pack(call: Any) -> None:
        pack_weights(*call)

    def fwd(call: Any) -> None:
        first = _of_each(call, states, "{}_first")
        sizes = _shapes(cell, call.x.shape[2], first[0].shape[1])
        run_forward(
            _Step(cell, _unpacked(rows.pack.name, call.packed, sizes), call).forward,
            Walk(call.x.shape[1], call.offsets, call.steps, call.reverse),
            call.out,
            _of_each(call, states, "{}_last"),
            _of_each(call, states, "{}_steps"),
            call.gates if cell.keeps_gates else first[0][:0],
            call.x,
            first,
            call.zero_masked,
        )

    def bwd(call: Any) -> None:
        run_backward(
            _Step(cell, _of_each(call, weights, "{}"), call).backward,
            Walk(call.x.shape[1], call.offsets, call.steps, call.reverse),
            call.dx,
            _of_each(call, weights, "d{}"),
            _of_each(call, states, "d{}_first"),
            call.dout,
            _of_each(call, states, "d{}_last"),
            call.x,
            _of_each(call, states, "{}_first"),
            _of_each(call, states, "{}_steps"),
            call.zero_masked,
        )

    forward = checked(fwd, kernel=rows.fwd)

    def step(call: Any) -> None:
        widths = [1] * len(states) + [len(cell.saved)] * cell.keeps_gates
        settings = tuple(_of_each(call, cell.activations, "{}"))
        inputs = call.x, call.valid, call.packed, settings, call.threads
        run_step(forward, call[: len(states)], tuple(widths), *inputs)

    return CellKernels(
        packed_size,
        checked(pack, kernel=rows.pack),
        forward,
        checked(bwd, kernel=rows.bwd),
        checked(step, kernel=rows.step),
    )


class _Step:
    """One step of one row, forward and backward; see `recurrent`.

    Args:
        cell: the cell.
        weights: kernel, recurrent kernel, bias and vectors.
        call: the kernel's arguments, for the activations and, in backward, the gates.
    """

    def __init__(self, cell: Cell, weights: Sequence[Array], call: Any) -> None:
        kernel, recurrent, bias, *vectors = weights
        self._cell, self._call, self._units = cell, call, len(recurrent)
        self._inputs = self._blocks(cell.inputs, kernel)
        self._recurrents = self._blocks(cell.recurrents, recurrent)
        self._biases = self._blocks(cell.sums, bias)
        self._vectors = vectors
        self._called = {symbol.args[0].args[0]: symbol for symbol in cell.called}
        self._chosen: dict[str, str] = {name: getattr(call, name) for name in cell.activations}

    def forward(self, x: Array, states: States) -> tuple[States, Array]:
        """The states after the step, and what is saved of it."""
        cell = self._cell

        def part_of_x(name: str) -> Array:
            with_x = name in self._inputs
            return self._biases[name] + (x @ self._inputs[name] if with_x else 0)

        def product(name: str, value: Array) -> Array:
            product: Array = value @ self._recurrents[name]
            return product

        known = step_values(cell, states, self._vectors, part_of_x, product, self._evaluate)
        new = tuple(self._of(symbol, known) for symbol in cell.formula.new)
        return new, np.concatenate([self._of(symbol, known) for symbol in cell.saved])

    def backward(
        self, p: int, x: Array, before: States, after: States, dafter: States
    ) -> tuple[States, Array, tuple[Array, ...]]:
        """The gradients of the states before, of x and of the weights, from what was saved."""
        cell, gradients, call = self._cell, self._cell.gradients, self._call
        blocks = call.gates[p].reshape(cell.width, self._units)
        if cell.keeps_gates and not call.gates_saved:
            blocks[: len(cell.saved)] = self.forward(x, before)[1].reshape(-1, self._units)
        formula = cell.formula
        known = dict(zip(formula.states.values(), before, strict=True))
        known |= dict(zip(formula.vectors.values(), self._vectors, strict=True))
        known |= dict(zip(formula.new, after, strict=True))
        known |= dict(zip(gradients.given.values(), dafter, strict=True))
        known |= {s: b.copy() for s, b in zip(cell.saved, blocks, strict=False) if s is not None}
        factors = dict.fromkeys(self._recurrents, before[0])
        for name, symbol in reversed(self._called.items()):
            factors[name] = known[symbol.args[1]]
            dsum = self._of(gradients.sums[name], known)
            known[gradients.returned[name]] = self._recurrents[name] @ dsum
        dsums = {name: self._of(s, known) for name, s in gradients.sums.items()}
        dvectors = [self._of(s, known) for s in gradients.vectors.values()]
        dstates = [self._of(s, known) for s in gradients.states.values()]
        for name in self._recurrents.keys() - self._called.keys():
            dstates[0] = dstates[0] + self._recurrents[name] @ dsums[name]
        for n, name in enumerate(cell.order):
            blocks[n] = dsums[name]
        blocks[len(cell.saved) :] = dvectors or blocks[:0]
        dx = sum((self._inputs[name] @ dsums[name] for name in self._inputs), np.zeros_like(x))
        contributions = (
            _side_by_side([np.outer(x, dsums[name]) for name in cell.inputs], len(x)),
            _side_by_side([np.outer(factors[n], dsums[n]) for n in cell.recurrents], self._units),
            np.concatenate([dsums[name] for name in cell.sums]),
            *dvectors,
        )
        return tuple(dstates), dx, contributions

    def _evaluate(self, symbols: Sequence[Symbol], known: dict[Symbol, Any]) -> list[Any]:
        return evaluate(symbols, known, self._chosen)

    def _of(self, symbol: Symbol | None, known: dict[Symbol, Any]) -> Array:
        """The value of a symbol for all units; None stands for 0."""
        if symbol is None:
            return np.zeros(self._units)
        (value,) = self._evaluate([symbol], known)
        return np.broadcast_to(value, self._units)

    def _blocks(self, names: Sequence[str], weight: Array) -> dict[str, Array]:
        """The columns of a weight, by the name of the sum that they belong to."""
        parts = np.split(weight, len(names), axis=-1) if names else []
        return dict(zip(names, parts, strict=True))


def _of_each(call: Any, names: Sequence[str], form: str) -> list[Any]:
    return [getattr(call, form.format(name)) for name in names]


def _side_by_side(blocks: list[Array], rows: int) -> Array:
    return np.hstack(blocks) if blocks else np.zeros((rows, 0))


def _shapes(cell: Cell, features: int, units: int) -> list[tuple[int, ...]]:
    """The shapes of kernel, recurrent kernel, bias and vectors."""
    inputs, recurrents, sums = (len(n) * units for n in (cell.inputs, cell.recurrents, cell.sums))
    return [(features, inputs), (units, recurrents), (sums,), *[(units,)] * len(cell.vectors)]


def _unpacked(pack: str, packed: Array, shapes: list[tuple[int, ...]]) -> list[Array]:
    """Split what `pack` wrote into arrays of these shapes."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    if len(packed) != ends[-1]:
        (features, _), (units, _), *_ = shapes
        raise wrong_packed(pack, features, units, int(ends[-1]), len(packed))
    parts = np.split(packed, ends[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
