"""Layers without a GPU kernel: CuPy runs their NumPy code.

Inputs are viewed as CuPy arrays, and outputs as arrays of the inputs' library, without copies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

from .._typing import Array, DeviceArray
from ..backends.cuda import arrays as _arrays
from ..backends.cuda import library_of
from ..backends.cuda.backend import weight_on_device
from ..backends.cuda.masks import origin_of, seen_mask
from ..backends.dispatch import backend_of, is_array
from ..backends.host import HOST
from ..masks.mask import Mask
from ..masks.masked import Masked
from ._calls import CallSpec, narrowed


def run(
    layer: Any,
    spec: CallSpec,
    inputs: Any,
    carried: Any,
    mask: Any,
    training: bool | None,
    options: dict[str, Any],
) -> Any:
    """Call a layer written in NumPy, as `Layer._run` calls others; the inputs carry `carried`.

    Raises:
        TypeError: some arrays are on the host; or CuPy is not installed and they are not CuPy's.
        ValueError: arrays are on different devices.
    """
    if mask is not None:
        carried = narrowed(layer._explicit(mask, inputs), carried)
    if not layer.built:
        layer._build_for(inputs, options)
    several = isinstance(inputs, list)
    arrays = inputs if several else [inputs]
    named = [(f"inputs[{i}]" if several else "inputs", one) for i, one in enumerate(arrays)]
    backend_of(arrays[0]).check_places(named)
    like = _arrays.view_of(arrays[0], "inputs")
    numpy_like = _numpy_like(layer, arrays[0])
    beside = _arrays.view_of(numpy_like, "inputs")

    def see(value: Any) -> Any:
        if isinstance(value, Masked):
            return Masked._of(see(value.data), _seen(value.mask, beside))
        if isinstance(value, Mask):
            return _seen(value, beside)
        if isinstance(value, (list, tuple)):
            return type(value)(map(see, value))
        return value if backend_of(value) is HOST else _arrays.as_numpy_like(value)

    with _computing(like, numpy_like), _seeing(layer, beside, training) as twin:
        seen = [twin._cast(see(array)) for array in arrays]
        masks = carried if several else [carried]
        if any(one is not None for one in masks or ()):
            seen = [
                array if one is None else Masked._of(array, _seen(one, beside))
                for array, one in zip(seen, masks, strict=True)
            ]
        options = {name: see(value) for name, value in options.items()}
        outputs = twin._run(spec, seen if several else seen[0], None, training, options)
    return _back(outputs, arrays[0])


def computed(layer: Any, function: Callable[..., Any], arrays: list[Array]) -> Any:
    """Apply a function written in NumPy, part of what `layer` computes.

    Raises:
        TypeError: CuPy is not installed and the arrays are not CuPy's.
    """
    like = _arrays.view_of(arrays[0], "inputs")
    seen = [_numpy_like(layer, array) for array in arrays]
    with _computing(like, seen[0]):
        outputs = function(*seen)
    return _back(outputs, arrays[0])


def _numpy_like(layer: Any, array: Array) -> Any:
    """An array on a GPU as one that NumPy's functions take."""
    numpy_like = _arrays.as_numpy_like(array)
    if numpy_like is None:
        raise TypeError(
            f"layer {layer.name!r} (of type {type(layer).__name__}) computes on a GPU by CuPy, "
            f"which is not installed: inputs must be on the host, not {library_of(array).name} "
            "arrays on a GPU"
        )
    return numpy_like


def _back(value: Any, like: Array) -> Any:
    """Outputs as arrays of the library of `like`."""
    if isinstance(value, Masked):
        return Masked._of(_back(value.data, like), _mask_back(value.mask, like))
    if isinstance(value, (list, tuple)):
        return type(value)(_back(one, like) for one in value)
    return value if backend_of(value) is HOST else _arrays.as_kind(value, like)


def _mask_back(mask: Mask, like: Array) -> Mask:
    if backend_of(mask.valid) is HOST:
        return mask
    origin = origin_of(mask)
    if origin is not mask:
        known: Mask = origin  # type: ignore[assignment]  # it was made of one
        return known
    valid = _arrays.as_kind(mask.valid, like)
    return mask if valid is mask.valid else Mask._of(valid)


def _seen(mask: Mask, like: DeviceArray) -> Mask:
    seen: Mask = seen_mask(mask, like)  # type: ignore[assignment]  # made of one
    return seen


@contextmanager
def _computing(like: DeviceArray, numpy_like: Array) -> Iterator[None]:
    """Let CuPy compute on the device of `like` and on the stream of its library."""
    with ExitStack() as stack:
        if type(numpy_like).__module__.partition(".")[0] == "cupy":
            cuda = import_module("cupy").cuda
            stack.enter_context(cuda.Device(like.device))
            library = library_of(like.owner)
            if library is not library_of(numpy_like):
                stack.enter_context(cuda.ExternalStream(library.stream(like.device)))
        yield


@contextmanager
def _seeing(layer: Any, beside: DeviceArray, training: bool | None) -> Iterator[Any]:
    """A twin of `layer` with its weights on a GPU.

    Attributes that the twin's code sets are copied back to `layer`.
    """
    if training and any(not weight.trainable for weight in layer._weights):
        raise TypeError(
            f"layer {layer.name!r} changes its weights in training, so its inputs must be on the "
            "host then, not on a GPU"
        )
    twins: list[tuple[Any, Any, dict[str, Any]]] = []
    yield _twin(layer, beside, twins)
    for original, twin, before in twins:
        for name, value in vars(twin).items():
            if value is not before.get(name):
                vars(original)[name] = value


def _twin(layer: Any, beside: DeviceArray, twins: list[Any]) -> Any:
    if layer._takes_gpu:
        return layer
    twin = object.__new__(type(layer))
    arrays = [weight.value for weight in layer._weights]
    if type(layer).__module__.startswith("fastmask."):  # whose other arrays never change
        arrays += [one for one in vars(layer).values() if is_array(one) and one.ndim]
    on_device = {id(one): weight_on_device(layer._weights, one, beside).owner for one in arrays}
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
