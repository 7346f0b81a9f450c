"""Rows of different lengths from data libraries, without padding.

Also the data that the demo and the tests use; README.md says where it is from.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from .._checks import shown
from .._typing import Array, Ints
from ..backends.dispatch import as_array
from ..masks.masked import Masked
from ..masks.ragged import Ragged
from .columns import joined, rows_in, single_values
from .rows import rows_in_list

__all__ = ["ragged"]

ARROW = ("__arrow_c_array__", "__arrow_c_stream__")


def ragged(x: Any) -> Ragged:
    """Rows of different lengths, from any library, as a `Ragged`.

    Numbers are not copied if they are contiguous in memory, as in an Arrow array of one chunk; then
    do not change `x` afterwards. Nothing is imported: pyarrow, Polars, pandas, Awkward and PyTorch
    are reached through the objects that they made.

    Args:
        x: rows of steps, where a step is a number, a text or an array or list, all of one shape:

            - lists, tuples or arrays; or an array (B, T, ...), whose steps are all valid;
            - an Arrow array of lists, or a chunked one, from pyarrow, Polars or any library with
              the Arrow PyCapsule interface: list, large list, fixed-size list or list view of
              numbers, bools, texts, dictionary-encoded texts, or lists of one length;
            - a pandas Series, of objects or backed by Arrow;
            - an Awkward array, or a jagged nested tensor of PyTorch;
            - a `Masked`, or a `Ragged`, which is returned as it is.

    Returns:
        The rows.

    Raises:
        TypeError: it is none of these, or does not hold numbers or texts.
        ValueError: a row is null or has nulls, or steps differ in shape; the message says which.

    Examples:
        >>> import fastmask as fm
        >>> fm.ragged([[0.5, 0.25], [], [1.0]])
        Ragged(shape=(3, None), dtype=float64, steps=3)
    """
    if isinstance(x, Ragged):
        return x
    if isinstance(x, Masked):
        return x.to_ragged()
    values, offsets = _rows_of(x)
    return Ragged(values, offsets)


def _rows_of(x: Any) -> tuple[Array, Ints]:
    """The steps of all rows, and the offsets of the rows among them."""
    known = origins(x)
    if ("pandas", "Series") in known:
        return _of_pandas(x)
    if ("awkward", "Array") in known:
        return rows_in(_reader("awkward_arrays").column_of(x))
    if any(hasattr(type(x), name) for name in ARROW):
        return joined(_reader("arrow").columns_of(x))
    if ("torch", "Tensor") in known and x.is_nested:
        return _of_nested(x)
    if isinstance(x, memoryview):  # Python iterates over those of one axis only
        x = np.asarray(x)
    if hasattr(x, "__array__") and not (isinstance(x, np.ndarray) and x.dtype == object):
        return _of_array(as_array(x, "x"))
    if isinstance(x, (str, bytes, dict)) or not np.iterable(x):
        raise TypeError(f"x must be rows of steps, such as a list of lists, not {shown(x)}")
    return rows_in_list(x)


def origins(x: Any) -> set[tuple[str, str]]:
    """Packages and names of an object's classes, which identify it without an import."""
    return {(cls.__module__.partition(".")[0], cls.__name__) for cls in type(x).__mro__}


def arrow_column(x: Any) -> Array | Ragged:
    """The rows of an Arrow column of lists, or the numbers or texts of another column.

    Raises:
        TypeError: its type is neither.
        ValueError: something is null, or steps differ in shape.
    """
    columns = _reader("arrow").columns_of(x)
    if columns[0].offsets is not None:
        return Ragged(*joined(columns))
    parts = [single_values(column) for column in columns]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _reader(name: str) -> Any:
    """A module for a library that may be missing, imported when it is needed."""
    return import_module(f".{name}", __name__)


def _of_array(x: Array) -> tuple[Array, Ints]:
    if x.ndim < 2:
        raise ValueError(f"x must have shape (batch, time, ...), not {x.shape}")
    batch, time = x.shape[:2]
    return x.reshape(batch * time, *x.shape[2:]), np.arange(batch + 1) * time


def _of_pandas(x: Any) -> tuple[Array, Ints]:
    if getattr(x.dtype, "pyarrow_dtype", None) is not None:
        return _rows_of(x.array.__arrow_array__())
    if x.dtype != object:
        raise TypeError(f"x must be a pandas Series of lists, not of {x.dtype}")
    return _rows_of(x.to_numpy())


def _of_nested(x: Any) -> tuple[Array, Ints]:
    """A nested tensor of PyTorch's, jagged or not."""
    if x.device.type != "cpu":
        raise TypeError(f"x must be on the CPU, not on {x.device}: call its cpu()")
    x = x.detach()
    if str(x.layout) != "torch.jagged" or x.lengths() is not None:
        return _rows_of([as_array(row, f"x[{b}]") for b, row in enumerate(x.unbind())])
    if x._ragged_idx != 1:
        raise ValueError(f"x must be ragged in axis 1, not in axis {x._ragged_idx}")
    return as_array(x.values(), "x"), as_array(x.offsets(), "x").astype(np.int64, copy=False)
