"""What a recurrent layer of Keras computes, or why fastmask cannot, on any backend."""

from __future__ import annotations

from typing import Any

import keras

from ..backends.layer import Layer
from ._backend import BACKENDS, backend_name

CELLS: dict[Any, str] = {
    keras.layers.LSTMCell: "LSTM",
    keras.layers.GRUCell: "GRU",
    keras.layers.SimpleRNNCell: "SimpleRNN",
}
_NAMES = ("hard_sigmoid", "linear", "relu", "sigmoid", "tanh")
ACTIVATIONS: dict[Any, str] = {getattr(keras.activations, name): name for name in _NAMES}
ACTIVATIONS[None] = "linear"
LOOPS: dict[Any, Any] = {
    cls: cls.inner_loop for cls in (keras.layers.RNN, keras.layers.LSTM, keras.layers.GRU)
}
"""The classes that have a loop over time, and Keras's own loops."""


def why_not(layer: keras.layers.Layer) -> str:
    """Tell why fastmask cannot compute a layer of Keras.

    Args:
        layer: any layer.

    Returns:
        The reason in words; an empty string if fastmask can compute the layer.

    Raises:
        TypeError: `layer` is not a layer of Keras.

    Examples:
        >>> import keras
        >>> import fastmask.keras
        >>> fastmask.keras.why_not(keras.layers.GRU(4, dropout=0.5))
        ''
        >>> fastmask.keras.why_not(keras.layers.GRU(4, recurrent_dropout=0.5))
        'it has recurrent_dropout'
    """
    if not isinstance(layer, keras.layers.Layer):
        raise TypeError(f"layer must be a layer of Keras, not {type(layer).__name__}")
    if backend_name() not in BACKENDS:
        return f"Keras computes with {backend_name()}, fastmask with {', '.join(BACKENDS)}"
    if not isinstance(layer, keras.layers.RNN):
        if isinstance(layer, (keras.layers.Bidirectional, keras.layers.TimeDistributed)):
            return "it computes nothing itself: ask about the layers in it, which are converted"
        return f"{type(layer).__name__} is not a recurrent layer"
    found = layer_or_reason(layer, layer.cell)
    return found if isinstance(found, str) else ""


def layer_or_reason(layer: Any, cell: Any) -> Layer | str:
    """What a recurrent layer with this cell computes, or why fastmask cannot compute it.

    Evaluated in each call, so that every change of the layer is seen.
    """
    if type(layer).inner_loop not in _known_loops:
        return f"its class {type(layer).__name__} has an inner_loop of its own"
    kind = CELLS.get(type(cell))
    if kind is None:
        return f"its cell is a {type(cell).__name__}"
    names = []
    for role in ("activation",) if kind == "SimpleRNN" else ("activation", "recurrent_activation"):
        function = getattr(cell, role)
        if function not in ACTIVATIONS:
            name = getattr(function, "__name__", type(function).__name__)
            return f"its activation {name} is not one of {', '.join(_NAMES)}"
        names.append(ACTIVATIONS[function])
    return _why_not_options(layer, cell) or Layer(
        kind,
        tuple(names),
        kind == "GRU" and bool(cell.reset_after),
        layer.go_backwards,
        layer.zero_output_for_mask,
        layer.return_sequences,
    )


_known_loops = set(LOOPS.values())  # those of `_loop.enabled` are added there


def know(loop: Any) -> Any:
    """Register a loop as a replacement for Keras's, and return it."""
    _known_loops.add(loop)
    return loop


def _why_not_options(layer: Any, cell: Any) -> str:
    if cell.recurrent_dropout:
        return "it has recurrent_dropout"
    if cell.dropout and getattr(cell, "implementation", 2) == 1:
        return "with implementation=1 it drops inputs anew for each gate"
    # vars: on torch, getattr of a missing attribute takes a microsecond.
    if getattr(cell, "quantization_mode", None) or vars(cell).get("lora_enabled"):
        return "its cell is quantized"
    if layer.unroll:
        return "it has unroll=True"
    computed, of_cell = layer.compute_dtype, cell.compute_dtype
    for dtype in (computed, of_cell):
        if dtype not in ("float32", "float64"):
            return f"it computes in {dtype}"
    if computed != of_cell:
        return f"it computes in {computed}, its cell in {of_cell}"
    return ""
