"""`fastmask predict`: the rows of a file with one more column, computed by a model."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from .. import tables
from .._checks import whole_number
from ..loaders import load_model
from ..loaders._reading import opened
from ..loaders._writing import write_whole
from ..models.config import NeedsObjects
from ..tables.computation import MOST_ROWS
from ..tables.predictor import Predictor

_IN_PYTHON = (
    "The command runs no code of yours; in Python, "
    "fastmask.Predictor(fastmask.load_model(path, custom_objects), column) computes the same, and "
    "docs/commands.md has a short program with it that reads and writes a file."
)


class Options(NamedTuple):
    """Options of the command."""

    model: Path
    input: Path
    output: Path
    columns: tuple[str, ...]  # may be empty for a file with one column
    name: str = "prediction"
    batch_size: int | None = None
    quantize: str | None = None


def run(options: Options) -> int:
    """Write the file.

    Returns:
        The number of rows.

    Raises:
        OSError: a file cannot be read or written.
        TypeError: a column holds what the model does not take.
        ValueError: a file, a column or an option is not what it should be.
    """
    if options.batch_size is not None:
        whole_number(options.batch_size, "--batch-size", 1)
    source, target = tables.format_of(options.input), tables.format_of(options.output)
    with opened(options.input):  # otherwise an error would name the output, which is opened first
        pass
    check_apart(options.output, options.input, "the input")
    check_apart(options.output, options.model, "the model")
    options = with_column(options, options.input)
    predictor = Predictor(model_of(options), options.columns, options.name, options.batch_size)
    rows, bar = options.batch_size or MOST_ROWS, Bar(options.input)
    count = 0

    def fill(file: IO[bytes]) -> None:
        nonlocal count
        count = 0
        with target.writer(file) as out:
            for batch in source.batches(options.input, rows):
                out.write(batch, predictor.columns(batch))
                count += len(batch)
                bar.show(batch.share, count)

    try:
        write_whole(options.output, fill)
    finally:
        bar.close()
    return count


def check_apart(output: Path, other: Path, what: str) -> None:
    """Check that an output does not replace a file that is read, by whatever names.

    Raises:
        ValueError: it would.
    """
    with suppress(FileNotFoundError):
        if output.samefile(other):
            raise ValueError(
                f"--output {output} is the same file as {what}, {other}, which it would replace: "
                "give it another name"
            )


def with_column(options: Options, path: Path) -> Options:
    """The options; if they have no column, with the only one of a file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it has more columns, or none.
    """
    if options.columns:
        return options
    first = next(iter(tables.format_of(path).batches(path, MOST_ROWS)), None)
    names = [] if first is None else list(first.names())
    if len(names) != 1:
        listed = f"columns {', '.join(names)}" if names else "no rows that would show its columns"
        raise ValueError(f"--column is needed, because {path} has {listed}")
    return options._replace(columns=tuple(names))


def model_of(options: Options) -> Any:
    """The model in its file, quantized if that was asked for."""
    try:
        model = load_model(options.model)
    except ValueError as error:
        if not isinstance(error.__cause__, NeedsObjects):
            raise
        raise ValueError(f"{error}\n{_IN_PYTHON}") from error
    if options.quantize is not None:
        model.quantize(options.quantize)
    return model


class Bar:
    """A progress bar on a terminal, once the work has taken a second."""

    _WIDTH = 30

    def __init__(self, path: Path) -> None:
        self._name, self._start, self._shown = path.name, time.monotonic(), 0.0
        self._line = ""

    def show(self, share: float, rows: int) -> None:
        """Show how much is done."""
        now = time.monotonic()
        done = round(self._WIDTH * share)
        bar = "#" * done + "-" * (self._WIDTH - done)
        speed = f"{rows:,} rows, {rows / (now - self._start + 1e-9):,.0f} a second"
        self._line = f"\r{self._name} [{bar}] {share:4.0%}, {speed}  "
        if sys.stderr.isatty() and now - max(self._start + 0.9, self._shown) > 0.1:
            self._shown = now
            self._write(self._line)

    def close(self) -> None:
        """End the line."""
        if self._shown:
            self._write(f"{self._line}\n")

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
