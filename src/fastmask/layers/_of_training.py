"""Keras's arguments of training: taken at their defaults, so that code for Keras runs as it is."""

from __future__ import annotations

import inspect
from typing import Any, Literal, TypedDict

from .._checks import closest


class OfTraining(TypedDict, total=False):
    """The arguments and the only value that each may have."""

    trainable: Literal[True]
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


def check_of_training(argument: str, value: Any, cls: type) -> None:
    """See that an argument of a layer class is one of these and has its default.

    Raises:
        TypeError: it is another one.
        ValueError: it has another value.
    """
    layer = cls.__name__
    if argument not in OfTraining.__annotations__:
        known = {
            name
            for base in cls.__mro__
            if "__init__" in vars(base)
            for name in inspect.signature(vars(base)["__init__"]).parameters
        }
        meant = closest(argument, known - {"self", "args", "kwargs", "of_training"})
        raise TypeError(f"{layer}() got an unexpected keyword argument {argument!r}{meant}")
    default = True if argument == "trainable" else None
    if value is not default:
        raise ValueError(
            f"{argument} of {layer} must be {default}, not {value!r}: it is for training, and "
            "fastmask's layers are for inference"
        )
