"""Columns of lists, as the libraries that hold such data have them in memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._typing import Array, Bools, Ints
from ..backends.rows import offsets_of


class Column(NamedTuple):
    """Numbers or texts; or, where there are offsets, lists of what `values` holds."""

    values: Array | Column
    offsets: Ints | None = None  # (n + 1,), from 0 to the number of values
    valid: Bools | None = None  # which are there; None if all are


class _Misfit(Exception):
    """A value that a batch cannot hold."""

    def __init__(self, position: int, what: str) -> None:
        super().__init__(what)
        self.position = position  # among all values


NOTHING = Column(Column(np.zeros(0, np.float32)), np.zeros(1, np.int64))
"""No rows, of an unknown type."""


def joined(columns: list[Column]) -> tuple[Array, Ints]:
    """The steps of the rows of all columns, and the offsets of the rows; see `rows_in`.

    Raises:
        TypeError: they hold no lists.
        ValueError: a row does not fit.
    """
    if len(columns) == 1:
        return rows_in(columns[0])
    values: list[Array] = []
    lengths: list[Ints] = []
    rows = 0
    for column in columns:
        own, offsets = rows_in(column, rows)
        if len(own) and values and own.shape[1:] != values[0].shape[1:]:
            raise ValueError(
                f"x[{rows}] has steps of shape {own.shape[1:]}, but those before it of shape "
                f"{values[0].shape[1:]}"
            )
        if len(own):
            values.append(own)
        lengths.append(np.diff(offsets))
        rows += len(offsets) - 1
    return np.concatenate(values or [own]), offsets_of(np.concatenate(lengths))


def rows_in(column: Column, first: int = 0) -> tuple[Array, Ints]:
    """The steps of all rows, and the offsets of the rows among them.

    Args:
        column: lists of steps.
        first: the number of its first row, for messages.

    Raises:
        TypeError: it holds no lists.
        ValueError: a row is null, or has a null in it, or steps of different lengths.
    """
    offsets = column.offsets
    if offsets is None or not isinstance(column.values, Column):
        raise TypeError("x must hold a list for each row, not single values")
    try:
        _check_all_there(column)
        try:
            return _steps(column.values), offsets
        except _Misfit as misfit:
            row = int(np.searchsorted(offsets, misfit.position, "right")) - 1
            raise _Misfit(row, f"has {misfit} at step {misfit.position - offsets[row]}") from None
    except _Misfit as misfit:
        said = "is null" if str(misfit) == _NULL else str(misfit)
        raise ValueError(f"x[{first + misfit.position}] {said}") from None


def single_values(column: Column) -> Array:
    """The numbers or texts of a column that has no lists.

    Raises:
        ValueError: one is null.
    """
    try:
        return _steps(column)
    except _Misfit as misfit:
        raise ValueError(f"x[{misfit.position}] is null") from None


_NULL = "a null"


def _check_all_there(column: Column) -> None:
    if column.valid is not None and not column.valid.all():
        raise _Misfit(int(column.valid.argmin()), _NULL)


def _steps(column: Column) -> Array:
    """The values as an array (P, ...), where those that are lists all have one length."""
    _check_all_there(column)
    values, offsets = column.values, column.offsets
    if offsets is None or not isinstance(values, Column):
        assert isinstance(values, np.ndarray)
        return values
    widths = np.diff(offsets)
    width = int(widths[0]) if len(widths) else 0
    odd = widths != width
    if odd.any():
        position = int(odd.argmax())
        raise _Misfit(position, f"{widths[position]} values, where the first has {width},")
    try:
        inner = _steps(values)
    except _Misfit as misfit:
        raise _Misfit(misfit.position // width, str(misfit)) from None
    return inner.reshape(len(widths), width, *inner.shape[1:])
