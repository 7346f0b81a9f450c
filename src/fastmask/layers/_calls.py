"""Reading the arguments, masks and shapes of a layer's call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from .._checks import shown, unexpected
from ..backends.dispatch import as_array, backend_of, is_array
from ..backends.host import HOST
from ..backends.looked_up import LookedUp
from ..masks.mask import Mask, as_mask
from ..masks.masked import Masked, get_mask
from ._text import text_array
from ._types import BoolArrays, Masks

BY_NAME: Any = inspect.Parameter.empty  # marks inputs that are passed by keyword
_INSTEAD = {
    "mask": "masks are given as mask=, True or 1 where a step is valid (a key_padding_mask means "
    "the opposite)",
    "length": "give mask=fastmask.Mask.from_lengths(lengths, steps), or the rows without their "
    "padding, fastmask.ragged(rows)",
}
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class CallSpec(NamedTuple):
    """The arguments of `call`, and which optional methods the layer overrides."""

    names: tuple[str, ...]
    mask: str  # name of the argument for the mask of the inputs, or ""
    others: tuple[tuple[str, str], ...]  # further arguments, and the names of their masks
    training: bool
    anything: bool  # it takes arguments of any name
    makes_masks: bool  # it overrides `compute_mask`
    tells_shapes: bool  # it overrides `compute_output_shape`


def read_call_spec(
    call: Callable[..., Any], name: str, makes_masks: bool, tells_shapes: bool
) -> CallSpec:
    """Read the signature of `call`; messages call it `name`.

    Raises:
        TypeError: it takes no inputs at all.
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
        anything=any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters),
        makes_masks=makes_masks,
        tells_shapes=tells_shapes,
    )


def by_name(
    spec: CallSpec, args: tuple[Any, ...], kwargs: dict[str, Any], layer: str
) -> dict[str, Any]:
    """The arguments after the first, all by keyword.

    Raises:
        TypeError: there are too many, or one is given twice.
    """
    names = spec.names[1 : 1 + len(args)]
    if len(names) < len(args):
        most = f"{len(spec.names)} argument{'s' * (len(spec.names) > 1)}"
        raise TypeError(f"{layer} takes at most {most}, not {1 + len(args)}")
    if twice := set(names) & set(kwargs):
        raise TypeError(f"{layer} was given {twice.pop()!r} twice")
    return {**dict(zip(names, args, strict=True)), **kwargs}


def one_by_one(what: str, names: Iterable[str]) -> TypeError:
    """The error for several inputs that were passed one by one."""
    return TypeError(f"{what} takes its inputs in one list: call it on [{', '.join(names)}]")


def is_no_mask(value: Any) -> bool:
    """Whether it cannot be a mask, nor a list of masks."""
    if isinstance(value, (list, tuple)) and any(one is None or is_array(one) for one in value):
        return False
    try:
        as_mask(value)
    except (TypeError, ValueError):
        return True
    return False


def check_names(spec: CallSpec, kwargs: dict[str, Any], layer: str) -> None:
    """Check that `call` has these arguments, before anything is built or computed.

    Raises:
        TypeError: it does not have one.
    """
    for name in kwargs:
        if name not in spec.names and not spec.anything:
            known = {*spec.names, "mask", "training"}
            raise TypeError(unexpected(layer, name, known, _INSTEAD))


def first_by_name(spec: CallSpec, kwargs: dict[str, Any], layer: str) -> Any:
    """Take the inputs, which were passed by keyword, out of `kwargs`.

    Raises:
        TypeError: they are missing.
    """
    if spec.names[0] not in kwargs:
        raise TypeError(f"{layer} was called without {spec.names[0]}")
    return kwargs.pop(spec.names[0])


def separate(inputs: object, layer: Any = None) -> tuple[Any, Masks]:
    """Split inputs into arrays and masks: an array, a `Masked`, or a list that contains one.

    Args:
        inputs: what a layer is called on.
        layer: the layer; if it takes texts, lists of texts become arrays of objects.

    Raises:
        TypeError: they cannot be an array, or they are a single number or text.
        ValueError: they are lists of different lengths.
    """
    if type(inputs) is LookedUp:
        return inputs, None
    if isinstance(inputs, np.ndarray):
        return as_array(inputs, "inputs"), None
    if isinstance(inputs, Masked):
        return inputs._data, inputs._mask
    if isinstance(inputs, (list, tuple)) and any(
        (hasattr(item, "__array__") or is_array(item)) and not isinstance(item, np.generic)
        for item in inputs
    ):
        arrays, masks, masked = [], [], False
        mask: Any  # a single mask: no item is itself a list of arrays
        for item in inputs:
            array, mask = separate(item, layer)
            arrays.append(array)
            masks.append(mask)
            masked = masked or mask is not None
        return arrays, masks if masked else None
    if backend_of(inputs) is not HOST:
        return inputs, None
    texts = layer is not None and layer._takes_texts
    array = (text_array if texts else as_array)(inputs, "inputs")
    if not array.ndim and array.dtype.kind in "OSU":
        what = "texts, such as ['a text']" if texts else "numbers"
        raise TypeError(f"inputs must be an array or nested lists of {what}, not {shown(inputs)}")
    return array, None


def without_masks(spec: CallSpec, arguments: dict[str, Any]) -> dict[str, Any]:
    """Take the masks off `Masked` arguments; `call` gets them as its own `{argument}_mask`."""
    plain = {n: v.data if isinstance(v, Masked) else v for n, v in arguments.items()}
    for name, own in spec.others:
        given = arguments.get(own)
        mask = get_mask(arguments.get(name)) if given is None else as_mask(given)
        plain[own] = None if mask is None else mask.valid
    return plain


def narrowed(given: Masks, carried: Masks) -> Masks:
    """The masks that the caller gives instead of those that the inputs carry.

    A mask of sentences, (B, S), does not replace one of words, (B, S, W): then both apply.
    """
    if isinstance(given, list):
        each = carried if isinstance(carried, list) else [None] * len(given)
        return list(map(_narrowed, given, each))
    return given if isinstance(carried, list) else _narrowed(given, carried)


def _narrowed(given: Mask | None, carried: Mask | None) -> Mask | None:
    inner = 0 if given is None or carried is None else carried.ndim - given.ndim
    if given is None or inner <= 0:
        return given
    return Mask._of(np.asarray(carried) & np.reshape(given, given.shape + (1,) * inner))


def arrays_of(masks: Masks) -> BoolArrays:
    """The bool arrays of a mask, of a list of masks, or of none."""
    if type(masks) is Mask:
        return masks._valid
    if masks is None:
        return None
    if isinstance(masks, list):
        return [None if mask is None else mask.valid for mask in masks]
    return masks.valid  # a mask of numbers, see `Softmax`


def flat(outputs: object) -> list[Any]:
    """The outputs in one list."""
    if not isinstance(outputs, (list, tuple)):
        return [outputs]
    found: list[Any] = []
    for output in outputs:
        found += flat(output) if isinstance(output, (list, tuple)) else (output,)
    return found
