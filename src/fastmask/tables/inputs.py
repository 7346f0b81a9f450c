"""The values of a column as one of a model's inputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from .._checks import shown
from .._typing import Array, Ints
from ..data import ragged
from ..masks.masked import Masked
from ..masks.ragged import Ragged
from ..models.mistakes import FROM_TEXTS
from ..models.rows import with_steps_of
from ..models.taken import Taken, padding_of, taken
from .values import Values

_FORMS = '; write a list as 4 9 2, as [4, 9, 2] or as 4,9,2, which CSV has in quotes: "4,9,2"'
Where = Callable[[int], str]  # how messages name a row


class Input:
    """One input of a model, and the column that its values come from.

    Args:
        column: name of the column.
        taken: what the input takes.
        padding: what its sequences are padded with.
        one_of_many: whether the model has other inputs.
    """

    def __init__(self, column: str, taken: Taken, padding: float, one_of_many: bool) -> None:
        self.column, self._taken, self._single = column, taken, taken.single
        self._of = f" for its input {taken.name!r}" if one_of_many else ""
        self._shape, self._steps, self._texts = taken.shape, taken.steps, taken.texts
        self._sequences, self._padding = taken.sequences, padding or None
        ids = f": layer {taken.ids!r} takes ids (integers); {FROM_TEXTS}"
        self._for_texts = ids if taken.ids else ""
        self._wanted = taken.steps  # number of values in a row
        if not self._sequences:
            alone = None if taken.free else 1
            self._wanted = self._shape[1] if len(self._shape) > 1 else alone

    def values(self, given: Values, where: Where) -> Array | Ragged | list[Any]:
        """The values of rows; text is read as JSON, or as numbers with spaces or commas between.

        Args:
            given: the values of the column.
            where: how messages name a row.

        Raises:
            ValueError: a value is missing, or the model does not take it.
        """
        kinds = "SU" if self._texts else "fiub"
        if isinstance(given, Ragged) and (given.dtype.kind in kinds or not len(given.values)):
            return self._of_rows(given, where)
        if isinstance(given, np.ndarray) and given.dtype.kind in kinds and not self._lists(given):
            return given
        found = []
        for number, value in enumerate(_as_list(given)):
            text = self._texts and not self._sequences
            known = value if text else self._read(value, where(number))
            found.append(self._value(known, where(number)))
        if not self._sequences:
            return found
        try:
            return ragged(found)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"column {self.column!r} must hold steps of one shape: {error}"
            ) from None

    def _lists(self, given: Array) -> bool:
        """Whether the model takes a list for a row, where an array has single values."""
        return given.ndim == 1 and not self._single

    def _of_rows(self, given: Ragged, where: Where) -> Array | Ragged:
        """Lists as sequences; or as an array, if the model takes a fixed number of values."""
        if self._wanted is not None:
            lengths = given.lengths
            odd = lengths > self._wanted if self._sequences else lengths != self._wanted
            if odd.any():
                row = int(odd.argmax())
                raise self._other_length(where(row), int(lengths[row]))
        if self._sequences or (self._wanted is None and (given.lengths != 1).any()):
            return given
        return given.values.reshape(len(given), self._wanted or 1, *given.values.shape[1:])

    def _read(self, value: Any, what: str) -> Any:
        """A value, parsed if it is text."""
        if isinstance(value, str):
            text = value.strip()
            if not text.startswith(("[", "{")):
                text = f"[{text if ',' in text else ', '.join(text.split())}]"
            try:
                value = json.loads(text)
            except ValueError:
                raise self._unread(value.strip(), what) from None
        if value is None:
            raise ValueError(f"{what} has no value")
        return value

    def _unread(self, text: str, what: str) -> ValueError:
        """The error for text that is neither JSON nor numbers."""
        if self._texts:
            return ValueError(f'{what} must be a list like ["good", "film"], not {shown(text)}')
        words = self._for_texts if any(map(str.isalpha, text)) else ""
        hint = words or ("" if self._single else _FORMS)
        return ValueError(f"{what} must hold numbers, not {shown(text)}{hint}")

    def _value(self, value: Any, what: str) -> Any:
        """The numbers or texts of one row, checked as far as the error can name the row."""
        try:
            numbers = np.asarray(value)
        except ValueError:  # lists of different lengths
            numbers = np.asarray(None)
        fits = numbers.dtype.kind in ("U" if self._texts and numbers.size else "fiub")
        if fits and numbers.dtype.kind == "U":  # NumPy also makes texts of numbers beside texts
            fits = all(isinstance(one, str) for one in np.asarray(value, object).ravel().tolist())
        if not fits:
            kind = "text" if self._texts else "numbers"
            hint = self._for_texts if numbers.dtype.kind == "U" else ""
            raise ValueError(f"{what} must hold {kind}, not {shown(value)}{hint}")
        if numbers.ndim == 0 and not self._single:
            raise ValueError(f"{what} must be a list, not {shown(value)}")
        if self._wanted is None or not numbers.ndim:
            return numbers
        count = len(numbers)
        if count > self._wanted or (count < self._wanted and not self._sequences):
            raise self._other_length(what, count)
        return numbers.reshape(()) if self._single and numbers.size == 1 else numbers

    def _other_length(self, what: str, count: int) -> ValueError:
        if self._single and self._texts:
            return ValueError(
                f"column {self.column!r} holds lists of texts, but the model takes one text for "
                f"each row: join them; {what} has {count}"
            )
        return ValueError(
            f"{what} has {count} values, but the model takes {self._wanted}{self._of}"
        )

    def lengths(self, values: Values) -> Ints:
        """The number of steps of each value; 1 if it is no sequence."""
        if isinstance(values, Ragged):
            return values.lengths
        steps = values.shape[1] if self._sequences and isinstance(values, np.ndarray) else 1
        return np.full(len(values), steps)

    def batch(self, values: Values, padded: bool) -> Array | Masked | Ragged:
        """Values as the model takes them.

        Args:
            values: the values of a batch.
            padded: whether sequences are padded and masked, as they are in any case where the
                model wants a number of steps.
        """
        if isinstance(values, Ragged):
            rows = with_steps_of(self._taken, values)
            return self._padded(rows) if padded or self._steps else rows
        array = np.asarray(values)
        if not len(array) and array.ndim < len(self._shape):  # no row shows the shape
            dtype = np.dtype("U1") if self._texts else array.dtype
            return np.zeros((0, *(n or 1 for n in self._shape[1:])), dtype)
        return array.reshape(-1, 1) if array.ndim == 1 and self._shape[1:] == (1,) else array

    def _padded(self, rows: Ragged) -> Array | Masked:
        """Lists padded to one length: numbers with a mask; layers mask empty texts themselves."""
        time = self._steps or max(1, int(rows.lengths.max(initial=0)))
        if (rows.lengths == time).all():
            return rows.values.reshape(len(rows), time, *rows.values.shape[1:])
        padded = rows.to_masked(maxlen=time, value=self._padding)
        return padded.data if self._texts else padded


def _as_list(values: Values) -> list[Any]:
    if isinstance(values, Ragged):
        return values.to_list()
    return list(values.tolist()) if isinstance(values, np.ndarray) else values


def inputs_of(model: Any, columns: list[str]) -> list[Input]:
    """An input for each column.

    Raises:
        ValueError: the model is not built, or has another number of inputs.
    """
    found = taken(model)
    if not found:
        raise ValueError(f"model {model.name!r} must be built, but it is not")
    if len(found) != len(columns):
        names = ", ".join(repr(one.name) for one in found)
        inputs = f"{len(found)} inputs ({names})" if len(found) > 1 else "1 input"
        raise ValueError(
            f"model {model.name!r} has {inputs}, so it needs as many columns, not "
            f"{len(columns)}: {', '.join(columns)}"
        )
    pairs = zip(columns, found, strict=True)
    return [
        Input(*pair, padding_of(model, number), len(found) > 1) for number, pair in enumerate(pairs)
    ]
