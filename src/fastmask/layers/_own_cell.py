"""The cells that `fastmask.cell` makes, as layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import initializers
from .._typing import Array, Shape
from ..activations import kernel_activation
from ..backends.cell import FormulaCell
from ..backends.recurrent import Settings
from ..initializers import AnyInitializer
from ..initializers.fixed import Constant
from ._cell import Kept, KernelCell, known_features, unfit

if TYPE_CHECKING:
    from fastmask_kernels.cells import Cell

_ACTIVATIONS = {"activation": "tanh", "recurrent_activation": "sigmoid"}


class OwnCell(KernelCell):
    """One step of a cell of the user's own; each subclass is one cell, with its formula.

    See `fastmask.cells.Cell.__call__` for the arguments.
    """

    _cell: ClassVar[Cell]
    _kind: ClassVar[FormulaCell]
    _first_values: ClassVar[Mapping[str, float]]  # of vectors

    def __init__(
        self,
        units: int,
        *,
        use_bias: bool = True,
        kernel_initializer: AnyInitializer = "glorot_uniform",
        recurrent_initializer: AnyInitializer = "orthogonal",
        bias_initializer: AnyInitializer = "zeros",
        vector_initializer: AnyInitializer = "glorot_uniform",
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **layer_args: Any,
    ) -> None:
        chosen: dict[str, str] = {
            name: kernel_activation(layer_args.pop(name, _ACTIVATIONS[name]), name)
            for name in self._cell.activations
        }
        super().__init__(
            units,
            chosen.get("activation"),
            *(use_bias, kernel_initializer, recurrent_initializer, bias_initializer),
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
            **layer_args,
        )
        self.vector_initializer = initializers.get(vector_initializer, "vector_initializer")
        self._chosen = chosen
        vars(self).update(chosen)

    def build(self, input_shape: Shape) -> None:
        """Make the weights for inputs (B, F); see `Layer`."""
        shape, cell, units = tuple(input_shape), self._cell, self.units
        if len(shape) != 2:
            raise unfit(shape, "batch, features", self.name)
        features = known_features(shape, self.name)
        self._add("kernel", (features, len(cell.inputs) * units), self.kernel_initializer)
        if cell.recurrents:
            columns = len(cell.recurrents) * units
            self._add("recurrent_kernel", (units, columns), self.recurrent_initializer)
        if self.use_bias:
            self._add("bias", (len(cell.sums) * units,), self.bias_initializer)
        for name in cell.vectors:
            first = self._first_values.get(name)
            known = self.vector_initializer if first is None else Constant(first)
            self._add(name, (units,), known)

    def _add(self, name: str, shape: tuple[int, ...], initializer: Any) -> None:
        self.add_weight(shape, initializer=initializer, name=name)

    @property
    def vectors(self) -> dict[str, Array]:
        """The vectors by name, read-only; `set_weights` changes them."""
        return {name: self._weight(name) for name in self._cell.vectors}

    def _settings(self) -> Settings:
        return tuple(self._chosen.values())

    def _values(self) -> tuple[Any, ...]:
        values = {weight.name: weight.value for weight in self._weights}
        nothing = np.zeros((self.units, 0), self._dtype)
        vectors = (values[name] for name in self._cell.vectors)
        recurrent = values.get("recurrent_kernel", nothing)
        return values["kernel"], recurrent, values.get("bias"), *vectors

    def _formula(self, x: Array, states: list[Array], inputs: Kept, recurrent: Kept) -> list[Array]:
        from fastmask_kernels.cells.values import step_values
        from fastmask_kernels.formula import evaluate

        cell = self._cell
        kernel, recurrent_kernel, bias, *vectors = self._values()

        def product(name: str, value: Array, names: tuple[str, ...], all: Array, kept: Kept) -> Any:
            begin = names.index(name) * self.units
            if kept is not None:
                value = value * kept[cell.sums.index(name) if len(kept) > 1 else 0]
            return value @ all[:, begin : begin + self.units]

        def part_of_x(name: str) -> Any:
            begin = cell.sums.index(name) * self.units
            own = 0 if bias is None else bias[begin : begin + self.units]
            if name not in cell.inputs:
                return own
            return own + product(name, x, cell.inputs, kernel, inputs)

        def of_symbols(symbols: Any, known: Any) -> list[Any]:
            return evaluate(symbols, known, self._chosen)

        known = step_values(
            cell,
            states,
            vectors,
            part_of_x,
            lambda name, value: product(name, value, cell.recurrents, recurrent_kernel, recurrent),
            of_symbols,
        )
        new = of_symbols(cell.formula.new, known)
        return [np.broadcast_to(one, states[0].shape).astype(self._dtype) for one in new]

    def __reduce_ex__(self, protocol: Any) -> Any:
        """For copy and pickle, which cannot find the class by its name."""
        made: Any = super().__reduce_ex__(max(protocol, 2))
        _, _, *rest = made
        return (_new, (self._cell,), *rest)


def class_of(cell: Cell, first_values: Mapping[str, float]) -> type[OwnCell]:
    """The class of a cell's layers, with the name by which files know it."""
    own = ("use_bias", "vector_initializer", *cell.activations)
    kept = [name for name in KernelCell._options if name not in (*own, "activation")]
    body = {
        "_cell": cell,
        "_kind": FormulaCell(cell),
        "_first_values": first_values,
        "_options": (*kept, *own),
        "__doc__": cell.__doc__,
        "__module__": cell.__module__,
    }
    return type(cell.name, (OwnCell,), body)


def _new(cell: Any) -> OwnCell:
    cls: type[OwnCell] = cell.layer_class
    return cls.__new__(cls)
