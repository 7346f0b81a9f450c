"""Ragged sequences to one padded array, and back.

Padding lives here and not among the compiled kernels because its time goes into leaving
Python objects. What is fastest for 20 000 rows of about 100 steps, against Keras in the same
run:

- lists of numbers: `struct` packs a row straight into its place, and refuses what does not
  fit (2.3 times faster; `np.fromiter`, `array.array` and `np.array` reach 1.0 to 2.1);
- arrays of the wanted dtype: one `bytearray.join` of rows and gaps in turn (3.7 times;
  concatenation and a compiled scatter reach 3, one assignment a row 2.7);
- wider integers: padded in small blocks that stay in cache, checked, then narrowed (3 times).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np

from ._casting import (
    as_dtype,
    cast,
    check_cast,
    common_dtype,
    fill_value,
    integer_range,
    is_narrowing,
)
from ._checks import choice, whole_number
from ._dispatch import as_array, kernels
from ._mask import Mask, Masked
from ._typing import Array

_BLOCK_BYTES = 1 << 18
_LISTS = {list, tuple}
_SLICEABLE = {list, tuple, np.ndarray}
_NUMBERS = {int, float, bool, *(np.dtype(code).type for code in "bBhHiIlLqQefd")}
# "=" makes `struct` refuse a number that would become infinite.
_CODES = {
    np.dtype(name): code
    for name, code in (
        *(("int8", "b"), ("int16", "h"), ("int32", "i"), ("int64", "q")),
        *(("uint8", "B"), ("uint16", "H"), ("uint32", "I"), ("uint64", "Q")),
        *(("float16", "=e"), ("float32", "=f"), ("float64", "d")),
    )
}


def pad_sequences(
    sequences: Iterable[Any],
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> Array:
    """Pad or truncate sequences to one length, as `keras.utils.pad_sequences` does.

    Args:
        sequences: (B,) sequences of T_b steps each: lists, tuples or arrays of numbers, or of
            feature vectors (or larger arrays) that all have one shape. Any iterable of them.
        maxlen: number of steps T of the result; by default that of the longest sequence.
        dtype: of the result. `object` and strings are possible; None takes the dtype that
            NumPy gives the sequences.
        padding: "pre" or "post", where short sequences are padded.
        truncating: "pre" or "post", where long sequences lose steps.
        value: what to pad with.

    Returns:
        Array (B, T) or (B, T, *features) of `dtype`. Without sequences, (0, maxlen or 0).

    Raises:
        TypeError: `dtype` is no dtype, or `maxlen` no integer.
        ValueError: `padding`, `truncating` or `maxlen` is out of its range; an entry of
            `sequences` is not a sequence, or its steps have another shape than those before;
            a cast to `dtype` would lose values: floats of any kind into integers, integers out
            of range, a fractional or NaN `value` into integers, finite floats that become
            infinite. Rounding to the nearest float is no loss.

    Source:
        Keras 3: `keras.utils.pad_sequences`.

    Example:
        >>> import fastmask as fm
        >>> fm.pad_sequences([[711, 632, 71], [73, 8, 3215, 55, 927]])
        array([[   0,    0,  711,  632,   71],
               [  73,    8, 3215,   55,  927]], dtype=int32)
        >>> fm.pad_sequences([[711, 632, 71], [73]], maxlen=2, padding="post", value=-1)
        array([[632,  71],
               [ 73,  -1]], dtype=int32)
    """
    return _padded(sequences, maxlen, dtype, padding, truncating, value)[0]


def pad(
    sequences: Iterable[Any],
    maxlen: int | None = None,
    dtype: Any = None,
    padding: str = "post",
    truncating: str = "post",
    value: Any = 0,
) -> Masked:
    """Pad or truncate sequences to one length, and keep a mask of the steps that exist.

    Args:
        sequences: as for `pad_sequences`.
        maxlen: number of steps T of the result; by default that of the longest sequence.
        dtype: of the result; by default the one that NumPy gives the sequences.
        padding: "pre" or "post", where short sequences are padded.
        truncating: "pre" or "post", where long sequences lose steps.
        value: what to pad with. The mask does not depend on it.

    Returns:
        `Masked` with data (B, T) or (B, T, *features) and its mask (B, T).

    Raises:
        TypeError: as for `pad_sequences`; or the sequences have no common dtype.
        ValueError: as for `pad_sequences`.

    Source:
        Keras 3: `keras.utils.pad_sequences`; PyTorch: `torch.nn.utils.rnn.pad_sequence`.

    Example:
        >>> import fastmask as fm
        >>> x = fm.pad([[0.5, 0.25], [1.0]])
        >>> x.data
        array([[0.5 , 0.25],
               [1.  , 0.  ]])
        >>> x.mask.valid
        array([[ True,  True],
               [ True, False]])
    """
    data, lengths = _padded(sequences, maxlen, dtype, padding, truncating, value)
    counts = np.array(lengths, np.int64)
    return Masked(data, Mask.from_lengths(counts, data.shape[1], padding))


def unpad(masked: Masked) -> list[Array]:
    """Take the valid steps of each sequence out of a batch; the inverse of `pad`.

    Args:
        masked: data (B, T, ...) with any mask, also one with holes.

    Returns:
        B arrays (T_b, ...) of the dtype of the data. They are a copy of the data, and parts
        of one array in memory.

    Raises:
        TypeError: `masked` is not a `Masked`.

    Source:
        PyTorch: `torch.nn.utils.rnn.unpad_sequence`.

    Example:
        >>> import fastmask as fm
        >>> fm.unpad(fm.Masked([[7, 8, 0], [5, 0, 6]], [[1, 1, 0], [1, 0, 1]]))
        [array([7, 8]), array([5, 6])]
    """
    if not isinstance(masked, Masked):
        raise TypeError(f"masked must be a fastmask.Masked, not {type(masked).__name__}")
    data, plan = masked.data, masked.mask.plan
    tail = data.shape[2:]
    if data.dtype.hasobject:
        values = data[masked.mask.valid]
    else:
        width = int(np.prod(tail))
        flat = np.require(data, requirements=["C", "A"]).reshape(*data.shape[:2], width)
        values = np.empty((len(plan.steps), width), data.dtype)
        kernels().unpad_rows(values, flat, plan.steps)
        values = values.reshape(-1 if values.size else len(plan.steps), *tail)
    ends = plan.offsets.tolist()
    return [values[start:stop] for start, stop in zip(ends, ends[1:], strict=False)]


@dataclass
class _Batch:
    """Truncated rows and where they go."""

    rows: list[Any]
    lengths: list[int]
    time: int
    pre: bool

    def shape(self, tail: tuple[int, ...]) -> tuple[int, ...]:
        return (len(self.rows), self.time, *tail)

    def places(self) -> Iterable[tuple[int, Any, int, int]]:
        """Number, row, first and last + 1 flat step of each row that has any."""
        start = 0
        for i, (row, length) in enumerate(zip(self.rows, self.lengths, strict=True)):
            if length:
                first = start + self.time - length if self.pre else start
                yield i, row, first, first + length
            start += self.time

    def part(self, start: int, stop: int) -> _Batch:
        return _Batch(self.rows[start:stop], self.lengths[start:stop], self.time, self.pre)


def _padded(
    sequences: Any, maxlen: Any, dtype: Any, padding: Any, truncating: Any, value: Any
) -> tuple[Array, list[int]]:
    """The padded array and the lengths after truncation."""
    choice(padding, "padding", ("pre", "post"))
    choice(truncating, "truncating", ("pre", "post"))
    target = None if dtype is None else as_dtype(dtype)
    limit = None if maxlen is None else whole_number(maxlen, "maxlen", 0)
    rows = _rows(sequences)
    lengths = list(map(len, rows))
    longest = max(lengths, default=0)
    time = longest if limit is None else limit
    if longest > time:
        late = truncating == "pre"
        rows = [
            row if n <= time else row[n - time :] if late else row[:time]
            for row, n in zip(rows, lengths, strict=True)
        ]
        lengths = [min(n, time) for n in lengths]
    batch = _Batch(rows, lengths, time, padding == "pre")
    padded = _from_numbers(batch, target, value) if set(map(type, rows)) <= _LISTS else None
    return _from_arrays(batch, target, value) if padded is None else padded, lengths


def _rows(sequences: Any) -> list[Any]:
    """Every sequence as a list, a tuple or an array of at least one axis."""
    if isinstance(sequences, (str, bytes, Mapping)):
        raise ValueError(f"sequences must be a list of sequences, not {sequences!r}")
    try:
        rows = list(sequences)
    except TypeError:
        raise ValueError(f"sequences must be a list of sequences, not {sequences!r}") from None
    if not set(map(type, rows)) <= _SLICEABLE:
        rows = [
            row if type(row) in _SLICEABLE else as_array(row, f"sequences[{i}]")
            for i, row in enumerate(rows)
        ]
    for i, row in enumerate(rows):
        if type(row) is np.ndarray and row.ndim == 0:
            raise ValueError(f"sequences[{i}] must be a sequence of steps, not {row[()]!r}")
    return rows


def _from_numbers(batch: _Batch, target: np.dtype[Any] | None, value: Any) -> Array | None:
    """The padded array, if the rows are lists of numbers that `target` takes, else None."""
    first = [row[0] for row in batch.rows if row]
    if not first or not set(map(type, first)) <= _NUMBERS:
        return None
    if target is None:
        target = {int: np.dtype(np.int64), float: np.dtype(np.float64)}.get(type(first[0]))
    code = _CODES.get(target) if target is not None else None
    if target is None or code is None:
        return None
    out = np.full(batch.shape(()), fill_value(value, target))
    buffer = memoryview(out.reshape(-1).view(np.uint8))
    size = target.itemsize
    order, letter = code[:-1], code[-1]
    packers: dict[int, Any] = {}
    try:
        for _, row, start, stop in batch.places():
            pack = packers.get(stop - start)
            if pack is None:
                pack = struct.Struct(f"{order}{stop - start}{letter}").pack_into
                packers[stop - start] = pack
            pack(buffer, start * size, *row)
    except (struct.error, TypeError, ValueError, OverflowError):
        return None
    return out


def _from_arrays(batch: _Batch, target: np.dtype[Any] | None, value: Any) -> Array:
    """The padded array of rows of any kind."""
    batch.rows = [
        row if type(row) is np.ndarray else _as_row(row, i, target)
        for i, row in enumerate(batch.rows)
    ]
    filled = [row for row in batch.rows if len(row)]
    dtypes = set(map(attrgetter("dtype"), filled or batch.rows))
    if target is None:
        target = common_dtype(dtypes)
    if target.kind in "SU" and target.itemsize == 0:
        longest = max((d.itemsize for d in dtypes if d.kind == target.kind), default=0)
        own = fill_value(value, np.asarray(value).dtype).astype(target).itemsize
        target = np.dtype((target.type, max(longest, own) // np.dtype(f"{target.kind}1").itemsize))
    fill = fill_value(value, target)
    tail = _tail(batch)
    narrow = len(dtypes) == 1 and is_narrowing(next(iter(dtypes)), target)
    if batch.time == 0 or 0 in tail or not filled:
        return np.full(batch.shape(tail), fill)
    if dtypes == {target} and not target.hasobject:
        joined = _join(batch, tail, fill)
        return _assign(batch, tail, fill) if joined is None else joined
    if narrow:
        return _narrow(batch, tail, fill, next(iter(dtypes)))
    if not all(np.can_cast(dtype, target) for dtype in dtypes):
        for i, row in enumerate(batch.rows):
            check_cast(row, target, f"sequences[{i}]")
    return _assign(batch, tail, fill)
