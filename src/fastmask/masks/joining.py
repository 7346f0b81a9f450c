"""Join sequences of different lengths into one padded array.

This is not a compiled kernel because the time goes into leaving Python objects. Processor
milliseconds for 20 000 rows of about 100 steps, with Keras beside them in the same run:

- lists of numbers (Keras 72): `struct` packs each row into its place and refuses numbers that
  do not fit, 31; `np.fromiter` and `array.array` take that long before anything is padded, an
  assignment a row 65;
- arrays of the wanted dtype (Keras 22): one `bytearray.join` over rows and gaps in turn, 5;
  concatenation and a compiled scatter 7, an assignment a row 8;
- arrays of wider integers (Keras 32): joined in blocks that stay in cache, checked and
  narrowed, 8; the same with assignments 10.

What remains is to look at each row's type, length, dtype and rank: 3 more.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping
from itertools import chain
from operator import attrgetter, sub
from typing import Any, NamedTuple

import numpy as np

from .._checks import shown
from .._typing import Array
from ..backends.dispatch import as_array
from .casting import are_integers, check_cast, common_dtype, fill_value, integer_range, keeps_all

_BLOCK_BYTES = 1 << 20
_LISTS = {list, tuple}
_SLICEABLE = {list, tuple, np.ndarray}
_NUMBERS = {int, float, bool, *(np.dtype(code).type for code in "bBhHiIlLqQefd")}
# "=" lets `struct` refuse numbers that would become infinite.
_CODES = {
    np.dtype(name): code
    for name, code in (
        *(("int8", "b"), ("int16", "h"), ("int32", "i"), ("int64", "q")),
        *(("uint8", "B"), ("uint16", "H"), ("uint32", "I"), ("uint64", "Q")),
        *(("float16", "=e"), ("float32", "=f"), ("float64", "d")),
    )
}


class Sequences(NamedTuple):
    """Sequences and where they go: `lengths[b]` steps of row b, to one end of `time` steps."""

    rows: list[Any]  # before truncation
    types: set[type]
    lengths: list[int]
    distinct: set[int]  # lengths
    time: int
    pre: bool
    cut_first: bool | None  # drop first or last steps; None if no row is too long

    def cut_rows(self) -> Iterable[Any]:
        """The truncated rows, made one by one: many new lists at once would wake Python's GC."""
        if self.cut_first is None:
            return self.rows
        time = self.time
        if self.cut_first:
            return (row[len(row) - time :] if len(row) > time else row for row in self.rows)
        return (row[:time] if len(row) > time else row for row in self.rows)

    def starts(self) -> Iterable[int]:
        """The first step of each row among all B * T; T is not zero."""
        time, count = self.time, len(self.rows)
        if self.pre:
            return map(sub, range(time, (count + 1) * time, time), self.lengths)
        return range(0, count * time, time)


def sequences_in(
    sequences: Any, maxlen: int | None, pre_pad: bool, pre_truncate: bool
) -> Sequences:
    """Any iterable of sequences.

    Raises:
        ValueError: `sequences` or an entry of it is not a sequence.
    """
    try:
        if isinstance(sequences, (str, bytes, Mapping)):
            raise TypeError
        # Python iterates over a memoryview of one axis only.
        rows = list(np.asarray(sequences) if isinstance(sequences, memoryview) else sequences)
    except TypeError:
        raise ValueError(f"sequences must be a list of sequences, not {shown(sequences)}") from None
    types = set(map(type, rows))
    if not types <= _SLICEABLE:
        rows = [
            row if type(row) in _SLICEABLE else as_array(row, f"sequences[{b}]")
            for b, row in enumerate(rows)
        ]
    try:
        lengths = list(map(len, rows))
    except TypeError:
        b = next(b for b, row in enumerate(rows) if np.ndim(row) == 0)
        raise ValueError(
            f"sequences[{b}] must be a sequence of steps, not {rows[b][()]!r}"
        ) from None
    distinct = set(lengths)
    longest = max(distinct, default=0)
    time = longest if maxlen is None else maxlen
    if longest <= time:
        return Sequences(rows, types, lengths, distinct, time, pre_pad, None)
    lengths = [min(n, time) for n in lengths]
    return Sequences(rows, types, lengths, set(lengths), time, pre_pad, pre_truncate)


