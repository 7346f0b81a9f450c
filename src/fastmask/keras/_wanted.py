"""What a recurrent layer of Keras wants computed, or why fastmask cannot; on any backend."""

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
ACTIVATIONS: dict[Any, str] = {
    getattr(keras.activations, name): name
    for name in ("hard_sigmoid", "linear", "relu", "sigmoid", "tanh")
}
LOOPS: dict[Any, Any] = {
    cls: cls.inner_loop for cls in (keras.layers.RNN, keras.layers.LSTM, keras.layers.GRU)
}
"""The classes that have a loop over time, and Keras's own loops."""


def wanted(layer: Any) -> Layer:
    """What a layer, for which `why_not` has nothing to say, computes."""
    cell = layer.cell
    return Layer(
        CELLS[type(cell)],
        tuple([ACTIVATIONS[function] for function in _activations(cell)]),
        bool(getattr(cell, "reset_after", False)),
        layer.go_backwards,
        layer.zero_output_for_mask,
        layer.return_sequences,
    )


def why_not(layer: keras.layers.Layer) -> str:
    """Tell why fastmask cannot compute a layer of Keras.

    Args:
        layer: any layer.

    Returns:
        The reason in words; an empty text where fastmask can compute the layer.

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
    if type(layer).inner_loop not in _known_loops:
        return f"its class {type(layer).__name__} has an inner_loop of its own"
    return why_not_cell(layer.cell) or _why_not_options(layer)


_known_loops = set(LOOPS.values())  # those of `_loop.enabled` are added there


def know(loop: Any) -> Any:
    """Say that a loop, which is returned, may stand in place of Keras's."""
    _known_loops.add(loop)
    return loop


def why_not_cell(cell: Any) -> str:
    """Why there are no kernels for a cell; empty where there are."""
    if type(cell) not in CELLS:
        return f"its cell is a {type(cell).__name__}"
    unknown = [function for function in _activations(cell) if function not in ACTIVATIONS]
    if unknown:
        name = getattr(unknown[0], "__name__", type(unknown[0]).__name__)
        return f"its activation {name} is not one of {', '.join(ACTIVATIONS.values())}"
    if cell.recurrent_dropout:
        return "it has recurrent_dropout"
    if cell.dropout and getattr(cell, "implementation", 2) == 1:
        return "with implementation=1 it drops inputs anew for each gate"
    if getattr(cell, "quantization_mode", None) or getattr(cell, "lora_enabled", False):
        return "its cell is quantized"
    return ""


def _why_not_options(layer: Any) -> str:
    if layer.unroll:
        return "it has unroll=True"
    computed = layer.compute_dtype, layer.cell.compute_dtype
    for dtype in computed:
        if dtype not in ("float32", "float64"):
            return f"it computes in {dtype}"
    if computed[0] != computed[1]:
        return f"it computes in {computed[0]}, its cell in {computed[1]}"
    return ""


def _activations(cell: Any) -> list[Any]:
    functions = [cell.activation]
    if hasattr(cell, "recurrent_activation"):
        functions.append(cell.recurrent_activation)
    return [keras.activations.linear if function is None else function for function in functions]
