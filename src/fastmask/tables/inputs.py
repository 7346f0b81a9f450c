"""The values of a column as one of a model's inputs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from .._typing import Array
from ..layers import Embedding
from ..layers._calls import flat
from ..masks.masked import Masked
from ..masks.padding import pad
from ..models.functional import Functional
from ..models.graph import slots_in
from ..models.sequential import Sequential
from ..models.summary import symbolic_inputs
from .batch import Values


class Input:
    """One input of a model, and the column that its values come from.

    Args:
        column: name of the column.
        shape: of the input, with the batch.
        sequences: whether the values are sequences of steps, whose number may vary.
        steps: their number, where the model wants one.
        texts: whether they are texts, or sequences of these.
    """

    def __init__(
        self,
        column: str,
        shape: tuple[int | None, ...],
        sequences: bool,
        steps: int | None,
        texts: bool,
    ) -> None:
        self.column, self._shape, self._steps = column, shape, steps
        self._sequences, self._texts = sequences, texts

    def values(self, given: Values, first: int) -> Values:
        """The values of rows, text being read as JSON, or as numbers with spaces between them.

        Raises:
            ValueError: a value is missing, or is none that the model takes.
        """
        if isinstance(given, np.ndarray) and given.dtype.kind in "fiub":
            return given
        found = []
        for number, value in enumerate(given, first + 1):
            what = f"row {number} of column {self.column!r}"
            known = value if self._texts and not self._sequences else _read(value, what)
            found.append(self._value(known, what))
        return found

    def _value(self, value: Any, what: str) -> Any:
        """The numbers or texts of one row, checked as far as the error can name the row."""
        try:
            numbers = np.asarray(value)
        except ValueError:  # lists of different lengths
            numbers = np.asarray(None)
        if numbers.dtype.kind not in ("U" if self._texts and numbers.size else "fiub"):
            kind = "text" if self._texts else "numbers"
            raise ValueError(f"{what} must hold {kind}, not {value!r:.80}")
        if numbers.ndim == 0 and self._shape[1:] not in ((), (1,)):
            raise ValueError(f"{what} must be a list, not {value!r:.80}")
        wanted = self._steps if self._sequences or len(self._shape) < 2 else self._shape[1]
        if wanted is None or not numbers.ndim:
            return numbers
        count = len(numbers)
        if count > wanted or (count < wanted and not self._sequences):
            raise ValueError(f"{what} has {count} values, but the model takes {wanted}")
        return numbers

    def lengths(self, values: Values) -> list[int]:
        """How many steps each value has; 1 where it is none of steps."""
        if not self._sequences:
            return [1] * len(values)
        if isinstance(values, np.ndarray):
            return [values.shape[1]] * len(values)
        return list(map(len, values))

    def batch(self, values: Values) -> Array | Masked:
        """Values as the model takes them; lists of steps are padded and masked."""
        if self._sequences and isinstance(values, list):
            return self._padded(values)
        array = np.asarray(values)
        return array.reshape(-1, 1) if array.ndim == 1 and self._shape[1:] == (1,) else array

    def _padded(self, values: list[Any]) -> Array | Masked:
        """Lists of one length: numbers are masked, and of texts the layers mask empty ones."""
        if self._texts:
            return pad([np.asarray(one, str) for one in values], self._steps, value="").data
        lengths = set(map(len, values))
        if any(lengths):
            padded = pad(values, self._steps)
            return padded.data if lengths == {padded.shape[1]} else padded
        shape = (len(values), self._steps or 1, *(n or 1 for n in self._shape[2:]))
        return Masked(np.zeros(shape), np.zeros(shape[:2], np.bool_))


def inputs_of(model: Any, columns: list[str]) -> list[Input]:
    """An input for each column.

    Raises:
        ValueError: the model is not built, or has another number of inputs.
    """
    known = symbolic_inputs(model)
    if known is None:
        raise ValueError(f"model {model.name!r} must be built, but it is not")
    shapes = [tuple(one.shape) for one in flat(known)]
    if len(shapes) != len(columns):
        raise ValueError(
            f"model {model.name!r} has {len(shapes)} inputs, so that it needs as many columns, not "
            f"{len(columns)}: {', '.join(columns)}"
        )
    # A sequence of layers that were built one by one takes sequences of any length.
    free = isinstance(model, Sequential) and model._input_shape is None
    return [
        _input(column, shape, _first_layers(model, number), free)
        for number, (column, shape) in enumerate(zip(columns, shapes, strict=True))
    ]


def _input(column: str, shape: tuple[int | None, ...], layers: list[Any], free: bool) -> Input:
    """An input which goes to these layers; `free` if it may have any number of steps."""
    texts = any(layer._takes_texts for layer in layers)
    ids = any(isinstance(layer, Embedding) for layer in layers)
    sequences = len(shape) > 2 or (len(shape) == 2 and (shape[1] is None or ids))
    return Input(column, shape, sequences, shape[1] if sequences and not free else None, texts)


def _first_layers(model: Any, number: int) -> list[Any]:
    """The layers that an input goes to."""
    if not isinstance(model, Functional):
        return list(model._first_layers()) if isinstance(model, Sequential) else [model]
    return [
        step.layer
        for step in model._program.steps
        if any(slot.number == number for slot in slots_in(step.inputs))
    ]


def _read(value: Any, what: str) -> Any:
    """A value, read where it is text."""
    if isinstance(value, str):
        text = value.strip()
        listed = text if text.startswith(("[", "{")) else f"[{', '.join(text.split())}]"
        try:
            value = json.loads(listed)
        except ValueError:
            raise ValueError(f"{what} must hold numbers, not {text!r:.80}") from None
    if value is None:
        raise ValueError(f"{what} has no value")
    return value
