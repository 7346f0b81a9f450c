"""Parquet, by pyarrow: types and order of the columns stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from ..data.arrow_lists import column
from ..loaders._reading import opened
from .batch import Batch, Columns, OfFile
from .values import Values, values_of

NEEDS = "pyarrow"
GROUP_BYTES = 16 << 20  # of a row group, before it is compressed
READ_BYTES = 1 << 20  # of a column at once; without it a row group is read as a whole


class ArrowBatch(OfFile):
    """A batch of rows in a table of pyarrow's."""

    def __init__(self, table: Any, first: int, share: float) -> None:
        super().__init__(first, share)
        self.table = table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def names(self) -> list[str]:
        return list(self.table.schema.names)

    def column(self, name: str) -> Values:
        return values_of(self.table.column(name))

    def records(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.table.to_pylist()
        return rows


def batches(path: Path, rows: int, groups: range | None = None) -> Iterator[ArrowBatch]:
    """The rows in batches; a single empty batch if there are none.

    `groups` are the row groups that are read; all of them by default.
    """
    with _opened(path) as file:
        groups = range(file.num_row_groups) if groups is None else groups
        first = sum(file.metadata.row_group(i).num_rows for i in range(groups.start))
        count = first + sum(file.metadata.row_group(i).num_rows for i in groups)
        if first == count:
            yield ArrowBatch(file.schema_arrow.empty_table(), first, 1.0)
        for some in file.iter_batches(batch_size=rows, row_groups=list(groups)):
            stop = first + some.num_rows
            table = import_module("pyarrow").Table.from_batches([some])
            yield ArrowBatch(table, first, stop / count)
            first = stop


def row_groups(path: Path) -> list[tuple[int, int]]:
    """The number of rows of each row group, and its bytes before they are compressed."""
    with _opened(path) as file:
        groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
        return [(group.num_rows, group.total_byte_size) for group in groups]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    pa = import_module("pyarrow")
    with opened(path):  # a regular file
        pass
    try:
        with import_module("pyarrow.parquet").ParquetFile(
            path, buffer_size=READ_BYTES, pre_buffer=False
        ) as file:
            yield file
    except pa.ArrowException as error:
        raise ValueError(f"{path} is not a Parquet file that can be read: {error}") from error


class Writer:
    """Writes batches, which must have the types of the first one."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._out: Any = None
        self._schema: Any = None  # of the rows without the new columns
        self._held: list[Any] = []  # tables that will be one row group

    def write(self, batch: Batch, more: Columns) -> None:
        table = batch.table if isinstance(batch, ArrowBatch) else self._as_table(batch)
        self._schema = table.schema
        for name, values in more.items():
            table = table.append_column(name, column(values))
        if self._out is None:
            self._out = self._opened(table.schema)
        self._held.append(table)
        if sum(one.nbytes for one in self._held) >= GROUP_BYTES:
            self._write_held()

    def close(self) -> None:
        """Write what is left, and the end of the file."""
        if self._out is not None:
            self._write_held()
            self._out.close()

    def _opened(self, schema: Any) -> Any:
        # Predictions, and other floats, hardly repeat themselves: looking for repetitions took a
        # tenth of all time.
        repeating = [leaf for own in self._schema for leaf in _leaves(own.name, own.type)]
        pq = import_module("pyarrow.parquet")
        return pq.ParquetWriter(self._file, schema, use_dictionary=repeating)

    def _write_held(self) -> None:
        held, self._held = self._held, []
        if held:
            self._out.write_table(import_module("pyarrow").concat_tables(held))

    def _as_table(self, batch: Batch) -> Any:
        pa, records = import_module("pyarrow"), batch.records()
        columns = {name: [row.get(name) for row in records] for name in batch.names()}
        if self._schema is not None and not set(columns) <= set(self._schema.names):
            strange = ", ".join(set(columns) - set(self._schema.names))
            raise ValueError(
                f"later rows have {strange}, which the first {batch.first} do not have"
            )
        try:
            return pa.Table.from_pylist(records, schema=self._schema or pa.table(columns).schema)
        except pa.ArrowException as error:
            what = f"rows from {batch.first + 1} on"
            raise ValueError(f"{what} do not fit the types of a Parquet column: {error}") from error


def _leaves(name: str, kind: Any) -> Iterator[str]:
    """The columns that Parquet makes of one, without those of floats."""
    types = import_module("pyarrow.types")
    if types.is_struct(kind):
        for part in kind:
            yield from _leaves(f"{name}.{part.name}", part.type)
    elif types.is_map(kind):
        yield from _leaves(f"{name}.key_value.{kind.key_field.name}", kind.key_type)
        yield from _leaves(f"{name}.key_value.{kind.item_field.name}", kind.item_type)
    elif kind.num_fields == 1:
        yield from _leaves(f"{name}.list.element", kind.field(0).type)
    elif not types.is_floating(kind):
        yield name


@contextmanager
def writer(file: IO[bytes]) -> Iterator[Writer]:
    """A writer for an open file."""
    rows = Writer(file)
    try:
        yield rows
    finally:
        rows.close()
