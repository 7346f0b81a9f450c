"""Layers without a kernel on a GPU: their NumPy code, computed by CuPy.

Arrays that came are seen as CuPy's, and what comes out as the kind that came in, without copies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from ...layers._calls import narrowed
from ...masks.mask import Mask
from ...masks.masked import Masked
from . import arrays as _arrays
from . import masks as _masks
from . import weights as _weights
from .masks import DeviceMask, seen_mask
from .owners import owner_of


def run(
    layer: Any,
    spec: Any,
    inputs: Any,
    carried: Any,
    mask: Any,
    training: bool | None,
    options: dict[str, Any],
) -> Any:
    """Call a layer whose code is NumPy's.

    Args:
        layer: the layer.
        spec: its `CallSpec`.
        inputs: an array, or a list of arrays.
        carried: the mask that they carry, or a list of masks.
        mask: the mask that the caller gives instead.
        training: see `Layer.__call__`.
        options: further arguments of the call.

    Raises:
        TypeError: some arrays are on the host; or they are not CuPy's, which is not installed.
        ValueError: arrays are on different devices.
    """
    if mask is not None:
        carried = narrowed(layer._explicit(mask, inputs), carried)
    if not layer.built:
        layer._build_for(inputs)
    several = isinstance(inputs, list)
    arrays = inputs if several else [inputs]
    named = [(f"inputs[{i}]" if several else "inputs", one) for i, one in enumerate(arrays)]
    _arrays.together(named)
    like = _arrays.view_of(arrays[0], "inputs")
    speaker = _speaker(layer, arrays[0])
    beside = _arrays.view_of(speaker, "inputs")

    def see(value: Any) -> Any:
        if isinstance(value, Masked):
            return Masked._of(see(value.data), seen_mask(value.mask, beside))
        if isinstance(value, Mask):
            return seen_mask(value, beside)
        if isinstance(value, (list, tuple)):
            return type(value)(map(see, value))
        return _arrays.as_numpy_speaker(value) if _arrays.on_gpu(value) else value

    with _computing(like, speaker), _seeing(layer, beside, training) as twin:
        seen = [twin._cast(see(array)) for array in arrays]
        masks = carried if several else [carried]
        if any(one is not None for one in masks or ()):
            seen = [
                array if one is None else Masked._of(array, seen_mask(one, beside))
                for array, one in zip(seen, masks, strict=True)
            ]
        options = {name: see(value) for name, value in options.items()}
        outputs = twin._run(spec, seen if several else seen[0], None, training, options)
    return _back(outputs, arrays[0])


def computed(layer: Any, function: Callable[..., Any], arrays: list[Any]) -> Any:
    """See `fastmask.backends.anywhere.computed`.

    Raises:
        TypeError: the arrays are not CuPy's, which is not installed.
    """
    like = _arrays.view_of(arrays[0], "inputs")
    seen = [_speaker(layer, array) for array in arrays]
    with _computing(like, seen[0]):
        outputs = function(*seen)
    return _back(outputs, arrays[0])


def rows_of(layer: Any, table: Any, ids: Any) -> Any:
    """Rows of a weight (V, F) of `layer` by number, shape of `ids` and F."""
    ids = _arrays.view_of(ids, "inputs")
    rows = _arrays.empty((*ids.shape, table.shape[1]), table.dtype, ids)
    flat = _arrays.part(rows, (ids.size, table.shape[1]))
    with _arrays.launching(ids) as kernels:
        kernels.gather_rows(
            flat, _weights.on_device(layer, table, ids), _arrays.part(ids, (ids.size,))
        )
    return rows.owner


def not_equal(ids: Any, value: float) -> Mask:
    """The mask that is valid where `ids`, (B, T, ...), is not `value`."""
    return DeviceMask.of_array(_masks.not_equal(_arrays.view_of(ids, "inputs"), value))


def any_not_equal(x: Any, value: float) -> Mask:
    """The mask that is valid where any feature of x, (B, T, ..., F), is not `value`."""
    x = _arrays.view_of(x, "inputs")
    *rows, time, features = x.shape
    flat = int(np.prod(rows)), time
    valid = _arrays.empty(x.shape[:-1], _arrays.BOOL, x)
    with _arrays.launching(x) as kernels:
        kernels.mask_any_not_equal(
            _arrays.part(valid, flat), _arrays.part(x, (*flat, features)), value
        )
    return DeviceMask.of_array(valid.owner)


def one_after_the_other(batches: list[Any]) -> Any:
    """The rows of arrays, or of `Masked` ones, in one.

    Raises:
        ValueError: rows differ in shape.
    """
    views = [
        _arrays.view_of(_arrays.number_array(_data(one), "outputs"), "outputs") for one in batches
    ]
    row = views[0].shape[1:]
    if any(view.shape[1:] != row for view in views):
        shapes = [view.shape for view in views]
        raise ValueError(f"the outputs of all batches must fit together, not {shapes}")
    whole = _arrays.empty((sum(map(len, views)), *row), views[0].dtype, views[0])
    first = 0
    for view in views:
        _arrays.copy_into(_arrays.part(whole, view.shape, first * int(np.prod(row))), view)
        first += len(view)
    if not isinstance(batches[0], Masked):
        return whole.owner
    valid = [one.mask.valid for one in batches]
    joined = one_after_the_other(valid) if _arrays.on_gpu(valid[0]) else np.concatenate(valid)
    return Masked(whole.owner, joined)


def _data(value: Any) -> Any:
    return value.data if isinstance(value, Masked) else value


def _speaker(layer: Any, array: Any) -> Any:
    """An array on a GPU as one that NumPy's functions compute with."""
    speaker = _arrays.as_numpy_speaker(array)
    if speaker is None:
        raise TypeError(
            f"layer {layer.name!r} (of type {type(layer).__name__}) computes on a GPU by CuPy, "
            f"which is not installed: inputs must be on the host, not {owner_of(array).name} "
            "arrays on a GPU"
        )
    return speaker


