"""Formulas of cells as ordinary functions of arrays, and a loop over time around them.

No symbols are involved: the formula's code runs with NumPy or torch functions under the same names;
with torch, autograd gives gradients.
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastmask_kernels.cells import Cell


def functions(lib: Any, activation: str, recurrent_activation: str) -> dict[str, Any]:
    """The functions that a formula may apply, of numpy or torch."""

    def pair(name: str) -> Any:
        def function(a: Any, b: Any) -> Any:
            first = (a > b) if name == "maximum" else (a < b)
            if lib is np:
                return np.where(first, a, b)
            a, b = (lib.as_tensor(one) for one in (a, b))
            return lib.where(first, a, b)

        return function

    def normalize(*values: Any) -> Any:
        together = lib.concatenate(values, -1) if lib is np else lib.cat(values, -1)
        mean = together.mean(-1)[..., None]
        variance = ((together - mean) ** 2).mean(-1)[..., None]
        each = tuple((v - mean) / lib.sqrt(variance + 1e-3) for v in values)
        return each if len(each) > 1 else each[0]

    known: dict[str, Any] = {
        "exp": lib.exp,
        "tanh": lib.tanh,
        "sigmoid": (lambda x: 1 / (1 + np.exp(-x))) if lib is np else lib.sigmoid,
        "relu": lambda x: x * (x > 0),
        "hard_sigmoid": lambda x: lib.clip(x / 6 + 0.5, 0, 1),
        "hard_sigmoid_keras2": lambda x: lib.clip(x / 5 + 0.5, 0, 1),
        "linear": lambda x: x,
        "maximum": pair("maximum"),
        "minimum": pair("minimum"),
        "normalize": normalize,
    }
    known["activation"] = known[activation]
    known["recurrent_activation"] = known[recurrent_activation]
    return known


def function_of(cell: Cell, lib: Any, *activations: str) -> Any:
    """The formula's own code, with numpy or torch functions instead of symbolic ones."""
    code: Any = cell.function
    known = {**code.__globals__, **functions(lib, *activations)}
    return types.FunctionType(code.__code__, known, code.__name__, None, code.__closure__)


class Called:
    """A sum that is called on a value."""

    def __init__(self, rest: Any, columns: Any) -> None:
        self._rest, self._columns = rest, columns

    def __call__(self, value: Any) -> Any:
        return self._rest + value @ self._columns


def step_of(cell: Cell, lib: Any, weights: Sequence[Any], *activations: str) -> Any:
    """A function of x_t (F,) and states (H,) that returns the new states.

    Args:
        cell: the cell.
        lib: numpy or torch.
        weights: kernel, recurrent kernel (None if the cell has none), bias, vectors.
        *activations: `activation` and `recurrent_activation`.
    """
    kernel, recurrent, bias, *vectors = weights
    units = len(bias) // len(cell.sums)
    formula = function_of(cell, lib, *activations)

    def columns(weight: Any, names: Sequence[str], name: str) -> Any:
        begin = names.index(name) * units
        return weight[:, begin : begin + units]

    def step(x: Any, states: Sequence[Any]) -> Sequence[Any]:
        sums = []
        for number, name in enumerate(cell.sums):
            value: Any = bias[number * units : (number + 1) * units]
            if name in cell.inputs:
                value = value + x @ columns(kernel, cell.inputs, name)
            if name in cell.formula.second:
                value = Called(value, columns(recurrent, cell.recurrents, name))
            elif name in cell.recurrents:
                value = value + states[0] @ columns(recurrent, cell.recurrents, name)
            sums.append(value)
        new = formula(*sums, *states, **dict(zip(cell.vectors, vectors, strict=True)))
        return new if isinstance(new, (tuple, list)) else [new]

    return step


def over_time(
    step: Any, lib: Any, x: Any, valid: Any, first: Sequence[Any], reverse: bool, zero: bool
) -> tuple[Any, list[Any]]:
    """The outputs (B, T, H) in the order of processing, and the last states (B, H) each."""
    outputs, ends = [], []
    for b in range(len(x)):
        states = [state[b] for state in first]
        output, row = states[0] * 0, []
        times = range(x.shape[1])
        for t in reversed(times) if reverse else times:
            if valid[b, t]:
                states = step(x[b, t], states)
                output = states[0]
            elif zero:
                output = output * 0
            row.append(output)
        outputs.append(lib.stack(row))
        ends.append(states)
    return lib.stack(outputs), [lib.stack(list(each)) for each in zip(*ends, strict=True)]
