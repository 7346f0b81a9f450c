"""`fastmask predict` on a folder of Parquet files."""

from __future__ import annotations

import sys
import warnings

from .._checks import whole_number
from ..backends.threads import get_num_threads
from . import engines
from .parts import most_rows, not_done, parts_of, predictor_of
from .predict import Bar, Options, with_column


def run(options: Options, engine: str, workers: int | None) -> int:
    """Write the outputs of all files in a folder that are not there yet.

    Returns:
        The number of rows that were computed.

    Raises:
        OSError: a file cannot be read or written, or workers ended.
        TypeError: a column holds what the model does not take.
        ValueError: a file, a column or an option is not what it should be.
    """
    workers = get_num_threads() if workers is None else whole_number(workers, "--workers", 1)
    most_rows(options)
    model, source, output = (path.resolve() for path in options[:3])  # for workers elsewhere
    options = options._replace(model=model, input=source, output=output)
    parts = parts_of(options)
    options = with_column(options, parts[0].source)
    predictor_of(options)  # errors of the model are reported before workers start
    todo = not_done(parts)
    if left := len(parts) - len(todo):
        sys.stderr.write(
            f"fastmask: {left} of {len(parts)} outputs exist already and stay as they are; "
            "remove them to compute them again\n"
        )
    total, bar = sum(part.rows for part in todo), Bar(options.input)
    done = 0
    try:
        for outcome in engines.run(engine, options, todo, min(workers, max(len(todo), 1))):
            if outcome.fault:
                raise ValueError(outcome.fault)
            done += outcome.rows
            for text in outcome.warnings:  # of any worker
                warnings.warn(text, stacklevel=2)
            bar.show(done / max(total, 1), done)
    finally:
        bar.close()
    return done
