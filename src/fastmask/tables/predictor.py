"""Predictions as one more column of batches of rows, for engines that pass such batches."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from .._checks import refuse_unknown, shown, whole_number
from ..backends.threads import at_most, chosen_threads
from ..layers import Layer
from ..loaders import load_model
from ..models.model import Model
from ..models.sequential import Sequential
from .batch import Rows
from .computation import Computation
from .frames import frame_of
from .values import Values

_INSTEAD = {
    "mask": "give fastmask.Masked(x, mask) as the column in a dict, or rows without their padding",
    "length": "give rows without their padding, in lists or a Ragged",
    "batch_size": "it is an argument of Predictor itself",
}
_loaded: dict[str, tuple[tuple[int, int], Model]] = {}  # by path, of this process


class Predictor:
    """A model as a function of batches of rows that adds its predictions as a column.

    It takes and returns dicts of arrays, pyarrow tables and record batches, and pandas and Polars
    data frames; rows and other columns stay as they are. Lists of different lengths are sequences,
    and only their steps are computed. An engine can send it to its workers: it is pickled as the
    path of its model, which a process loads once.

    The number of threads of a call is `threads`; otherwise that of `set_num_threads` or
    FASTMASK_NUM_THREADS; otherwise OMP_NUM_THREADS, which Ray, Spark and Dask set for their
    workers, or one in a Dask task.

    Args:
        model: the name of a file that `load_model` reads; or a built model, or a layer, which is
            pickled as a whole.
        column: the column that the model reads; for several inputs a list in their order, or a dict
            from input names to columns.
        output: name of the new column; with several outputs `output_0`, `output_1`, and so
            on, or with the keys of a dict of outputs instead of numbers.
        batch_size: the most rows that are computed at once.
        threads: number of threads of each call; None for what the engine sets.

    Raises:
        TypeError: an argument is of the wrong type.
        ValueError: the model cannot be read, is not built, or has another number of inputs.

    Source:
        Ray: `ray.data.Dataset.map_batches`; Dask: `DataFrame.map_partitions`; Spark:
        `DataFrame.mapInArrow`; Polars: `LazyFrame.map_batches`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> ids = fm.layers.Embedding(50, 4, mask_zero=True)
        >>> model = fm.Sequential([ids, fm.layers.LSTM(2)])
        >>> model.build((None, None))
        >>> predict = fm.Predictor(model, column="ids", output="vector")
        >>> rows = predict({"ids": [[7, 8, 9], [4]], "who": np.array(["Ada", "Bob"])})
        >>> list(rows), rows["vector"].shape
        (['ids', 'who', 'vector'], (2, 2))
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Layer,
        column: str | Sequence[str] | Mapping[str, str],
        output: str = "prediction",
        batch_size: int | None = None,
        threads: int | None = None,
    ) -> None:
        size = None if batch_size is None else whole_number(batch_size, "batch_size", 1)
        self._threads = None if threads is None else whole_number(threads, "threads", 1)
        if not isinstance(output, str):
            raise TypeError(f"output must be the name of a column, not {output!r}")
        self._model = model if isinstance(model, Layer) else os.path.abspath(_path(model))
        self._arguments = (column, output, size, self._threads)
        known = _whole_model(self._model)
        self._compute = Computation(known, _columns(known, column), output, size)

    def __call__(self, batch: Any, **unknown: NoReturn) -> Any:
        """The batch with the predictions.

        Args:
            batch: dict of arrays, `pyarrow.Table` or `RecordBatch`, `pandas.DataFrame` or
                `polars.DataFrame`; it may have no rows.
            **unknown: nothing; for an error that says how a mask is given.

        Returns:
            A batch of the same kind. Output sequences have their valid steps only, and outputs of
            one number are numbers; others are lists, and in a dict arrays.

        Raises:
            TypeError: the batch is none of these; there is another argument.
            ValueError: a column is missing, or a row, which the message names, holds what the
                model does not take; or there is a column of that name already.
        """
        refuse_unknown(unknown, Predictor.__call__, _INSTEAD)
        frame, extended = frame_of(batch)
        return extended(self.columns(frame))

    def each(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The batches with the predictions, one after the other.

        Args:
            batches: any that a call takes, as Spark's `mapInArrow` passes them.

        Returns:
            An iterator that takes one batch for each that it returns.
        """
        return map(self, batches)

    def columns(self, rows: Rows) -> dict[str, Values]:
        """The new columns alone.

        Args:
            rows: a batch of `fastmask.tables`.

        Returns:
            An array for each, or a `Ragged` where rows differ in length.
        """
        with at_most(self._threads or _threads_of_engine()):
            return self._compute(rows)

    def __reduce__(self) -> tuple[Any, ...]:
        return Predictor, (self._model, *self._arguments)

    def __repr__(self) -> str:
        of = self._model if isinstance(self._model, str) else self._model.name
        return f"Predictor({of!r}, {', '.join(map(repr, self._arguments[:2]))})"


def _path(model: Any) -> str:
    if not isinstance(model, (str, os.PathLike)):
        raise TypeError(f"model must be a model or the name of a file, not {shown(model)}")
    return os.fsdecode(model)


def _whole_model(model: str | Layer) -> Model:
    """A model; a single layer becomes one."""
    known: Any = _model_at(model) if isinstance(model, str) else model
    return known if isinstance(known, Model) else Sequential([known])


def _model_at(path: str) -> Any:
    """The model in a file, which a process reads once, unless the file changes."""
    status = Path(path).stat()
    stamp = status.st_mtime_ns, status.st_size
    known = _loaded.get(path)
    if known is None or known[0] != stamp:
        known = _loaded[path] = stamp, load_model(path)
    return known[1]


def _columns(model: Any, column: Any) -> list[str]:
    """A column for each input, in their order."""
    if isinstance(column, Mapping):
        column = model._in_order(dict(column))
    listed = [column] if isinstance(column, str) else column
    if not isinstance(listed, (list, tuple)) or not all(isinstance(one, str) for one in listed):
        raise TypeError(
            "column must be the name of a column, or a list of names, or a dict of names by the "
            f"model's inputs, not {shown(column)}"
        )
    return list(listed)


def _threads_of_engine() -> int | None:
    """The number of threads that the engine sets; None if it sets none, or the user did."""
    if chosen_threads() is not None:
        return None
    text = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if text.isascii() and text.isdigit() and int(text):
        return int(text)
    distributed = sys.modules.get("distributed")
    if distributed is not None:
        with suppress(ValueError):  # this is not in a worker of Dask
            distributed.get_worker()
            return 1  # of as many tasks as the worker has threads
    return None
