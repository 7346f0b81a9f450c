"""Parts of a folder of Parquet files: neighboring row groups of a file.

One worker reads, computes and writes a part, a batch at a time. How files are cut depends on the
files alone. An output gets its name when it is complete, so every output that exists is done:
starting again, or computing a part once more, neither loses nor doubles a row, and no other state
has to be kept.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import IO, NamedTuple

from .. import tables
from .._checks import whole_number
from ..loaders._writing import write_whole
from ..tables.computation import MOST_ROWS
from ..tables.predictor import Predictor
from .errors import in_plain_words
from .predict import Options, check_apart, model_of

PART_BYTES = 1 << 27  # of columns, before they are compressed; a row group is never cut


class Part(NamedTuple):
    """What one worker computes, and where it writes it."""

    source: Path
    groups: range  # row groups
    rows: int
    target: Path


class Outcome(NamedTuple):
    """The result of a part."""

    rows: int
    fault: str  # empty if all went well
    warnings: tuple[str, ...] = ()


def parts_of(options: Options) -> list[Part]:
    """The parts of all files below a folder, those without rows too.

    Raises:
        OSError: a file cannot be read.
        ValueError: there are no Parquet files, one cannot be read, or outputs would be mixed up.
    """
    folder, output = options.input.resolve(), options.output.resolve()
    above = [one for one in (output, *output.parents) if one.exists()]
    if any(one.samefile(folder) for one in above):  # of one folder, also by different names
        raise ValueError(f"--output {output} must not be in {folder}, whose files are read")
    parts = [part for path in _files_below(folder) for part in _parts_of_file(path, folder, output)]
    if not parts:
        raise ValueError(f"{folder} has no .parquet files")
    for part in parts:
        check_apart(part.target, part.source, "an input")
    targets = [part.target for part in parts]
    if len(set(targets)) < len(targets):
        twice = next(target for target in targets if targets.count(target) > 1)
        raise ValueError(f"two files in {folder} lead to the same output {twice}: rename one")
    return parts


def _files_below(folder: Path) -> Iterator[Path]:
    """Parquet files, except those that begin with a dot or _, which belong to engines."""
    for path in sorted(folder.rglob("*")):
        hidden = any(name.startswith((".", "_")) for name in path.relative_to(folder).parts)
        parquet = tables.FORMATS.get(path.suffix.lower()) == "parquet"
        if parquet and not hidden and not path.is_dir():
            yield path


def _parts_of_file(path: Path, folder: Path, output: Path) -> list[Part]:
    sizes = tables.format_of(path).row_groups(path)
    cuts, size = [0], 0
    for number, (_, size_of_group) in enumerate(sizes):
        if size and size + size_of_group > PART_BYTES:
            cuts.append(number)
            size = 0
        size += size_of_group
    ends = [*cuts[1:], len(sizes)]
    target = output / path.relative_to(folder)
    parts = []
    for number, (begin, end) in enumerate(zip(cuts, ends, strict=True), 1):
        rows = sum(rows for rows, _ in sizes[begin:end])
        name = f"{path.stem}-{number:05}-of-{len(cuts):05}{path.suffix}"
        whole = len(cuts) == 1
        parts.append(Part(path, range(begin, end), rows, target if whole else target.parent / name))
    return parts


def not_done(parts: list[Part]) -> list[Part]:
    """The parts that are still to be computed.

    Raises:
        ValueError: an output has another number of rows than its part.
    """
    found = []
    for part in parts:
        if not part.target.exists():
            found.append(part)
            continue
        rows = sum(rows for rows, _ in tables.format_of(part.target).row_groups(part.target))
        if rows != part.rows:
            raise ValueError(
                f"{part.target} has {rows} rows, but {part.source} has {part.rows} for it: remove "
                "it, and it is computed again"
            )
    return found


def compute(options: Options, threads: int, part: Part) -> Outcome:
    """Compute a part, in any process, with `threads` threads unless FASTMASK_NUM_THREADS is set."""
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            write_part(options, None if "FASTMASK_NUM_THREADS" in os.environ else threads, part)
    except (OSError, TypeError, ValueError) as error:
        said = in_plain_words(error)
        known = str(part.source) in said or str(part.target) in said
        return Outcome(0, said if known else f"{part.source}: {said}")
    return Outcome(part.rows, "", tuple(str(one.message) for one in told))


def write_part(options: Options, threads: int | None, part: Part) -> None:
    """Write a part's output.

    Raises:
        OSError: a file cannot be read or written.
        TypeError: a column holds what the model does not take.
        ValueError: a file or a column is not what it should be.
    """
    predictor = predictor_of(options, threads)
    parquet = import_module("..tables.parquet", __package__)

    def fill(file: IO[bytes]) -> None:
        with parquet.writer(file) as out:
            for batch in parquet.batches(part.source, most_rows(options), part.groups):
                out.write(batch, predictor.columns(batch))

    part.target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(part.target, fill)


@lru_cache(maxsize=1)
def predictor_of(options: Options, threads: int | None = None) -> Predictor:
    """The model, loaded once a process."""
    model, size = model_of(options), options.batch_size
    return Predictor(model, options.columns, options.name, size, threads)


def most_rows(options: Options) -> int:
    """How many rows are read at once."""
    if options.batch_size is None:
        return MOST_ROWS
    return whole_number(options.batch_size, "--batch-size", 1)
