"""Sequences of different lengths to one padded array.

This is not a compiled kernel because the time goes into leaving Python objects. What was
fastest for 20 000 rows of about 100 steps, as a multiple of Keras's speed in the same run:

- lists of numbers: `struct` packs each row into its place and refuses numbers that do not
  fit: 2.3 (`np.fromiter`, `array.array`: 2.1; `np.array` a row: 1);
- arrays of the wanted dtype: one `bytearray.join` over rows and gaps in turn: 3.5
  (concatenation and a compiled scatter: 3; one assignment a row: 2.7);
- arrays of wider integers: padded in blocks that stay in cache, checked and narrowed: 3.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np

from ._casting import are_integers, check_cast, common_dtype, fill_value, integer_range
from ._dispatch import as_array
from ._typing import Array

_BLOCK_BYTES = 1 << 18
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


@dataclass(frozen=True)
class Ragged:
    """Sequences and where they go: row b, of lengths[b] steps, to one end of `time` steps."""

    rows: list[Any]
    lengths: list[int]
    time: int
    pre: bool

    def places(self) -> Iterator[tuple[int, Any, int, int]]:
        """For each row: its number, itself, the first and the end of its steps in (B * T)."""
        count = len(self.rows)
        steps = np.array(self.lengths, np.int64)
        starts = np.arange(count) * self.time + (self.time - steps if self.pre else 0)
        return zip(range(count), self.rows, starts.tolist(), (starts + steps).tolist(), strict=True)


def ragged(sequences: Any, maxlen: int | None, pre_pad: bool, pre_truncate: bool) -> Ragged:
    """Any iterable of sequences, none longer than `maxlen` any more.

    Raises:
        ValueError: `sequences` or an entry of it is not a sequence.
    """
    try:
        if isinstance(sequences, (str, bytes, Mapping)):
            raise TypeError
        rows = list(sequences)
    except TypeError:
        raise ValueError(f"sequences must be a list of sequences, not {sequences!r:.80}") from None
    if not set(map(type, rows)) <= _SLICEABLE:
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
    longest = max(lengths, default=0)
    time = longest if maxlen is None else maxlen
    if longest > time:
        rows = [
            row if n <= time else row[n - time :] if pre_truncate else row[:time]
            for row, n in zip(rows, lengths, strict=True)
        ]
        lengths = [min(n, time) for n in lengths]
    return Ragged(rows, lengths, time, pre_pad)


def padded(batch: Ragged, dtype: np.dtype[Any] | None, value: Any) -> Array:
    """The sequences as one array (B, T, ...), padded with `value`.

    Raises:
        TypeError: `dtype` is None and the sequences have none in common.
        ValueError: steps differ in shape; `dtype` cannot hold `value` or all of the sequences.
    """
    if set(map(type, batch.rows)) <= _LISTS:
        packed = _pack(batch, dtype, value)
        if packed is not None:
            return packed
    rows = [
        row if type(row) is np.ndarray else _row_array(row, b, dtype)
        for b, row in enumerate(batch.rows)
    ]
    batch = replace(batch, rows=rows)
    filled = [row for row in rows if len(row)] or rows
    dtypes = set(map(attrgetter("dtype"), filled))
    dtype = _complete(common_dtype(dtypes) if dtype is None else dtype, dtypes, value)
    out_shape = (len(rows), batch.time, *_step_shape(batch))
    fill = fill_value(value, dtype)
    only = dtypes.pop() if len(dtypes) == 1 else None
    if only == dtype and not dtype.hasobject:
        joined = _join(batch, out_shape, fill)
        if joined is not None:
            return joined
    out = np.full(out_shape, fill)
    if not (only is not None and out.size and _narrow(out, batch, fill, only)):
        for b, row in enumerate(rows):
            check_cast(row, dtype, f"sequences[{b}]")
        _assign(out, batch)
    return out


def _row_array(row: Any, b: int, dtype: np.dtype[Any] | None) -> Array:
    try:
        return np.asarray(row, object if dtype is not None and dtype.kind == "O" else None)
    except ValueError:
        raise ValueError(f"sequences[{b}] must have steps of one shape, not {row!r:.80}") from None


def _complete(dtype: np.dtype[Any], dtypes: set[np.dtype[Any]], value: Any) -> np.dtype[Any]:
    """`dtype`; if it is a string of no particular size, then of the size that is needed."""
    if dtype.kind not in "SU" or dtype.itemsize:
        return dtype
    unit = np.dtype(f"{dtype.kind}1")
    needed = [d for d in (*dtypes, np.asarray(value).dtype, unit) if d.kind == dtype.kind]
    return max(needed, key=attrgetter("itemsize"))


def _step_shape(batch: Ragged) -> tuple[int, ...]:
    """The shape that all steps have."""
    if set(map(attrgetter("ndim"), batch.rows)) <= {1}:
        return ()
    shapes = {row.shape[1:]: b for b, row in reversed(list(enumerate(batch.rows))) if len(row)}
    if len(shapes) > 1:
        (shape, first), (other, b) = sorted(shapes.items(), key=lambda item: item[1])[:2]
        raise ValueError(
            f"sequences[{b}] has steps of shape {other}, but sequences[{first}] of shape {shape}"
        )
    empty = {row.shape[1:] for row in batch.rows}
    return next(iter(shapes or empty)) if shapes or len(empty) == 1 else ()


def _pack(batch: Ragged, dtype: np.dtype[Any] | None, value: Any) -> Array | None:
    """The padded array of lists of numbers; None if they are not, or `dtype` has no code."""
    first = [row[0] for row in batch.rows if row]
    step_shape: tuple[int, ...] = ()
    if first and set(map(type, first)) <= _LISTS:
        step_shape = (len(first[0]),)
        if any(
            not set(map(type, row)) <= _LISTS or set(map(len, row)) != set(step_shape)
            for row in batch.rows
            if row
        ):
            return None
        batch = replace(batch, rows=[list(chain.from_iterable(row)) for row in batch.rows])
        first = [row[0] for row in batch.rows if row]
    if not first or not set(map(type, first)) <= _NUMBERS:
        return None
    if dtype is None:
        dtype = np.dtype({int: np.int64, float: np.float64}.get(type(first[0]), object))
    if dtype not in _CODES:
        return None
    out = np.full((len(batch.rows), batch.time, *step_shape), fill_value(value, dtype))
    return out if _pack_into(out, batch, _CODES[dtype]) else None


def _pack_into(out: Array, batch: Ragged, code: str) -> bool:
    """Write rows of numbers; False if one does not fit."""
    buffer = memoryview(out.reshape(-1).view(np.uint8).data)
    step_bytes = out[0, 0].nbytes
    order, letter = code[:-1], code[-1]
    packers: dict[int, Any] = {}
    try:
        for _, row, start, _ in batch.places():
            count = len(row)
            pack = packers.get(count)
            if pack is None:
                pack = packers[count] = struct.Struct(f"{order}{count}{letter}").pack_into
            pack(buffer, start * step_bytes, *row)
    except (struct.error, ArithmeticError, TypeError, ValueError):
        return False
    return True


def _join(batch: Ragged, shape: tuple[int, ...], fill: Array) -> Array | None:
    """The padded array of arrays of its own dtype; None if one has no plain buffer."""
    items = math.prod(shape[1:])
    if not batch.rows or not items:
        return None
    gap = memoryview(fill.tobytes() * items)
    step_bytes = len(gap) // batch.time
    gaps = {length: gap[length * step_bytes :] for length in set(batch.lengths)}
    parts: list[Any] = [None] * (2 * len(batch.rows))
    parts[batch.pre :: 2] = batch.rows
    parts[1 - batch.pre :: 2] = map(gaps.__getitem__, batch.lengths)
    try:
        joined = bytearray().join(parts)
    except (TypeError, ValueError, BufferError):
        return None
    return np.frombuffer(joined, fill.dtype).reshape(shape)


def _narrow(out: Array, batch: Ragged, fill: Array, source: np.dtype[Any]) -> bool:
    """Write arrays of a wider integer dtype; False if it is none, or a value does not fit."""
    if not are_integers(source, out.dtype) or np.can_cast(source, out.dtype):
        return False
    source = source.newbyteorder("=")
    low, high = integer_range(source)
    if not low <= int(fill) <= high:
        return False
    low, high = integer_range(out.dtype)
    unsigned = f"u{source.itemsize}"
    count = max(1, _BLOCK_BYTES // (out[0].size * source.itemsize))
    for start in range(0, len(out), count):
        stop = start + count
        part = replace(batch, rows=batch.rows[start:stop], lengths=batch.lengths[start:stop])
        block = np.full((len(part.rows), *out.shape[1:]), fill, source)
        _assign(block, part)
        # Seen as unsigned, negative numbers are large: one comparison for the usual case.
        if block.view(unsigned).max() > high and (block.min() < low or block.max() > high):
            return False
        out[start:stop] = block
    return True


def _assign(out: Array, batch: Ragged) -> None:
    """Write arrays whose cast was checked for all but infinity."""
    flat = out.reshape(-1, *out.shape[2:])
    at = 0
    try:
        with np.errstate(over="raise"):
            for b, row, start, stop in batch.places():
                at = b
                if start < stop:
                    flat[start:stop] = row
    except (FloatingPointError, OverflowError):
        raise ValueError(f"sequences[{at}] holds numbers too large for dtype {out.dtype}") from None