def padded(batch: Sequences, dtype: np.dtype[Any] | None, value: Any) -> Array:
    """The sequences as one array (B, T, ...), padded with `value`.

    Raises:
        TypeError: `dtype` is None and the sequences have none in common.
        ValueError: steps differ in shape; `dtype` cannot hold `value` or all of the sequences.
    """
    if batch.types <= _LISTS:
        packed = _pack(batch, dtype, value)
        if packed is not None:
            return packed
    rows = batch.rows
    if batch.types != {np.ndarray}:
        rows = [_row_array(row, b, dtype) for b, row in enumerate(rows)]
    filled = [row for row in rows if len(row)] if 0 in batch.distinct else rows
    dtypes = set(map(attrgetter("dtype"), filled or rows))
    dtype = _complete(common_dtype(dtypes) if dtype is None else dtype, dtypes, value)
    shape = (len(rows), batch.time, *_step_shape(filled or rows, rows))
    batch = batch._replace(rows=rows)
    batch = batch._replace(rows=list(batch.cut_rows()), cut_first=None)
    fill = fill_value(value, dtype, shape[2:])
    out = None
    if math.prod(shape) and len(dtypes) == 1 and not dtype.hasobject:
        (source,) = dtypes
        if source == dtype:
            out = _join(batch, shape, fill)
        elif are_integers(source, dtype) and not np.can_cast(source, dtype):
            out = _narrow(batch, shape, fill, source)
    return _assign(batch, shape, fill, dtypes) if out is None else out


def _row_array(row: Any, b: int, dtype: np.dtype[Any] | None) -> Array:
    if type(row) is np.ndarray:
        return row
    as_objects = dtype is not None and dtype.kind == "O"
    try:
        array = np.asarray(row, object if as_objects else None)
        if dtype is not None and array.dtype.kind == "f" and array.size and are_integers(dtype):
            return np.asarray(row, object)  # so that the error can name the number
        return array
    except ValueError:
        raise ValueError(f"sequences[{b}] must have steps of one shape, not {shown(row)}") from None


def _complete(dtype: np.dtype[Any], dtypes: set[np.dtype[Any]], value: Any) -> np.dtype[Any]:
    """`dtype`; if it is a string of no particular size, then of the size that is needed."""
    if dtype.kind not in "SU" or dtype.itemsize:
        return dtype
    unit = np.dtype(f"{dtype.kind}1")
    needed = [d for d in (*dtypes, np.asarray(value).dtype, unit) if d.kind == dtype.kind]
    return max(needed, key=attrgetter("itemsize"))


def _step_shape(filled: list[Array], rows: list[Array]) -> tuple[int, ...]:
    """The shape that the steps of all `filled` rows have."""
    if not filled or (filled[0].ndim == 1 and set(map(attrgetter("ndim"), filled)) == {1}):
        return ()
    shapes: set[tuple[int, ...]] = {shape[1:] for shape in set(map(attrgetter("shape"), filled))}
    if len(shapes) == 1:
        return shapes.pop()
    if not any(map(len, rows)):
        return ()
    first = next(b for b, row in enumerate(rows) if len(row))
    shape: tuple[int, ...] = rows[first].shape[1:]
    other = next(b for b, row in enumerate(rows) if len(row) and row.shape[1:] != shape)
    raise ValueError(
        f"sequences[{other}] has steps of shape {rows[other].shape[1:]}, "
        f"but sequences[{first}] of shape {shape}"
    )


def _pack(batch: Sequences, dtype: np.dtype[Any] | None, value: Any) -> Array | None:
    """The padded array of lists of numbers; None if they are not, or `dtype` has no code."""
    if not any(batch.distinct):
        return None
    first = next(row[0] for row in batch.rows if row)
    step_shape: tuple[int, ...] = ()
    rows = batch.cut_rows()
    if type(first) in _LISTS:
        steps = list(chain.from_iterable(batch.rows))
        if not set(map(type, steps)) <= _LISTS or len(set(map(len, steps))) != 1 or not first:
            return None
        step_shape, first = (len(first),), first[0]
        rows = (list(chain.from_iterable(row)) for row in rows)
    if type(first) not in _NUMBERS:
        return None
    if dtype is None:
        dtype = np.dtype({int: np.int64, float: np.float64}.get(type(first), object))
    if dtype not in _CODES:
        return None
    fill = fill_value(value, dtype, step_shape)
    out = np.full((len(batch.rows), batch.time, *step_shape), fill)
    return out if _pack_into(out, batch, rows, _CODES[dtype]) else None