def _back(value: Any, like: Any) -> Any:
    """What came out, as the kind of `like`."""
    if isinstance(value, Masked):
        return Masked._of(_back(value.data, like), _mask_back(value.mask, like))
    if isinstance(value, (list, tuple)):
        return type(value)(_back(one, like) for one in value)
    return _arrays.as_kind(value, like) if _arrays.on_gpu(value) else value


def _mask_back(mask: Mask, like: Any) -> Mask:
    if not isinstance(mask, DeviceMask):
        return mask
    if mask.origin is not mask:
        return mask.origin
    valid = _arrays.as_kind(mask.valid, like)
    return mask if valid is mask.valid else DeviceMask.of_array(valid)


@contextmanager
def _computing(like: Any, speaker: Any) -> Iterator[None]:
    """Let CuPy compute on the device of `like` and on the stream of its owner."""
    with ExitStack() as stack:
        if type(speaker).__module__.partition(".")[0] == "cupy":
            cuda = import_module("cupy").cuda
            stack.enter_context(cuda.Device(like.device))
            owner = owner_of(like.owner)
            if owner is not owner_of(speaker):
                stack.enter_context(cuda.ExternalStream(owner.stream(like.device)))
        yield


@contextmanager
def _seeing(layer: Any, beside: Any, training: bool | None) -> Iterator[Any]:
    """A layer that is `layer`, but has its weights on a GPU.

    What its code keeps in attributes is kept by `layer`.
    """
    if training and any(not weight.trainable for weight in layer._weights):
        raise TypeError(
            f"layer {layer.name!r} changes its weights in training, so that inputs must be on the "
            "host then, not on a GPU"
        )
    twins: list[tuple[Any, Any, dict[str, Any]]] = []
    yield _twin(layer, beside, twins)
    for original, twin, before in twins:
        for name, value in vars(twin).items():
            if value is not before.get(name):
                vars(original)[name] = value


def _twin(layer: Any, beside: Any, twins: list[Any]) -> Any:
    if layer._takes_gpu:
        return layer
    twin = object.__new__(type(layer))
    arrays = [weight.value for weight in layer._weights]
    if type(layer).__module__.startswith("fastmask."):  # whose other arrays never change
        arrays += [one for one in vars(layer).values() if type(one) is np.ndarray and one.ndim]
    on_device = {id(one): _weights.on_device(layer, one, beside).owner for one in arrays}
    attributes = {**vars(layer), "_takes_gpu": True}
    for name, value in attributes.items():
        if id(value) in on_device:
            attributes[name] = on_device[id(value)]
        elif hasattr(value, "_takes_gpu"):
            attributes[name] = _twin(value, beside, twins)
    attributes["_weights"] = [
        weight._replace(value=on_device[id(weight.value)]) for weight in layer._weights
    ]
    vars(twin).update(attributes)
    twins.append((layer, twin, attributes))
    return twin
