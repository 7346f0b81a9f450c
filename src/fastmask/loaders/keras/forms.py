"""The weights of a layer, from arrays that other versions of it stored in other forms."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._typing import Array
from ...layers import Layer
from ..hdf5 import Hdf5
from .places import Place, Stored

_CUDNN_GATES = {"LSTMCell": 4, "GRUCell": 3}
_HARDER = 1.2  # Keras 2's hard_sigmoid(x) is clip(x / 5 + 1 / 2), Keras 3's clip(x / 6 + 1 / 2)


def misfits(place: Place, file: Hdf5) -> list[str]:
    """What is wrong with the stored arrays of a layer, without reading their values.

    Raises:
        ValueError: an array cannot be read at all.
    """
    layer, name, stored, _ = place
    missing = [weight.name for weight in layer._weights if weight.name not in stored]
    if missing:
        return [f"{name}: has no {', '.join(missing)} in the file"]
    if _is_cudnn(layer, stored, file):
        return []
    two = _has_two_biases(layer, stored, file)
    return [
        f"{name}: {weight.name} must have shape {weight.value.shape}, and the file has {found}"
        for weight in layer._weights
        if not (two and weight.name == "bias")
        and (found := file.info(stored[weight.name]).shape) != weight.value.shape
    ]


def read(place: Place, file: Hdf5, version: int) -> None:
    """Put the stored arrays into the weights of a layer, while these can be written to.

    Raises:
        ValueError: they are damaged.
    """
    layer, _, stored, _ = place
    if _is_cudnn(layer, stored, file):
        _write(layer, _from_cudnn(layer, stored, file))
        return
    two = _has_two_biases(layer, stored, file)
    for weight in layer._weights:
        path = stored[weight.name]
        if two and weight.name == "bias":
            weight.value[...] = _of_sums(file.array(path))
        elif file.info(path).dtype == np.dtype("V2"):
            weight.value[...] = _from_bfloat16(file.array(path))
        else:
            file.array(path, weight.value)
    _write(layer, _merged(place, file))
    if version == 2:
        _write(layer, _softened(layer))


def _write(layer: Layer, values: dict[str, Array]) -> None:
    for weight in layer._weights:
        if weight.name in values:
            weight.value[...] = values[weight.name]


def _from_bfloat16(raw: Array) -> Array:
    return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def _merged(place: Place, file: Hdf5) -> dict[str, Array]:
    """Weights that the file has in parts: int8 numbers and scales, or LoRA's two factors."""
    layer, _, stored, alpha = place
    result: dict[str, Array] = {}
    for weight in layer._weights:
        scale = stored.get(f"{weight.name}_scale")
        if scale is not None and file.info(stored[weight.name]).dtype == np.int8:
            by = np.asarray(file.array(scale), np.float64)
            result[weight.name] = weight.value / (
                by[:, None] if weight.name == "embeddings" else by
            )
        names = f"lora_{weight.name}_a", f"lora_{weight.name}_b"
        if names[0] in stored and names[1] in stored:
            a, b = (np.asarray(file.array(stored[one]), np.float64) for one in names)
            value, rank = result.get(weight.name, weight.value), a.shape[-1]
            result[weight.name] = value + (alpha or rank) / rank * (a @ b)
    return result


def _is_cudnn(layer: Any, stored: Stored, file: Hdf5) -> bool:
    """Whether the weights are those of a CuDNN layer, which has a bias twice as long."""
    gates = _CUDNN_GATES.get(type(layer).__name__)
    if gates is None or "bias" not in stored:
        return False
    values = {weight.name: weight.value for weight in layer._weights}
    if set(values) != {"kernel", "recurrent_kernel", "bias"}:
        return False
    shapes = {name: file.info(stored[name]).shape for name in values}
    units = values["recurrent_kernel"].shape[0]
    return shapes == {
        "kernel": values["kernel"].shape,
        "recurrent_kernel": values["recurrent_kernel"].shape,
        "bias": (2 * gates * units,),
    }


def _from_cudnn(layer: Layer, stored: Stored, file: Hdf5) -> dict[str, Array]:
    """The weights of a CuDNN layer as the plain layer has them."""
    gates = _CUDNN_GATES[type(layer).__name__]
    kernel, recurrent, bias = (
        file.array(stored[name]) for name in ("kernel", "recurrent_kernel", "bias")
    )
    halves = bias.reshape(2, -1)
    return {
        "kernel": np.hstack([k.T.reshape(k.shape, order="F") for k in np.hsplit(kernel, gates)]),
        "recurrent_kernel": np.hstack([k.T for k in np.hsplit(recurrent, gates)]),
        "bias": halves.sum(0) if gates == 4 else halves,
    }


def _has_two_biases(layer: Any, stored: Stored, file: Hdf5) -> bool:
    """Whether a cell of the user's stands for a GRU that resets after the product with h.

    Such a cell has four sums: the two gates, a third of x alone, and a fourth of h alone. Keras
    keeps a bias for x and one for h, of three parts each.
    """
    cell = getattr(layer, "_cell", None)
    if cell is None or len(cell.sums) != 4 or "bias" not in stored:
        return False
    z, r, n, q = cell.sums
    split = cell.inputs == (z, r, n) and cell.recurrents == (z, r, q)
    return split and file.info(stored["bias"]).shape == (2, 3 * layer.units)


def _of_sums(bias: Array) -> Array:
    """The bias of four sums, from those for x and for h."""
    (z, r, n), (z_of_h, r_of_h, q) = (np.split(one, 3) for one in bias)
    return np.concatenate([z + z_of_h, r + r_of_h, n, q])


def _softened(layer: Any) -> dict[str, Array]:
    """Weights with which Keras 3's hard_sigmoid returns what Keras 2's returned.

    Keras 3's of 1.2 times a sum is Keras 2's of the sum, so the columns of such sums are scaled.
    """
    if getattr(layer, "recurrent_activation", None) == "hard_sigmoid":
        count = {"LSTMCell": 4, "GRUCell": 3}.get(type(layer).__name__, 0)
        inner = {4: (0, 1, 3), 3: (0, 1)}.get(count, ())
    elif type(layer).__name__ == "Dense" and getattr(layer, "activation", 0) == "hard_sigmoid":
        count, inner = 1, (0,)
    else:
        return {}
    result: dict[str, Array] = {}
    for weight in layer._weights:
        units = weight.value.shape[-1] // count
        factor = np.ones(weight.value.shape[-1])
        for gate in inner:
            factor[gate * units : (gate + 1) * units] = _HARDER
        result[weight.name] = weight.value * factor
    return result
