"""How layers are called on `Ragged` batches.

Each layer names its way (`BaseLayer._ragged_way`):

    steps    each step is computed by itself: all steps are one row, (1, P, ...)
    each     the same, for layers without an axis of steps: all steps are a batch, (P, ...)
    rows     each row is computed without padding; rows of equal length make one batch
    apart    the same, but the shapes of the results show how to join them; see `_apart`
    own      the layer defines `_call_ragged`: recurrent layers, operations, models
    padded   the layer gets `to_masked()`; outputs that keep the mask are made ragged again
    none     not possible: an error
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._typing import Bools
from ..backends.dispatch import as_array, backend_of, is_array
from ..backends.host import HOST
from ..backends.rows import Rows
from ..masks.mask import Mask
from ..masks.masked import Masked
from ..masks.ragged import Ragged, flags_of
from ._apart import rows_apart
from ._base import BaseLayer
from ._by_length import by_length
from ._calls import CallSpec

Call = Callable[[Any, dict[str, Any]], Any]
"""Calls the layer on inputs without a `Ragged`, with further arguments."""


def is_ragged(value: object) -> bool:
    """Whether it is a `Ragged`, or a list with one in it."""
    if isinstance(value, (list, tuple)):
        return any(type(one) is Ragged for one in value)
    return type(value) is Ragged


def call_ragged(layer: Any, spec: CallSpec, inputs: Any, mask: Any, kwargs: dict[str, Any]) -> Any:
    """Call a layer with at least one `Ragged` among its inputs and further arguments.

    Raises:
        TypeError: the layer cannot take a `Ragged`, or is given one beside an array on a GPU.
        ValueError: the inputs or the mask do not fit.
    """
    inputs = list(inputs) if isinstance(inputs, (list, tuple)) else inputs
    layer._check_number_of(inputs)
    inputs = _all_there(layer, inputs)
    if mask is not None:
        inputs = _explicitly_masked(layer, inputs, mask)
    items = [*_listed(inputs), *(one for one in kwargs.values() if type(one) is Ragged)]
    _check_rows(layer, items)
    axes = next(one.ndim for one in items if type(one) is Ragged)
    first = getattr(layer, "data_format", None) == "channels_first"
    way = "none" if first else layer._ragged_way(axes)
    if way == "none":
        raise TypeError(
            f"layer {layer.name!r} (of type {type(layer).__name__}) cannot take a Ragged, whose "
            f"rows have different numbers of steps: {layer._instead_of_ragged}"
        )
    if not layer.built and way != "padded":
        layer._build_for(inputs, kwargs)
    if way == "own":
        return layer._call_ragged(inputs, **kwargs)

    def call(given: Any, options: dict[str, Any]) -> Any:
        return layer._run(spec, given, None, None, options)

    try:
        return _WAYS[way](layer, call, inputs, kwargs)
    except ValueError as error:
        padded = _padded_beside(spec, inputs, kwargs)
        if not padded or type(error) is not ValueError:
            raise
        raise ValueError(f"{error}; {padded}") from error


def _padded_beside(spec: CallSpec, inputs: Any, kwargs: dict[str, Any]) -> str:
    """For the end of a message: which input is a `Ragged`, and which one padded; or ""."""
    name = spec.names[0]
    each = {f"{name}[{i}]": one for i, one in enumerate(inputs)} if type(inputs) is list else {}
    named = {**(each or {name: inputs}), **kwargs}
    ragged = next(name for name, one in named.items() if type(one) is Ragged)
    for name, one in named.items():
        if type(one) is Masked or (is_array(one) and one.ndim == named[ragged].ndim):
            return (
                f"{ragged} is a Ragged, but {name} is padded: convert one of them, with "
                "Masked.to_ragged() or Ragged.to_masked()"
            )
    return ""


def reason_of(error: Exception) -> str:
    """Why a layer cannot take a `Ragged`: what its error says, without what to do instead."""
    return str(error).removesuffix(BaseLayer._instead_of_ragged).rstrip(" :;")


def _all_there(layer: Any, inputs: Any) -> Any:
    if isinstance(inputs, list):
        return [_there(layer, one) for one in inputs]
    return _there(layer, inputs)


def _there(layer: Any, inputs: Any) -> Any:
    if backend_of(inputs) is not HOST:
        raise TypeError(f"inputs of layer {layer.name!r} must all be on the host beside a Ragged")
    known = isinstance(inputs, (Ragged, Masked)) or is_array(inputs)
    return inputs if known else as_array(inputs, "inputs")


def _listed(inputs: Any) -> list[Any]:
    return inputs if isinstance(inputs, list) else [inputs]


def _check_rows(layer: Any, items: list[Any]) -> None:
    counts = [len(one) if len(one.shape) else 0 for one in items]
    if len(set(counts)) > 1:
        raise ValueError(
            f"inputs of layer {layer.name!r} must have the same number of rows, not {counts}"
        )


def _explicitly_masked(layer: Any, inputs: Any, mask: Any) -> Any:
    """The inputs, with the given masks instead of their own."""
    if isinstance(inputs, list):
        masks = layer._mask_list(mask, len(inputs))
        pairs = zip(inputs, masks, strict=True)
        return [one if own is None else _explicitly_masked(layer, one, own) for one, own in pairs]
    if isinstance(inputs, Masked):
        return Masked(inputs.data, mask)
    if not isinstance(inputs, Ragged):
        return Masked(inputs, mask)
    rows = inputs._rows
    if isinstance(mask, Ragged) and not rows.are(mask._rows):
        raise ValueError(f"mask of layer {layer.name!r} must have the rows of its input")
    flags = as_array(mask.values if isinstance(mask, Ragged) else mask, "mask")
    shape = len(rows), int(rows.lengths.max(initial=0))
    table = flags.ndim > 1 and not isinstance(mask, Ragged)
    if table and flags.shape == (*shape, *inputs.shape[2 : flags.ndim]):
        flags = flags[rows.places]
    elif not flags.ndim or flags.shape != inputs._values.shape[: flags.ndim]:
        raise ValueError(
            f"mask of layer {layer.name!r} must have a flag for each of {rows.count} steps of a "
            f"Ragged, or shape {shape}, not {flags.shape}"
        )
    return Ragged._of(
        inputs._values, rows.with_valid(flags_of(flags, inputs._values.shape, "mask"))
    )


def in_one_row(ragged: Ragged) -> Masked:
    """All steps as one row of a batch."""
    values, valid = ragged.values[np.newaxis], ragged.valid
    return Masked(values, np.ones(values.shape[:2]) if valid is None else valid[np.newaxis])


def by_step(layer: Any, call: Call, inputs: Any, kwargs: dict[str, Any]) -> Any:
    """Call a layer on all steps of all rows, as one row of a batch."""
    listed = _listed(inputs)
    ragged = [one for one in [*listed, *kwargs.values()] if type(one) is Ragged]
    rows = ragged[0]._rows
    if not all(rows.are(one._rows) for one in ragged):
        raise ValueError(
            f"inputs of layer {layer.name!r} must have the same offsets, because it computes step "
            "by step"
        )
    holes = any(one.valid is not None for one in ragged)
    mask = None if rows.valid is None else Mask._of(rows.valid[np.newaxis].copy())

    def one_row(item: Any) -> Any:
        if type(item) is not Ragged:
            return _at_each_step(layer, item, rows)
        x = item._values[np.newaxis]
        if not holes:
            return x
        if item._rows.valid is rows.valid and mask is not None:
            return Masked._of(x, mask)
        valid = np.ones(len(x[0]), np.bool_) if item.valid is None else item.valid
        return Masked._of(x, Mask._of(valid[np.newaxis].copy()))

    given = [one_row(one) for one in listed]
    options = {name: one_row(one) for name, one in kwargs.items()}
    outputs = call(given if isinstance(inputs, list) else given[0], options)
    return _each_output(outputs, lambda y: _from_one_row(layer, y, rows, mask))


def _at_each_step(layer: Any, array: Any, rows: Rows) -> Any:
    """An array that has one step for each row, (B, F) or (B, 1, F), at every step.

    An argument that is no array is returned as it is.
    """
    masked = isinstance(array, Masked)
    if not masked and not is_array(array):
        return array
    many = array.ndim < 2 or (array.ndim > 2 and array.shape[1] != 1)
    if masked or many or not layer._broadcasts:
        kind = "a Masked" if masked else "an array"
        raise ValueError(
            f"inputs of layer {layer.name!r} must all be Ragged with the same offsets, but one is "
            f"{kind} of shape {array.shape}"
        )
    of_rows = array.reshape(len(array), *array.shape[min(array.ndim - 1, 2) :])
    return np.repeat(of_rows, rows.lengths, axis=0)[np.newaxis]


def _from_one_row(layer: Any, output: Any, rows: Rows, mask: Mask | None) -> Ragged:
    data = output._data if isinstance(output, Masked) else output
    if not is_array(data):
        data = as_array(data, "outputs")
    if data.shape[:2] != (1, rows.count):
        raise ValueError(
            f"layer {layer.name!r} has step_by_step = True, so its output must have shape "
            f"(1, {rows.count}, ...) for inputs (1, {rows.count}, ...), not {data.shape}"
        )
    if not isinstance(output, Masked):
        return Ragged._of(data[0], rows.with_valid(None))
    if output._mask is mask:
        return Ragged._of(data[0], rows)
    return Ragged._of(data[0], rows.with_valid(output._mask.valid[0].copy()))


def _by_value(layer: Any, call: Call, inputs: Ragged, kwargs: dict[str, Any]) -> Ragged:
    rows = inputs._rows
    options = {n: one.values if type(one) is Ragged else one for n, one in kwargs.items()}
    if rows.valid is not None:
        layer._warn_of_loss(None)
    return Ragged._of(call(inputs.values, options), rows.with_valid(None))


def _padded(_layer: Any, call: Call, inputs: Any, kwargs: dict[str, Any]) -> Any:
    each = [*_listed(inputs), *kwargs.values()]
    rows = next(one._rows for one in each if type(one) is Ragged)
    given = [without_ragged(one) for one in _listed(inputs)]
    options = {name: without_ragged(one) for name, one in kwargs.items()}
    outputs = call(given if isinstance(inputs, list) else given[0], options)
    return _each_output(outputs, lambda y: _ragged_again(y, rows))


def without_ragged(value: Any) -> Any:
    """The same, with each `Ragged` replaced by a `Masked`, also in a list."""
    if type(value) is Ragged:
        return value.to_masked()
    many = isinstance(value, (list, tuple))
    return [without_ragged(one) for one in value] if many else value


def _ragged_again(output: Any, rows: Rows) -> Any:
    """A `Masked` without its padding: the steps of `rows`, if the steps are still the same."""
    if not isinstance(output, Masked):
        return output
    valid: Bools = output._mask.valid
    if valid.shape[:2] != (len(rows), int(rows.lengths.max(initial=0))):
        return output.to_ragged() if valid.ndim == 2 else output
    places = rows.places
    outside = np.ones(valid.shape[:2], np.bool_)
    outside[places] = False
    if valid[outside].any():  # steps were moved
        return output.to_ragged() if valid.ndim == 2 else output
    return Ragged._of(output._data[places], rows.with_valid(valid[places]))


def _each_output(outputs: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(outputs, (list, tuple)):
        return type(outputs)(change(one) for one in outputs)
    return change(outputs)


def _by_row(layer: Any, call: Call, inputs: Any, kwargs: dict[str, Any]) -> Any:
    shape = layer._shapes_of_call(inputs, kwargs)
    others = any(is_array(one) for one in kwargs.values()) or any(
        isinstance(one, Masked) for one in (*_listed(inputs), *kwargs.values())
    )
    if others or isinstance(shape, list):
        return _padded(layer, call, inputs, kwargs)
    return by_length(layer, call, inputs, kwargs, shape)


_WAYS: dict[str, Callable[..., Any]] = {
    "steps": by_step,
    "each": _by_value,
    "rows": _by_row,
    "apart": lambda layer, call, inputs, _: rows_apart(layer, call, inputs),
    "padded": _padded,
}
