"""The loop over time that replaces Keras's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from keras import ops

from ..backends.layer import Layer
from ._backend import backend
from ._wanted import LOOPS, know, layer_or_reason

BACKEND: Any = backend()  # globals, both, because torch.compile reads them
_plain = False


@contextmanager
def plain() -> Iterator[None]:
    """Let Keras compute converted layers in a block of code.

    For `model.export` to formats that know nothing of fastmask, and for comparisons. What was
    traced or compiled before stays as it is.

    Examples:
        >>> import keras
        >>> import fastmask.keras
        >>> model = keras.Sequential([keras.Input((3, 2)), keras.layers.LSTM(4)])
        >>> _ = fastmask.keras.convert(model)
        >>> with fastmask.keras.plain():
        ...     tuple(model(keras.ops.ones((1, 3, 2))).shape)
        (1, 4)
    """
    global _plain
    before, _plain = _plain, True
    try:
        yield
    finally:
        _plain = before


@contextmanager
def enabled() -> Iterator[None]:
    """Let fastmask compute all recurrent layers in a block of code.

    Like `convert`, but for every layer of Keras that is called, or traced, in the block, whichever
    model it belongs to.

    Examples:
        >>> import keras
        >>> import fastmask.keras
        >>> with fastmask.keras.enabled():
        ...     tuple(keras.layers.GRU(4)(keras.ops.ones((1, 3, 2))).shape)
        (1, 4)
    """
    before = {cls: cls.inner_loop for cls in LOOPS}
    for cls, loop in _loops.items():
        cls.inner_loop = loop
    try:
        yield
    finally:
        for cls, loop in before.items():
            cls.inner_loop = loop


def converted_loop(layer: Any) -> Any:
    """fastmask's loop for a layer that it can compute, bound to the layer."""
    cls = next(cls for cls in type(layer).__mro__ if cls in LOOPS)
    return _loops[cls].__get__(layer)


def _loop_of(keras_loop: Callable[..., Any]) -> Callable[..., Any]:
    """fastmask's loop, which falls back to Keras's for what it cannot compute."""

    def inner_loop(
        self: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> tuple[Any, Any, list[Any]]:
        cell = self.cell
        layer = layer_or_reason(self, cell)
        states = initial_state if isinstance(initial_state, (list, tuple)) else [initial_state]
        if _plain or isinstance(layer, str) or _why_not_inputs(cell, sequences, states):
            result: tuple[Any, Any, list[Any]] = keras_loop(
                self, sequences, initial_state, mask, training
            )
            return result
        if self.stateful:  # Keras then overwrites the variables, which backward reads
            states = list(map(ops.copy, states))
        return _run(layer, cell, sequences, states, mask, training)

    return inner_loop


_loops = {cls: know(_loop_of(loop)) for cls, loop in LOOPS.items()}


def _run(
    layer: Layer, cell: Any, sequences: Any, states: Any, mask: Any, training: bool
) -> tuple[Any, Any, list[Any]]:
    """The last output, outputs and states, as `RNN.call` expects them."""
    if training and 0 < cell.dropout < 1:
        sequences = sequences * ops.expand_dims(cell.get_dropout_mask(sequences[:, 0, :]), 1)
    variables = [cell.kernel, cell.recurrent_kernel, *([] if cell.bias is None else [cell.bias])]
    x, *arrays = BACKEND.arrays([sequences, *states, *variables], cell.compute_dtype)
    count = len(states)
    mask = _mask_of(mask, x)
    out, last = BACKEND.run(layer, x, mask, arrays[:count], arrays[count:], training)
    return (out[:, -1], out, last) if layer.return_sequences else (out, out[:, None], last)


def _mask_of(mask: Any, x: Any) -> Any:
    """The mask of the first input, (B, T), or None."""
    if isinstance(mask, _NESTS):
        mask = mask[0]
    if mask is None:
        return None
    mask = ops.convert_to_tensor(mask)
    if len(mask.shape) == 3 and mask.shape[2] == 1:
        mask = ops.squeeze(mask, 2)
    if not _fits(mask.shape, x.shape[:2]):
        shape, expected = tuple(mask.shape), tuple(x.shape[:2])
        raise ValueError(f"mask must have shape (batch, time) = {expected}, not {shape}")
    return mask


_NESTS = (list, tuple, dict)


def _why_not_inputs(cell: Any, x: Any, states: Any) -> str:
    """Why Keras has to compute or reject these inputs; empty if fastmask can compute them."""
    if isinstance(x, _NESTS) or len(x.shape) != 3:
        return "its input is not one tensor (batch, time, features)"
    batch, _, given = x.shape
    features = cell.kernel.shape[0]
    if given != features and given is not None:
        return f"its input has {given} features, its kernel {features}"
    expected = (batch, cell.units)
    for state in states:
        if isinstance(state, _NESTS) or not _fits(state.shape, expected):
            return "a state is not (batch, units)"
    reason: str = BACKEND.why_not_now(x)
    return reason


def _fits(shape: Any, expected: Any) -> bool:
    """Whether a shape is as expected; None, an unknown size, fits any size."""
    return shape == expected or (
        len(shape) == len(expected)
        and all(
            one is None or other is None or one == other
            for one, other in zip(shape, expected, strict=True)
        )
    )