def _pack_into(out: Array, batch: Sequences, rows: Iterable[Any], code: str) -> bool:
    """Write rows of numbers; False if one does not fit."""
    order, letter = code[:-1], code[-1]
    step = out[0, 0]
    packers = {
        length: struct.Struct(f"{order}{length * step.size}{letter}").pack_into
        for length in batch.distinct
    }
    buffer = memoryview(out.reshape(-1).view(np.uint8).data)
    step_bytes = step.nbytes
    pack_each = map(packers.__getitem__, batch.lengths)
    try:
        for pack, start, row in zip(pack_each, batch.starts(), rows, strict=True):
            pack(buffer, start * step_bytes, *row)
            # As a float, `struct` would also take an array of one number. This check is cheap now
            # that the row is in cache: before, it took 10 % of the time.
            if row and type(row[-1]) not in _NUMBERS:
                return False
    except (struct.error, ArithmeticError, TypeError, ValueError):
        return False
    return True


def _parts(batch: Sequences, shape: tuple[int, ...], fill: Array) -> list[Any]:
    """Rows and the gaps beside them, in the order of memory."""
    gap = memoryview(np.broadcast_to(fill, shape[1:]).tobytes())
    step_bytes = len(gap) // batch.time
    gaps = {length: gap[length * step_bytes :] for length in batch.distinct}
    parts: list[Any] = [None] * (2 * len(batch.rows))
    parts[batch.pre :: 2] = batch.rows
    parts[1 - batch.pre :: 2] = map(gaps.__getitem__, batch.lengths)
    return parts


def _join(batch: Sequences, shape: tuple[int, ...], fill: Array) -> Array | None:
    """The padded array of arrays of its own dtype; None if one of them is no plain buffer."""
    parts = _parts(batch, shape, fill)
    try:
        joined = bytearray().join(parts)
    except TypeError:  # not contiguous, or a dtype like datetime64 that has no buffers
        return None
    return np.frombuffer(joined, fill.dtype).reshape(shape)


def _narrow(
    batch: Sequences, shape: tuple[int, ...], fill: Array, source: np.dtype[Any]
) -> Array | None:
    """The padded array of arrays of a wider integer dtype; None if a value does not fit."""
    low, high = integer_range(source)
    if not low <= int(fill.min()) <= int(fill.max()) <= high:
        return None
    low, high = integer_range(fill.dtype)
    native = source.newbyteorder("=")
    parts = _parts(batch, shape, fill.astype(source))
    out = np.empty(shape, fill.dtype)
    count = max(1, _BLOCK_BYTES // (out[0].size * source.itemsize))
    for start in range(0, len(out), count):
        stop = start + count
        some = parts[2 * start : 2 * stop]
        try:
            joined = b"".join(some)
        except TypeError:
            joined = b"".join([np.ascontiguousarray(part).data for part in some])
        block = np.frombuffer(joined, source).astype(native, copy=False)
        # Seen as unsigned, negative numbers are large: one comparison in the usual case.
        largest = block.view(f"u{source.itemsize}").max()
        if largest > high and (block.min() < low or block.max() > high):
            return None
        out[start:stop] = block.reshape(-1, *shape[1:])
    return out


def _assign(
    batch: Sequences, shape: tuple[int, ...], fill: Array, dtypes: set[np.dtype[Any]]
) -> Array:
    """The padded array of any arrays."""
    dtype = fill.dtype
    if not all(keeps_all(source, dtype) for source in dtypes):
        for b, row in enumerate(batch.rows):
            check_cast(row, dtype, f"sequences[{b}]")
    out = np.full(shape, fill)
    if out.size:
        flat = out.reshape(-1, *shape[2:])
        start = 0
        try:
            with np.errstate(over="raise"):
                for start, length, row in zip(
                    batch.starts(), batch.lengths, batch.rows, strict=True
                ):
                    if length:
                        flat[start : start + length] = row
        except (FloatingPointError, OverflowError):
            b = start // batch.time
            raise ValueError(f"sequences[{b}] holds numbers too large for dtype {dtype}") from None
    return out
