"""The values of a column of any library."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from .._typing import Array
from ..backends.dispatch import as_array
from ..data import arrow_column, origins, ragged
from ..masks.ragged import Ragged
from ..masks.ragged import joined as joined_rows

Values = Array | Ragged | list[Any]  # one for each row


def values_of(column: Any) -> Values:
    """The values as an array, as rows of different lengths, or as Python's objects.

    Numbers and lists of them are not copied if possible. Columns with nulls or other types become
    lists of Python's objects.

    Args:
        column: a column of pyarrow, Polars, pandas or NumPy, or a list.
    """
    if ("pandas", "Series") in origins(column):
        column = _of_pandas(column)
    if isinstance(column, np.ndarray):
        return _of_array(column)
    if isinstance(column, (list, tuple, Ragged)):
        return list(column) if isinstance(column, tuple) else column
    if hasattr(column, "__arrow_c_array__") or hasattr(column, "__arrow_c_stream__"):
        try:
            return arrow_column(column)
        except (TypeError, ValueError):
            plain: Any = getattr(column, "to_pylist", None) or getattr(column, "to_list", None)
            if plain is None:
                raise
            return list(plain())
    try:
        return _of_array(as_array(column, "column"))
    except (TypeError, ValueError):
        return ragged(column)  # nested tensors, Awkward arrays, batches with a mask


def _of_pandas(column: Any) -> Any:
    """A Series in Arrow's memory, or as an array; as a list where a value is missing.

    A NaN is missing unless it is a number among floats.
    """
    if getattr(column.dtype, "pyarrow_dtype", None) is not None:
        return column.array.__arrow_array__()
    array = column.to_numpy()
    nullable = type(getattr(column.dtype, "na_value", None)).__name__ == "NAType"
    if array.dtype.kind != "f" or nullable:
        missing = np.asarray(column.isna())
        if missing.any():
            rows = zip(array.tolist(), missing.tolist(), strict=True)
            return [None if absent else value for value, absent in rows]
    return array


def _of_array(column: Array) -> Values:
    if column.dtype.kind in "fiubSU":
        return column
    rows = list(column)
    if rows and isinstance(rows[0], (list, np.ndarray)):
        try:
            return ragged(rows)
        except (TypeError, ValueError):
            pass
    return rows


def plain_rows(values: Values) -> list[Any]:
    """Numbers, and lists of them; float32 with no more digits than it has."""
    if isinstance(values, Ragged):
        steps = plain_rows(values.values)
        return [steps[start:stop] for start, stop in pairwise(values.offsets.tolist())]
    if isinstance(values, list):
        return [plain_rows(one) if isinstance(one, np.ndarray) else one for one in values]
    if values.dtype == np.float32:
        values = values.astype(str).astype(np.float64)
    plain: list[Any] = values.tolist()
    return plain


def joined(parts: Iterable[Values]) -> Values:
    """The values of all rows; those of different lengths without padding."""
    each = list(parts)
    arrays = [part for part in each if isinstance(part, np.ndarray)]
    if len(arrays) == len(each) and len({one.shape[1:] for one in arrays}) == 1:
        return np.concatenate(arrays)
    return joined_rows([ragged(part) for part in each])
