"""Parquet, by pyarrow: types and order of the columns stay as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np

from .._typing import Array
from ..loaders._reading import opened
from .batch import Batch, Columns, Values

NEEDS = "pyarrow"


class ArrowBatch:
    """A batch of rows in a table of pyarrow's."""

    def __init__(self, table: Any, first: int, share: float) -> None:
        self.table, self.first, self.share = table, first, share

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def names(self) -> list[str]:
        return list(self.table.schema.names)

    def column(self, name: str) -> Values:
        return _values(self.table.column(name).combine_chunks())

    def records(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.table.to_pylist()
        return rows


def batches(path: Path, rows: int) -> Iterator[ArrowBatch]:
    """The rows, so many at a time; the first ones even if there are none."""
    pa, first = import_module("pyarrow"), 0
    with opened(path):  # a regular file
        pass
    try:
        with import_module("pyarrow.parquet").ParquetFile(path) as file:
            count = file.metadata.num_rows
            if not count:
                yield ArrowBatch(file.schema_arrow.empty_table(), 0, 1.0)
            for some in file.iter_batches(batch_size=rows):
                stop = first + some.num_rows
                yield ArrowBatch(pa.Table.from_batches([some]), first, stop / count)
                first = stop
    except pa.ArrowException as error:
        raise ValueError(f"{path} is not a Parquet file that can be read: {error}") from error


def _values(column: Any) -> Values:
    """Numbers as an array, lists of numbers as a list of arrays, and others as Python's objects."""
    types = import_module("pyarrow.types")
    if types.is_integer(column.type) or types.is_floating(column.type):
        return _numbers(column) if not column.null_count else column.to_pylist()
    if not (types.is_list(column.type) or types.is_large_list(column.type)):
        return list(column.to_pylist())
    inner = column.type.value_type
    flat = types.is_integer(inner) or types.is_floating(inner)
    if column.null_count or not flat or column.values.null_count:
        return list(column.to_pylist())
    numbers, offsets = _numbers(column.values), column.offsets.to_pylist()
    return [numbers[start:stop] for start, stop in pairwise(offsets)]


def _numbers(column: Any) -> Array:
    numbers: Array = column.to_numpy(zero_copy_only=False)
    return numbers


class Writer:
    """Writes batches, which must have the types of the first one."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._out: Any = None
        self._schema: Any = None  # of the rows without what is added

    def write(self, batch: Batch, more: Columns) -> None:
        table = batch.table if isinstance(batch, ArrowBatch) else self._as_table(batch)
        self._schema = table.schema
        for name, values in more.items():
            table = table.append_column(name, _column(values))
        if self._out is None:
            self._out = import_module("pyarrow.parquet").ParquetWriter(self._file, table.schema)
        self._out.write_table(table)

    def close(self) -> None:
        if self._out is not None:
            self._out.close()

    def _as_table(self, batch: Batch) -> Any:
        pa, records = import_module("pyarrow"), batch.records()
        columns = {name: [row.get(name) for row in records] for name in batch.names()}
        if self._schema is not None and not set(columns) <= set(self._schema.names):
            strange = ", ".join(set(columns) - set(self._schema.names))
            raise ValueError(f"later rows have {strange}, which the first {batch.first} have not")
        try:
            return pa.Table.from_pylist(records, schema=self._schema or pa.table(columns).schema)
        except pa.ArrowException as error:
            what = f"rows from {batch.first + 1} on"
            raise ValueError(f"{what} do not fit the types of a Parquet column: {error}") from error


@contextmanager
def writer(file: IO[bytes]) -> Iterator[Writer]:
    """What writes into an open file."""
    rows = Writer(file)
    try:
        yield rows
    finally:
        rows.close()


def _column(values: Values) -> Any:
    """An array of numbers, of lists of them, and so on, in pyarrow's form."""
    pa = import_module("pyarrow")
    if not isinstance(values, list):
        return _nested(pa.array(values.reshape(-1)), values.shape)
    filled = [one for one in values if one.size] or values
    if not filled:
        return pa.array([], pa.list_(pa.float32()))
    steps = np.concatenate([one.reshape(-1, *filled[0].shape[1:]) for one in values])
    lengths = [len(one) for one in values]
    return _lists(_nested(pa.array(steps.reshape(-1)), steps.shape), lengths)


def _nested(numbers: Any, shape: Sequence[int]) -> Any:
    """The numbers of an array of that shape as lists, but for its first axis."""
    for axis in range(len(shape) - 1, 0, -1):
        count = int(np.prod(shape[:axis]))
        numbers = _lists(numbers, [shape[axis]] * count)
    return numbers


def _lists(values: Any, lengths: list[int]) -> Any:
    pa = import_module("pyarrow")
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
