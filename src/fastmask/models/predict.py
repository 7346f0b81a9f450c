"""Predictions for many rows, computed batch by batch.

Ragged sequences are sorted by length, so that the rows of a batch end at nearly the same step.
Every batch is padded to the longest sequence of all: so the outputs are those of one big padded
batch even where they depend on positions, and masked steps cost recurrent layers nothing. The
longest come first, so that what does not fit into memory fails at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from .._typing import Array, HasShape
from ..backends.dispatch import backend_of, is_array
from ..backends.host import HOST
from ..layers import Layer
from ..layers._base import BaseLayer
from ..layers._calls import flat
from ..masks.masked import Masked
from ..masks.ragged import Ragged, joined, rows_at
from .mistakes import explain
from .progress import progress
from .rows import Rows, Sequences, Source, rows_of_batches, source_of, take
from .taken import Taken, padding_of, taken


def predict(model: Any, inputs: list[Any], alone: bool, size: int | None, shown: bool) -> Any:
    """What `model` returns for the inputs.

    Args:
        model: called on a batch.
        inputs: for each input of the model an array, a `Masked`, a `Ragged` or a list of sequences.
        alone: whether the model is called on its single input instead of a list.
        size: number of rows in a batch; None for all.
        shown: whether progress is shown.

    Raises:
        TypeError: the inputs are not what the model takes.
        ValueError: the same; the inputs have different numbers of rows; or their batches do not
            fit a stateful layer.
    """
    try:
        return _predicted(model, inputs, alone, size, shown)
    except (TypeError, ValueError) as error:
        explain(model, inputs[0] if alone else inputs, "x", error)
        raise


def _predicted(model: Any, inputs: list[Any], alone: bool, size: int | None, shown: bool) -> Any:
    sources = _sources(model, inputs, alone)
    counts = [len(one) for one in sources]
    if len(set(counts)) > 1:
        raise ValueError(f"all inputs in x must have the same number of rows, not {counts}")
    size = size or max(1, counts[0])
    ragged = [one for one in sources if isinstance(one, Sequences)]
    stateful = [one for one in model._all_layers() if getattr(one, "stateful", False)]
    for layer in stateful:
        _check_batches(layer, counts[0], size)
    # States pass from each row of a batch to the same row of the next, so rows keep their order.
    batches = list(rows_of_batches(counts[0], size, [] if stateful else ragged))
    result: _Output | None = None
    for rows in progress(batches, len(batches)) if shown else batches:
        parts = [take(one, rows) for one in sources]
        outputs = model._listed(parts[0] if alone else parts)
        _check_outputs(outputs, len(parts[0]), model.name)
        if len(batches) == 1 and not ragged:
            return outputs
        result = result or _Output(counts[0], outputs)
        result.put(rows, outputs)
    return result.value() if result is not None else None


def _sources(model: Any, inputs: list[Any], alone: bool) -> list[Source]:
    texts = any(layer._takes_texts for layer in model._all_layers())
    names = ["x"] if alone else [f"x[{i}]" for i in range(len(inputs))]
    return [
        source_of(inputs[i], names[i], texts, wanted, padding_of(model, i))
        for i, wanted in enumerate(_taken(model, inputs))
    ]


def whole_batch(model: Any, x: Any) -> Any:
    """What `predict` takes, as one batch for a call of the model."""
    x, count = model._in_order(x), model._input_count()
    if count > 1 and not (isinstance(x, (list, tuple)) and len(x) == count):
        return x  # the model says what is wrong
    sources = _sources(model, [x] if count == 1 else list(x), count == 1)
    every = [take(one, slice(None)) if isinstance(one, Sequences) else one for one in sources]
    return every[0] if count == 1 else every


def _taken(model: Any, inputs: list[Any]) -> list[Taken | None]:
    """What each input takes that is not an array, as far as it is known."""
    if all(map(_is_known, inputs)):
        return [None] * len(inputs)
    known = taken(model)
    return [*known] if len(known) == len(inputs) else [None] * len(inputs)


def _is_known(value: Any) -> bool:
    """Whether any model can use it as it is: numbers in an array, with at least one step."""
    if isinstance(value, Ragged) and not len(value.values):
        return False
    return isinstance(value, (np.ndarray, Masked, Ragged)) and value.dtype.kind not in "OSU"


def predict_batches(
    model: Layer, batches: Iterator[Any], count: int, steps: int | None, shown: bool
) -> Any:
    """What `model` returns for batches, of which one is held at a time.

    Args:
        model: called on each batch.
        batches: the inputs of each.
        count: number of the model's inputs.
        steps: number of batches; None for all.
        shown: whether progress is shown.

    Raises:
        ValueError: there is no batch, or one does not fit, or the outputs do not fit together.
    """
    drawn = islice(batches, steps)
    results = []
    for x in progress(drawn, steps) if shown else drawn:
        if count > 1 and (not isinstance(x, (list, tuple)) or len(x) != count):
            raise ValueError(
                f"batches of x must be ([{count} inputs],), or such a tuple with targets, for "
                f"model {model.name!r}, but the inputs are of type {type(x).__name__}"
            )
        results.append(predict(model, [x] if count == 1 else list(x), count == 1, None, False))
    if not results:
        raise ValueError("x must have at least one batch, but it has none")
    return _put_together(results, model.name)


def _put_together(results: list[Any], name: str) -> Any:
    """Join the outputs of all batches, emptying `results`."""
    counts = [len(flat(one)[0]) for one in results]
    shapes = {tuple(_step_shape(one) for one in flat(each)) for each in results}
    if len(shapes) > 1:
        raise ValueError(
            f"outputs of model {name!r} must have one shape for all batches, but rows have shapes "
            f"{sorted(map(str, shapes))}: give batches with masks, or padded to one length"
        )
    whole, start = _Output(sum(counts), results[0]), 0
    for count in counts:
        whole.put(slice(start, start + count), results.pop(0))
        start += count
    return whole.value()


def _step_shape(output: HasShape) -> tuple[object, ...]:
    """Shape of a row; of a `Masked`, without its number of steps."""
    return ("mask", *output.shape[2:]) if isinstance(output, Masked) else tuple(output.shape[1:])


def _check_outputs(outputs: object, rows: int, name: str) -> None:
    """Check that there is one output row for each row, so that batches can be joined."""
    for one in flat(outputs):
        shape = getattr(one, "shape", None)
        if not shape or shape[0] != rows:
            what = type(one).__name__ if shape is None else f"one of shape {shape}"
            raise ValueError(
                f"model {name!r} must return arrays with a row for each of {rows} rows, not {what}"
            )


def _check_batches(layer: BaseLayer, count: int, size: int) -> None:
    """Check beforehand that a stateful layer can take all batches."""
    if count > size and count % size:
        raise ValueError(
            f"batch_size must divide the number of rows, {count}, because layer {layer.name!r} is "
            f"stateful and wants batches of one size, but it is {size}"
        )
    kept = getattr(layer, "states", None)
    recurrent = [one for one in layer._all_layers() if "_reset" in vars(one)]
    if recurrent and all(one.states is one._reset for one in recurrent):
        return  # batches of any size may follow
    first = next((len(one) for one in flat(kept) if is_array(one)), None)
    if first not in (None, min(count, size)):
        raise ValueError(
            f"batches of x must have {first} rows, not {min(count, size)}, because layer "
            f"{layer.name!r} is stateful and keeps the states of as many until reset_state()"
        )


class _Output:
    """One output of the model, or several, filled batch by batch."""

    def __init__(self, count: int, like: Any) -> None:
        self.count = count
        self.kind = type(like) if isinstance(like, (list, tuple)) else None
        self.parts = [_Output(count, one) for one in like] if self.kind else []
        self.batches: list[Any] = []  # on a GPU, or `Ragged`
        self.rows: list[Rows] = []  # of these
        self.data: Array | None = None
        self.valid: Array | None = None
        self.filled = np.zeros(count, np.bool_)  # whether a row has been filled

    def put(self, rows: Rows, value: Any) -> None:
        if self.kind:
            for part, one in zip(self.parts, value, strict=True):
                part.put(rows, one)
            return
        if (self.data if isinstance(value, Ragged) else self.rows or None) is not None:
            raise ValueError(
                "the outputs of all batches must be a Ragged, or none of them: the number of steps "
                "varies in some batches only; pass a larger batch_size"
            )
        if isinstance(value, Ragged):
            self.batches.append(value)
            self.rows.append(rows)
            return
        array = value.data if isinstance(value, Masked) else value
        if backend_of(array) is not HOST:
            self.batches.append(value)
            return
        array = np.asarray(array)
        data = self.data
        if data is None:
            data = np.zeros((self.count, *array.shape[1:]), array.dtype)
        self.data = data = _widened(data, array)
        if array.ndim == 1:
            data[rows] = array
        else:
            data[rows, : array.shape[1]] = array
        mask = value.mask.valid if isinstance(value, Masked) else None
        if mask is not None and self.valid is None:
            before = self.filled.reshape(-1, *(1,) * (mask.ndim - 1))
            self.valid = np.broadcast_to(before, (self.count, *mask.shape[1:])).copy()
        if self.valid is not None:
            axes = self.valid.ndim
            self.valid = _widened(self.valid, np.empty((0, *data.shape[1:axes]), np.bool_))
            self.valid[rows, : array.shape[1]] = np.True_ if mask is None else mask
        self.filled[rows] = True

    def value(self) -> Any:
        """All rows."""
        if self.kind:
            return self.kind(part.value() for part in self.parts)
        if self.rows:
            return self._in_order()
        if self.batches:
            return _joined(self.batches)
        if self.valid is None or self.data is None:
            return self.data
        return Masked(self.data, self.valid)

    def _in_order(self) -> Ragged:
        """The rows of all `Ragged` batches."""
        numbers = np.concatenate([np.arange(self.count)[rows] for rows in self.rows])
        whole = joined(self.batches)
        sorted_already = bool((np.diff(numbers) > 0).all())
        return whole if sorted_already else rows_at(whole, np.argsort(numbers))


def _joined(batches: list[Any]) -> Any:
    """Join the rows of arrays on a GPU, or of `Masked` ones."""
    if not isinstance(batches[0], Masked):
        return backend_of(batches[0]).joined(batches)
    data, valid = [one.data for one in batches], [one.mask.valid for one in batches]
    return Masked(*(backend_of(each[0]).joined(each) for each in (data, valid)))


def _widened(data: Array, batch: Array) -> Array:
    """`data`, with more steps where the batch has more."""
    if data.shape[2:] != batch.shape[2:] and batch.ndim > 2:
        raise ValueError(
            f"the outputs of two batches must fit together, but one row has shape "
            f"{data.shape[1:]}, another one {batch.shape[1:]}"
        )
    if batch.ndim < 2 or batch.shape[1] <= data.shape[1]:
        return data
    wider = np.zeros((len(data), *batch.shape[1:]), data.dtype)
    wider[:, : data.shape[1]] = data
    return wider
