"""Two mistakes that the layers of a model cannot know: texts for ids, and a row for a batch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from .._checks import shown
from .._typing import Shape
from ..backends.dispatch import is_array
from ..layers._base import BaseLayer
from ..layers._shapes import fits
from ..masks.masked import Masked
from ..masks.ragged import Ragged
from .taken import Taken, ids_layer, layers_of, taken

FROM_TEXTS = (
    "turn texts into ids as for its training, with a TextVectorization or StringLookup layer in "
    "front, or with your own tokenizer"
)
_EXPLAINED = "explained"  # marks errors that are explained already


def explain(model: BaseLayer, inputs: Any, name: str, error: TypeError | ValueError) -> None:
    """Raise a model's error again with an explanation, if its inputs show one of the mistakes.

    Args:
        model: the model, or a layer.
        inputs: what it was given.
        name: the name of that argument, for messages.
        error: what it raised; if it is explained already, `name` takes the place of its name.

    Raises:
        TypeError: there are texts, but the model looks up ids.
        TypeError | ValueError: the error itself, with more words.
    """
    if type(error) not in (TypeError, ValueError):
        return
    cause = error.__cause__ if vars(error).get(_EXPLAINED) else error
    known = taken(model)
    several = len(known) > 1
    given = list(inputs) if several and isinstance(inputs, (list, tuple)) else [inputs]
    for number, value in enumerate(given):
        what = f"{name}[{number}]" if several else name
        one = known[number] if number < len(known) else None
        told = _of_texts(model, number, value, what, cause) or _of_a_row(value, one, what, cause)
        if told is not None:
            vars(told)[_EXPLAINED] = True
            raise told from cause


def _of_texts(
    model: BaseLayer, number: int, value: Any, what: str, cause: Any
) -> TypeError | ValueError | None:
    layers = layers_of(model, number)
    text = _first_text(value)
    if any(one._takes_texts for layer in layers for one in layer._all_layers()):
        return None
    if text is not None and (ids := ids_layer(layers)):
        return TypeError(
            f"{what} must hold ids (integers) for layer {ids.name!r} of model {model.name!r}, "
            f"not texts such as {shown(text)}: {FROM_TEXTS}"
        )
    if text is None and not _holds_objects(value, sequences=False):
        return None
    kind = "objects" if text is None else "strings"
    error: TypeError | ValueError = type(cause)(
        f"{what} holds {kind}, which model {model.name!r} does not take: {cause}"
    )
    return error


def _of_a_row(value: Any, one: Taken | None, what: str, cause: Any) -> Exception | None:
    shape = _shape_of(value)
    if one is None or shape is None or 0 in shape or _holds_objects(value, sequences=True):
        return None
    row = one.shape[1:]
    if not fits(shape, (None, *row[1:]) if one.sequences else row) and (shape or not one.single):
        return None
    batch = f"{what}[None]" if is_array(value) else f"[{what}]"
    error: Exception = type(cause)(f"{cause}; pass a single row as a batch of one: {batch}")
    return error


def _first_text(value: Any) -> str | bytes | None:
    """The first text of an array or of nested lists that begin with one."""
    if isinstance(value, (str, bytes)):
        return value
    if isinstance(value, (Masked, Ragged)):
        value = value.data if isinstance(value, Masked) else value.values
    if hasattr(value, "__array__"):
        array = np.empty(0)
        with suppress(Exception):  # of an array on a GPU
            array = np.asarray(value)
        value = array.ravel()[:1].tolist() if array.dtype.kind in "SUO" else None
    if not isinstance(value, (list, tuple)):
        return None
    filled = (one for one in value if not isinstance(one, (list, tuple)) or one)
    return _first_text(next(filled, None))


def _holds_objects(value: Any, sequences: bool) -> bool:
    """Whether it is an array of objects that are sequences, or that are not."""
    objects = getattr(getattr(value, "dtype", None), "kind", "") == "O"
    first = np.ravel(value)[:1].tolist() if objects else []
    return any(isinstance(one, (list, tuple, np.ndarray)) == sequences for one in first)


def _shape_of(value: Any) -> Shape | None:
    """The shape of an array or of nested lists of one length; otherwise None."""
    shape: Any = None
    if isinstance(value, (list, tuple, str, bytes, float, int)):
        with suppress(Exception):  # of lists of other things
            shape = np.shape(value)
    elif not isinstance(value, (Masked, Ragged)):
        shape = getattr(value, "shape", None)
    known = isinstance(shape, Sequence) and None not in shape  # as symbolic tensors have it
    return tuple(shape) if known else None
