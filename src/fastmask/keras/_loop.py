"""The loop over time in place of Keras's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from keras import ops

from ._backend import backend
from ._wanted import LOOPS, know, wanted, why_not

BACKEND: Any = backend()  # globals, both, because torch.compile reads them
_plain = False


@contextmanager
def plain() -> Iterator[None]:
    """In a block of code, converted layers compute as Keras's own.

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
    """In a block of code, fastmask computes all recurrent layers.

    As after `convert`, but for every layer of Keras that is called, or traced, in the block,
    whichever model it belongs to.

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
    """The loop for a layer, for which `why_not` has nothing to say, bound to it."""
    cls = next(cls for cls in type(layer).__mro__ if cls in LOOPS)
    return _loops[cls].__get__(layer)


def _loop_of(keras_loop: Callable[..., Any]) -> Callable[..., Any]:
    """fastmask's loop, which leaves to Keras's what it cannot compute."""

    def inner_loop(
        self: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> tuple[Any, Any, list[Any]]:
        if _plain or why_not(self) or _why_not_inputs(self, sequences, initial_state):
            result: tuple[Any, Any, list[Any]] = keras_loop(
                self, sequences, initial_state, mask, training
            )
            return result
        return _run(self, sequences, initial_state, mask, training)

    return inner_loop


_loops = {cls: know(_loop_of(loop)) for cls, loop in LOOPS.items()}


def _run(
    layer: Any, sequences: Any, initial_state: Any, mask: Any, training: bool
) -> tuple[Any, Any, list[Any]]:
    """The last output, outputs and states, as `RNN.call` takes them."""
    cell, dtype = layer.cell, layer.compute_dtype
    if training and 0 < cell.dropout < 1:
        sequences = sequences * ops.expand_dims(cell.get_dropout_mask(sequences[:, 0, :]), 1)
    x = ops.convert_to_tensor(sequences, dtype)
    states = [ops.convert_to_tensor(state, dtype) for state in _list(initial_state)]
    variables = [cell.kernel, cell.recurrent_kernel, *([] if cell.bias is None else [cell.bias])]
    weights = [ops.convert_to_tensor(variable, dtype) for variable in variables]
    found = wanted(layer)
    out, last = BACKEND.run(found, x, _mask_of(mask, x), states, weights, training)
    return (out[:, -1], out, last) if found.return_sequences else (out, out[:, None], last)


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


def _list(states: Any) -> Any:
    return states if isinstance(states, (list, tuple)) else [states]


def _why_not_inputs(layer: Any, x: Any, initial_state: Any) -> str:
    """Why Keras has to compute on these inputs, or to complain of them; empty if it has not."""
    if isinstance(x, _NESTS) or len(x.shape) != 3:
        return "its input is not one tensor (batch, time, features)"
    features, units = layer.cell.kernel.shape[0], layer.cell.units
    if not _fits(x.shape, (None, None, features)):
        return f"its input has {x.shape[2]} features, its kernel {features}"
    for state in _list(initial_state):
        if isinstance(state, _NESTS) or not _fits(state.shape, (x.shape[0], units)):
            return "a state is not (batch, units)"
    reason: str = BACKEND.why_not_now(x)
    return reason


def _fits(shape: Any, expected: Any) -> bool:
    """Whether sizes are those that are expected, where both are known."""
    return len(shape) == len(expected) and all(
        one is None or other is None or one == other
        for one, other in zip(shape, expected, strict=True)
    )
