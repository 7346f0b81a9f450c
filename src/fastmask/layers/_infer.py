"""How a layer acts on symbolic tensors: it is built, and nothing is computed.

The call is recorded, with the shapes of its outputs and whether they have masks. Layers that do
not define their output shape are tried on zeros of two sizes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from .._typing import DTypeLike, Shape, Shapes
from ..masks.mask import Mask, mask_of_output
from ..masks.masked import Masked
from ._base import BaseLayer
from ._call_graph import CallGraph
from ._calls import arrays_of, flat, separate
from ._hooks import hooked
from ._lost_mask import on_trial
from ._mask_effect import makes_masks, mask_effect
from ._shapes import broadcasts, fits, is_shape, merge_shapes, shapes
from ._symbolic import Call, SymbolicMask, SymbolicTensor, Symbols
from ._types import Arrays, BoolArrays

SIZES = (12, 24)  # divisible by many numbers, for layers that split an axis


class Inferred(NamedTuple):
    """What is known of a call before it happens."""

    outputs: Any  # a symbolic tensor or a list of them
    effect: str  # see `mask_effect`


def record(
    layer: BaseLayer, inputs: Any, mask: object, training: bool | None, options: dict[str, Any]
) -> Any:
    """Call a layer on symbolic tensors.

    Raises:
        TypeError: some of them are arrays.
        ValueError: the inputs or the mask do not fit.
    """
    if isinstance(inputs, (list, tuple)):
        inputs = list(inputs)
    layer._check_number_of(inputs)
    for one in flat(inputs):
        if not isinstance(one, SymbolicTensor):
            raise TypeError(
                f"the inputs of layer {layer.name!r} must all be symbolic, or none of them: "
                f"one is of type {type(one).__name__}"
            )
    options = dict(options)
    if mask is not None:
        options["mask"] = mask
    if training is not None:
        options["training"] = bool(training)
    outputs = infer(layer, inputs, options).outputs
    call = Call(layer, inputs, options, flat(outputs))
    for output in call.outputs:
        output.call = call
    return outputs


def infer(layer: BaseLayer, inputs: Symbols, options: dict[str, Any]) -> Inferred:
    """Build a layer, and find the shapes and masks of its outputs without computing them."""
    inputs = explicitly_masked(layer, inputs, options.get("mask"))
    if isinstance(layer, CallGraph):
        outputs = layer._run_graph(inputs, lambda *call: infer(*call).outputs)
        return Inferred(_fresh(outputs, layer.name), "-")
    options = {name: value for name, value in options.items() if name != "mask"}
    if not layer.built:
        layer._build_for(inputs, options)
    layer._check_input_shape(shapes(inputs))
    arrays, carried = separate(_sample(inputs, SIZES[0]))
    arrays = layer._cast(arrays)
    before = [*_masks(inputs), *(m for value in options.values() for m in _masks(value))]
    if layer._spec().tells_shapes:
        known = layer._shapes_of_call(inputs, options)
        found = known if not is_shape(known) else [known]
        after = _masks_after(layer, arrays, arrays_of(carried), found)
        dtypes = [layer._output_dtype] * len(found)
        many = not is_shape(known)
    else:
        known, values = probe(layer, inputs, options)
        many = isinstance(values, (list, tuple))
        found = known if many else [known]
        after = [one.mask if isinstance(one, Masked) else None for one in flat(values)]
        dtypes = [one.dtype for one in flat(values)]
    made = [
        symbols(shape, dtype, layer.name, 0 if mask is None else mask.ndim)
        for shape, dtype, mask in zip(found, dtypes, after, strict=True)
    ]
    makes = any(mask is not None for mask in before) and makes_masks(layer, arrays)
    effect = mask_effect(layer, before, after, makes)
    return Inferred(made if many else made[0], effect)


def probe(layer: BaseLayer, inputs: Symbols, options: dict[str, Any]) -> tuple[Shapes, Any]:
    """The shapes of the outputs, and the outputs of calling the layer on zeros."""
    with hooked(None):  # hooks should not see these calls
        once, again = (on_zeros(layer, inputs, options, size) for size in SIZES)
    return merge_shapes(shapes(once), shapes(again)), once


def on_zeros(layer: BaseLayer, inputs: Symbols, options: dict[str, Any], size: int) -> Any:
    """Call a layer on zeros, with `size` for the sizes that may vary."""
    given = {name: _sample(value, size) for name, value in options.items()}
    token = on_trial.set(True)
    try:
        with states_kept(layer) as stateful:
            for one in stateful:
                one.states = None
            return _called(layer, inputs, given, size)
    finally:
        on_trial.reset(token)


@contextmanager
def states_kept(layer: BaseLayer) -> Iterator[list[Any]]:
    """Restore the states of stateful layers, which are yielded, afterwards."""
    stateful = [one for one in layer._all_layers() if "states" in vars(one)]
    states = [one.states for one in stateful]
    try:
        yield stateful
    finally:
        for one, state in zip(stateful, states, strict=True):
            one.states = state


def _called(layer: BaseLayer, inputs: Symbols, given: dict[str, Any], size: int) -> Any:
    with np.errstate(all="ignore"):
        try:
            return layer(_sample(inputs, size), **given)
        except IndexError:  # indices must be integers, but these were declared as floats
            return layer(_sample(inputs, size, np.dtype(np.int32)), **given)
        except ValueError as error:
            if layer._is_sealed() or not any(None in one.shape for one in flat(inputs)):
                raise
            told = f"{error} (to find the shape of its outputs, layer {layer.name!r} was called"
            raise type(error)(
                f"{told} on zeros, with {size} for each size that may vary)"
            ) from error


def _masks_after(
    layer: BaseLayer, arrays: Arrays, valid: BoolArrays, shapes: list[Shape]
) -> list[Mask | None]:
    """The masks of outputs of these shapes, as a call of the layer would make them."""
    masks: Any = None
    if layer._spec().makes_masks or (valid is not None and layer.supports_masking):
        masks = layer.compute_mask(arrays, valid)
    elif valid is not None:
        layer._warn_of_loss(None)
    masks = layer._mask_of_each(masks, len(shapes))
    return [mask_of_output(mask, shape) for mask, shape in zip(masks, shapes, strict=True)]


def _sample(value: object, size: int, dtype: DTypeLike | None = None) -> Any:
    """The argument with symbolic tensors replaced by zeros, with masks of rows of all lengths."""
    if isinstance(value, SymbolicTensor):
        shape = _sized(value.shape, size)
        data = np.zeros(shape, dtype if dtype is not None else value.dtype)
        return Masked(data, _pattern(shape[: value.masked])) if value.masked else data
    if isinstance(value, SymbolicMask):
        return _pattern(_sized(value.shape, size))
    if isinstance(value, (list, tuple)):
        return [_sample(one, size, dtype) for one in value]
    return value


def _sized(shape: Shape, size: int) -> tuple[int, ...]:
    return tuple(size if n is None else n for n in shape)


def _pattern(shape: tuple[int, ...]) -> Mask:
    *rows, steps = np.indices(shape)
    return Mask._of(steps <= sum(rows))


def _masks(value: object) -> list[Mask | None]:
    found = (_sample(one, SIZES[0]) for one in flat(value) if isinstance(one, SymbolicTensor))
    return [one.mask if isinstance(one, Masked) else None for one in found]


def explicitly_masked(layer: BaseLayer, inputs: Symbols, mask: Any) -> Symbols:
    """The inputs, with the mask given for them instead of their own.

    Raises:
        ValueError: the mask does not fit.
    """
    if mask is None:
        return inputs
    if not isinstance(inputs, list):
        return _one_masked(layer, inputs, mask)
    return [
        _as_masked(one, 0) if own is None else _one_masked(layer, one, own)
        for one, own in zip(inputs, layer._mask_list(mask, len(inputs)), strict=True)
    ]


def _one_masked(layer: BaseLayer, tensor: SymbolicTensor, mask: Any) -> SymbolicTensor:
    if isinstance(mask, (SymbolicMask, SymbolicTensor)):
        shape = mask.shape
    else:
        shape = np.shape(mask) if layer._any_mask else Mask(mask).shape
    steps = layer._steps_of(tensor.shape)
    if len(shape) > 2 and shape[-1] == 1 and not len(shape) < len(steps):
        shape = shape[:-1]
    of_steps = len(shape) > 1 and fits(shape, steps[: len(shape)])
    if not of_steps and not (layer._any_mask and broadcasts(shape, tensor.shape)):
        raise ValueError(
            f"mask has shape {shape}, but the input of layer {layer.name!r} has shape "
            f"{tensor.shape}: the first two axes must be the same"
        )
    return _as_masked(tensor, max(len(shape), tensor.masked) if of_steps else 2)


def _as_masked(tensor: SymbolicTensor, masked: int) -> SymbolicTensor:
    return SymbolicTensor(tensor.shape, tensor.dtype, tensor.name, masked)


def symbols(shape: Shapes, dtype: DTypeLike, name: str, masked: int = 0) -> Any:
    """A new tensor, or a list of tensors for a list of shapes."""
    if is_shape(shape):
        return SymbolicTensor(shape, dtype, name, masked)
    return [symbols(one, dtype, name, masked) for one in shape]


def _fresh(outputs: Any, name: str) -> Any:
    """New tensors like these, not connected to the calls that made them."""
    if isinstance(outputs, (list, tuple)):
        return [_fresh(one, name) for one in outputs]
    return SymbolicTensor(outputs.shape, outputs.dtype, name, outputs.masked)
