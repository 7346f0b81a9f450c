"""Batches of rows in memory, of several libraries: their columns, and batches with more of them.

None of these libraries is imported here: the type of a batch tells its library.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from .._checks import shown
from .._typing import Array
from ..data import origins, ragged
from ..data.arrow_lists import column as arrow_column
from .batch import Columns
from .values import Values, values_of


class Frame:
    """A batch, seen as columns."""

    def __init__(self, batch: Any, names: list[str], count: int, get: Callable[[str], Any]) -> None:
        self._batch, self._names, self._count, self._get = batch, names, count, get

    def __len__(self) -> int:
        return self._count

    def names(self) -> list[str]:
        return self._names

    def column(self, name: str) -> Values:
        if name not in self._names:
            raise ValueError(f"there is no column {name!r}: the batch has none at all")
        return values_of(self._get(name))

    def where(self, column: str, row: int) -> str:
        return f"{column}[{row}]"


def frame_of(batch: Any) -> tuple[Frame, Callable[[Columns], Any]]:
    """The columns of a batch, and a function that makes a batch with more of them.

    Raises:
        TypeError: it is of no known kind.
        ValueError: the arrays of a dict differ in length.
    """
    if isinstance(batch, dict):
        return _of_dict(batch)
    known = origins(batch)
    for origin, make in _KINDS.items():
        if origin in known:
            return make(batch)
    hint = ": collect it, or give the predictor to its map_batches"
    raise TypeError(
        "batch must be a dict of arrays, a pyarrow Table or RecordBatch, or a DataFrame of pandas "
        f"or Polars, not {type(batch).__name__}{hint if ('polars', 'LazyFrame') in known else ''}"
    )


def _of_dict(batch: dict[str, Any]) -> tuple[Frame, Callable[[Columns], Any]]:
    counts = {}
    for name, values in batch.items():
        if not hasattr(values, "__len__"):
            raise TypeError(f"column {name!r} of a batch must hold rows, not {shown(values)}")
        counts[name] = len(values)
    if len(set(counts.values())) > 1:
        raise ValueError(f"the columns of a batch must have the same number of rows, not {counts}")
    count = next(iter(counts.values()), 0)
    frame = Frame(batch, list(batch), count, batch.__getitem__)
    return frame, lambda more: {**batch, **{k: _array(v) for k, v in more.items()}}


def _array(values: Values) -> Array:
    """Rows of different lengths as an array of arrays."""
    if isinstance(values, np.ndarray):
        return values
    array = np.empty(len(values), object)
    for b, row in enumerate(values):
        array[b] = row
    return array


def _of_arrow(batch: Any) -> tuple[Frame, Callable[[Columns], Any]]:
    def extended(more: Columns) -> Any:
        whole = batch
        for name, values in more.items():
            whole = whole.append_column(name, arrow_column(values))
        return whole

    return Frame(batch, list(batch.schema.names), batch.num_rows, batch.column), extended


def _of_pandas(batch: Any) -> tuple[Frame, Callable[[Columns], Any]]:
    series = sys.modules["pandas"].Series

    def extended(more: Columns) -> Any:
        whole = batch.copy(deep=False)
        for name, values in more.items():
            plain = isinstance(values, np.ndarray) and values.ndim == 1
            rows = values if plain else _array(list(values))
            whole[name] = series(rows, index=batch.index)
        return whole

    return Frame(batch, list(batch.columns), len(batch), batch.__getitem__), extended


def _of_polars(batch: Any) -> tuple[Frame, Callable[[Columns], Any]]:
    def extended(more: Columns) -> Any:
        return batch.with_columns(**{k: _polars_series(v) for k, v in more.items()})

    return Frame(batch, list(batch.columns), len(batch), batch.get_column), extended


def _polars_series(values: Values) -> Any:
    """The values as numbers, or as lists, of lists where there are more axes."""
    pl = sys.modules["polars"]
    if isinstance(values, list):
        return pl.Series(values)
    if isinstance(values, np.ndarray) and values.ndim < 3:
        if values.ndim == 2 and len(values):
            return pl.Series(values).arr.to_list()
        numbers = pl.Series(values.reshape(-1))
        return numbers if values.ndim == 1 else pl.Series([], dtype=pl.List(numbers.dtype))
    whole = ragged(values)
    steps = _polars_series(whole.values)
    rows = [steps[start:stop] for start, stop in pairwise(whole.offsets.tolist())]
    return pl.Series(rows, dtype=pl.List(steps.dtype))


_KINDS = {
    ("pyarrow", "Table"): _of_arrow,
    ("pyarrow", "RecordBatch"): _of_arrow,
    ("pandas", "DataFrame"): _of_pandas,
    ("polars", "DataFrame"): _of_polars,
}
