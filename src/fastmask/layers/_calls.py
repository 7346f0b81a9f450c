"""Taking the call of a layer apart: arguments, masks, shapes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..backends.cuda import on_gpu
from ..backends.dispatch import as_array
from ..masks.mask import Mask, as_mask
from ..masks.masked import Masked, get_mask

_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class CallSpec(NamedTuple):
    """What `call` takes, and whether the layer has a `compute_mask` of its own."""

    names: tuple[str, ...]
    mask: str  # the name under which it takes the mask of the inputs, or ""
    others: tuple[tuple[str, str], ...]  # further arguments, and the names of their masks
    training: bool
    makes_masks: bool


def read_call_spec(call: Callable[..., Any], name: str, makes_masks: bool) -> CallSpec:
    """The spec of `call`, a method that is called `name` in messages.

    Raises:
        TypeError: it takes no inputs.
    """
    parameters = list(inspect.signature(call).parameters.values())[1:]
    names = tuple(p.name for p in parameters if p.kind not in _VARIABLE)
    if not names:
        raise TypeError(f"{name} must take the inputs: call(self, inputs)")
    masks = [(name, f"{name}_mask") for name in names if f"{name}_mask" in names]
    return CallSpec(
        names,
        mask="mask" if "mask" in names[1:] else dict(masks).get(names[0], ""),
        others=tuple(pair for pair in masks if pair[0] != names[0]),
        training="training" in names[1:],
        makes_masks=makes_masks,
    )


def by_name(
    spec: CallSpec, args: tuple[Any, ...], kwargs: dict[str, Any], layer: str
) -> dict[str, Any]:
    """The arguments after the first, all by name.

    Raises:
        TypeError: there are too many, or one comes twice.
    """
    names = spec.names[1 : 1 + len(args)]
    if len(names) < len(args):
        raise TypeError(f"{layer} takes at most {len(spec.names)} arguments, not {1 + len(args)}")
    if twice := set(names) & set(kwargs):
        raise TypeError(f"{layer} was given {twice.pop()!r} twice")
    return {**dict(zip(names, args, strict=True)), **kwargs}


def separate(inputs: Any) -> tuple[Any, Any]:
    """Arrays and masks of inputs: an array, a `Masked`, or a list with one of these in it."""
    if isinstance(inputs, np.ndarray):
        return as_array(inputs, "inputs"), None
    if isinstance(inputs, Masked):
        return inputs._data, inputs._mask
    if isinstance(inputs, (list, tuple)) and any(
        (hasattr(item, "__array__") or on_gpu(item)) and not isinstance(item, np.generic)
        for item in inputs
    ):
        arrays, masks, masked = [], [], False
        for item in inputs:
            array, mask = separate(item)
            arrays.append(array)
            masks.append(mask)
            masked = masked or mask is not None
        return arrays, masks if masked else None
    if on_gpu(inputs):
        return inputs, None
    array = as_array(inputs, "inputs")
    if not array.ndim and array.dtype.kind in "OSU":
        raise TypeError(f"inputs must be an array or nested lists of numbers, not {inputs!r:.80}")
    return array, None


def without_masks(spec: CallSpec, arguments: dict[str, Any]) -> dict[str, Any]:
    """Take the masks off `Masked` arguments; `call` gets them as its own `{argument}_mask`."""
    plain = {n: v.data if isinstance(v, Masked) else v for n, v in arguments.items()}
    for name, own in spec.others:
        given = arguments.get(own)
        mask = get_mask(arguments.get(name)) if given is None else as_mask(given)
        plain[own] = None if mask is None else mask.valid
    return plain


def narrowed(given: Any, carried: Any) -> Any:
    """The masks that the caller gives instead of those that the inputs carry.

    A mask of sentences, (B, S), says nothing of words: beside one of words, (B, S, W), both hold.
    """
    if isinstance(given, list):
        return list(map(narrowed, given, carried or [None] * len(given)))
    if not isinstance(given, Mask) or not isinstance(carried, Mask):
        return given
    inner = carried.ndim - given.ndim
    if inner <= 0:
        return given
    return Mask._of(np.asarray(carried) & np.reshape(given, given.shape + (1,) * inner))


def arrays_of(masks: Any) -> Any:
    """The bool arrays of a mask, of a list of masks, or of none."""
    if masks is None:
        return None
    if isinstance(masks, list):
        return [None if mask is None else mask.valid for mask in masks]
    return masks.valid


def flat(outputs: Any) -> Iterator[Any]:
    """The outputs one by one."""
    if isinstance(outputs, (list, tuple)):
        for output in outputs:
            yield from flat(output)
    else:
        yield outputs


def shapes(arrays: Any) -> Any:
    """The shape of an array, or a list of shapes."""
    if isinstance(arrays, (list, tuple)):
        return [shapes(array) for array in arrays]
    return tuple(arrays.shape)


def is_shape(value: Any) -> bool:
    """Whether it is one shape and not a list of several."""
    return not any(isinstance(size, (list, tuple)) for size in value)


def merge_shapes(once: Any, again: Any) -> Any:
    """Sizes that differ between two calls become None."""
    if isinstance(once, list):
        return [merge_shapes(a, b) for a, b in zip(once, again, strict=True)]
    return tuple(a if a == b else None for a, b in zip(once, again, strict=True))
