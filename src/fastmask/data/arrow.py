"""Arrow's arrays, of any library that has them, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from .._typing import Array, Ints
from .c_interface import Chunk, chunks_of
from .columns import NOTHING, Column

_NUMBERS = dict(zip("cCsSiIlLefg", "i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8".split(), strict=True))
_OFFSETS = {"+l": np.int32, "+L": np.int64, "u": np.int32, "U": np.int64}
_VIEWS = {"+vl": np.int32, "+vL": np.int64}
_NAMES = {
    "z": "bytes", "Z": "bytes", "vz": "bytes", "w:": "bytes", "d:": "decimal numbers",
    "t": "times", "+s": "structs", "+m": "maps", "+u": "unions", "+r": "run-length encoded values",
}  # fmt: skip
_INLINE = 12  # bytes of a text that stand in its view


def columns_of(column: Any) -> list[Column]:
    """What an Arrow array, or a chunked one, holds.

    Args:
        column: an object with `__arrow_c_array__` or `__arrow_c_stream__`.

    Raises:
        TypeError: it does not hold numbers, texts, or lists of these.
        ValueError: it cannot be read.
    """
    chunks = chunks_of(column)
    if chunks[0].format == "+s":
        raise TypeError("x must be one column of lists, not a table or structs: give a column")
    if chunks[0].format == "n" and not any(chunk.length for chunk in chunks):
        return [NOTHING]
    return [_column(chunk, 0, chunk.length) for chunk in chunks]


def _column(chunk: Chunk, start: int, stop: int) -> Column:
    """Some values of a chunk."""
    start, stop = start + chunk.offset, stop + chunk.offset
    if chunk.extension:
        raise TypeError(f"x must hold plain Arrow types, not an extension type of {chunk.format!r}")
    if chunk.format == "n":
        return Column(np.zeros(stop - start, np.float32), valid=np.zeros(stop - start, np.bool_))
    known = chunk.nulls and chunk.buffers and chunk.buffers[0]
    valid = chunk.bits(0, start, stop) if known and stop > start else None
    if chunk.dictionary is not None:
        return _looked_up(chunk, start, stop, valid)
    if chunk.format.startswith("+"):
        return _lists(chunk, start, stop)._replace(valid=valid)
    return Column(_values(chunk, start, stop), valid=valid)


def _lists(chunk: Chunk, start: int, stop: int) -> Column:
    kind, _, size = chunk.format.partition(":")
    if kind == "+w":
        offsets = np.arange(start, stop + 1) * int(size)
    elif kind in _OFFSETS:
        offsets = _offsets(chunk, start, stop)
    elif kind in _VIEWS:
        return _views(chunk, start, stop)
    else:
        raise _strange(chunk)
    inner = _column(chunk.children[0], int(offsets[0]), int(offsets[-1]))
    return Column(inner, offsets - offsets[0] if offsets[0] else offsets)


def _offsets(chunk: Chunk, start: int, stop: int) -> Ints:
    found = chunk.memory(1, _OFFSETS[chunk.format], start, stop + 1)
    return found.astype(np.int64, copy=False) if len(found) else np.zeros(1, np.int64)


def _views(chunk: Chunk, start: int, stop: int) -> Column:
    """List views: if the lists follow each other, they are like other lists."""
    dtype = _VIEWS[chunk.format]
    starts, sizes = (chunk.memory(i, dtype, start, stop).astype(np.int64) for i in (1, 2))
    starts = np.where(sizes, starts, 0)  # an empty list may start anywhere
    offsets = np.append(0, np.cumsum(sizes))
    filled = starts[sizes > 0]
    low = int(filled.min()) if len(filled) else 0
    high = int((starts + sizes).max(initial=low))
    inner = _column(chunk.children[0], low, high)
    if (filled - low != offsets[:-1][sizes > 0]).any():
        steps = np.repeat(starts - low - offsets[:-1], sizes) + np.arange(offsets[-1])
        inner = _taken(inner, steps)
    return Column(inner, offsets)


def _taken(column: Column, index: Ints) -> Column:
    """Some values of a column, in that order."""
    valid = None if column.valid is None else column.valid[index]
    if column.offsets is None or not isinstance(column.values, Column):
        assert isinstance(column.values, np.ndarray)
        return Column(column.values[index], valid=valid)
    starts, sizes = column.offsets[index], np.diff(column.offsets)[index]
    offsets = np.append(0, np.cumsum(sizes))
    steps = np.repeat(starts - offsets[:-1], sizes) + np.arange(offsets[-1])
    return Column(_taken(column.values, steps), offsets, valid)


def _looked_up(chunk: Chunk, start: int, stop: int, valid: Any) -> Column:
    """Dictionary-encoded values, decoded."""
    assert chunk.dictionary is not None
    words = _column(chunk.dictionary, 0, chunk.dictionary.length)
    index = chunk.memory(1, _NUMBERS[chunk.format], start, stop)
    if valid is not None:
        index = np.where(valid, index, 0)
    if not chunk.dictionary.length:
        values = np.zeros(stop - start, getattr(words.values, "dtype", None))
        return Column(values, valid=valid)
    found = _taken(words, index.astype(np.int64))
    if valid is not None:
        found = found._replace(valid=valid if found.valid is None else found.valid & valid)
    return found


def _values(chunk: Chunk, start: int, stop: int) -> Array:
    if chunk.format in _NUMBERS:
        return chunk.memory(1, _NUMBERS[chunk.format], start, stop)
    if chunk.format == "b":
        return chunk.bits(1, start, stop)
    if chunk.format in ("u", "U"):
        offsets = _offsets(chunk, start, stop)
        found = chunk.memory(2, np.uint8, int(offsets[0]), int(offsets[-1]))
        return texts(found.tobytes(), (offsets - offsets[0]).tolist())
    if chunk.format == "vu":
        return _text_views(chunk, start, stop)
    raise _strange(chunk)


def texts(joined: bytes, offsets: Sequence[int]) -> Array:
    """Texts in UTF-8 that follow each other, as an array of `str`."""
    found = [joined[start:stop].decode("utf-8", "replace") for start, stop in pairwise(offsets)]
    return np.array(found, str)


def _text_views(chunk: Chunk, start: int, stop: int) -> Array:
    """Text views: short texts are in their views, others elsewhere."""
    raw = chunk.memory(1, "V16", start, stop).tobytes()
    found = []
    for i, (size, _, buffer, at) in enumerate(np.frombuffer(raw, "i4").reshape(-1, 4).tolist()):
        if size <= _INLINE:
            text = raw[16 * i + 4 : 16 * i + 4 + size]
        else:
            text = chunk.memory(2 + buffer, np.uint8, at, at + size).tobytes()
        found.append(text.decode("utf-8", "replace"))
    return np.array(found, str)


def _strange(chunk: Chunk) -> TypeError:
    found = next((n for f, n in _NAMES.items() if chunk.format.startswith(f)), repr(chunk.format))
    return TypeError(f"x must hold lists of numbers or texts, not of {found}")
