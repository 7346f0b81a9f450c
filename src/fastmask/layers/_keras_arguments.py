"""Arguments that every Keras layer has, so that code for Keras runs unchanged.

Arguments for training are accepted with their default values.
"""

from __future__ import annotations

import inspect
from typing import Any, Literal, TypedDict

import numpy as np

from .._checks import choice, closest, shown
from .._typing import DTypeLike, Shape
from ._shapes import sizes

_FIRST = ("input_shape", "batch_input_shape", "input_dim")
_SOMEWHERE_ELSE = ("input_dim", "weights")  # Embedding has these, with another meaning
_OF_INFERENCE = ("trainable", "implementation", *_FIRST)
_OF_ALL_LAYERS = {"name": "str | None", "dtype": "DTypeLike | None"}
_REASONS = {
    "autocast": "a layer computes in its dtype",
    "weights": "set_weights(weights) sets them as soon as the layer is built",
}


class KerasArguments(TypedDict, total=False):
    """The arguments, with the only value that those for training may have."""

    trainable: bool
    input_shape: Any
    batch_input_shape: Any
    implementation: int
    autocast: Literal[True]
    activity_regularizer: None
    alpha_constraint: None
    alpha_regularizer: None
    beta_constraint: None
    beta_regularizer: None
    bias_constraint: None
    bias_regularizer: None
    embeddings_constraint: None
    embeddings_regularizer: None
    gamma_constraint: None
    gamma_regularizer: None
    kernel_constraint: None
    kernel_regularizer: None
    recurrent_constraint: None
    recurrent_regularizer: None
    lora_alpha: None
    lora_rank: None
    quantization_config: None


class LayerArguments(KerasArguments, total=False):
    """The arguments that every layer takes and passes on to `Layer`."""

    name: str | None
    dtype: DTypeLike | None


class ShownSignature:
    """A layer class's `__signature__`, with the arguments behind `**layer_args` spelled out."""

    def __get__(self, instance: object, owner: type) -> inspect.Signature:
        """The signature of `owner`, which help() and editors show."""
        if instance is not None:  # Python asks instances for the signature of their calls
            raise AttributeError("__signature__")
        signature = inspect.signature(inspect.getattr_static(owner, "__init__"))
        known = list(signature.parameters.values())[1:]
        if known and known[-1].annotation == "Unpack[LayerArguments]":
            known[-1:] = [
                *(
                    inspect.Parameter(
                        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
                    )
                    for name, annotation in _OF_ALL_LAYERS.items()
                ),
                known[-1].replace(annotation="Unpack[KerasArguments]"),
            ]
        return signature.replace(parameters=known)


def check_keras_argument(argument: str, value: object, cls: type) -> None:
    """Check that an argument of a layer class is a known one and has its default.

    Raises:
        TypeError: it is unknown.
        ValueError: it has another value.
    """
    layer = cls.__name__
    if argument not in (*KerasArguments.__annotations__, *_SOMEWHERE_ELSE):
        known = {
            name
            for base in cls.__mro__
            if "__init__" in vars(base)
            for name in inspect.signature(vars(base)["__init__"]).parameters
        }
        meant = closest(argument, known - {"self", "args", "kwargs", "layer_args"})
        raise TypeError(f"{layer}() got an unexpected keyword argument {argument!r}{meant}")
    if argument in _OF_INFERENCE:
        return
    default = True if argument == "autocast" else None
    if value is not default:
        reason = _REASONS.get(
            argument, "it is for training, and fastmask's layers are for inference"
        )
        raise ValueError(f"{argument} of {layer} must be {default}, not {shown(value)}: {reason}")


def input_shape_in(given: KerasArguments) -> Shape | None:
    """The input shape, batch included, that a layer was given to begin a model with, or None.

    Raises:
        TypeError: it is not made of integers and None.
        ValueError: it is given in several ways.
    """
    told = {name: value for name, value in given.items() if name in _FIRST and value is not None}
    if len(told) > 1:
        raise ValueError(f"only one of {', '.join(told)} must be given")
    for name, value in told.items():
        if name == "input_dim":
            return (None, *sizes((value,), name))
        shape = sizes(value, name)
        return (None, *shape[1:]) if name == "batch_input_shape" else (None, *shape)
    return None


def dtype_name(dtype: object) -> str:
    """The name, "float32" or "float64", of a dtype, a Keras policy or anything NumPy accepts.

    Raises:
        ValueError: it is neither of the two.
    """
    if dtype is None:
        return "float32"
    if isinstance(dtype, dict) and isinstance(dtype.get("config"), dict):  # a policy of Keras
        dtype = dtype["config"].get("name")
    if isinstance(dtype, str):
        name: Any = dtype
    elif isinstance(dtype, type):
        name = np.dtype(dtype).name
    else:
        name = getattr(dtype, "name", dtype)  # NumPy dtypes and Keras policies have a name
    return choice(name, "dtype", ("float32", "float64"))
