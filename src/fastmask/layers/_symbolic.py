"""Symbolic tensors, and the calls that connect them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .._checks import whole_number
from .._names import automatic_name
from .._typing import DTypeLike, Shape
from ..masks.no_arithmetic import OPERATORS, refuse
from ._base import BaseLayer
from ._calls import flat
from ._shapes import sizes


class _NoArrayYet:
    """Base of symbolic tensors: operators, and NumPy's functions, raise a TypeError."""

    __slots__ = ()


refuse(
    _NoArrayYet,
    (*OPERATORS, "len", "array_function"),
    lambda symbol: (
        f"{symbol!r} stands for an array that does not exist yet: only layers can be called on "
        "it; write a layer, or use fastmask.layers.Lambda, for other operations"
    ),
)


class SymbolicTensor(_NoArrayYet):
    """A placeholder for an array or a `Masked` while a model is being connected.

    Layers take it; `fastmask.get_mask` returns its symbolic mask, if it has one.
    """

    __slots__ = ("call", "dtype", "masked", "name", "shape")

    def __init__(self, shape: Shape, dtype: DTypeLike, name: str, masked: int = 0) -> None:
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self.name = name
        self.masked = masked  # how many axes its mask will have, 0 for none
        self.call: Call | None = None  # the call that made it

    @property
    def ndim(self) -> int:
        """Number of axes, the batch among them."""
        return len(self.shape)

    @property
    def _keras_mask(self) -> SymbolicMask | None:
        """The symbolic mask, under the name that Keras's guide uses."""
        return self._symbolic_mask

    @property
    def _symbolic_mask(self) -> SymbolicMask | None:
        return SymbolicMask(self) if self.masked else None

    def __repr__(self) -> str:
        mask = ", masked" if self.masked else ""
        return f"<SymbolicTensor {self.name!r} {self.shape} {self.dtype}{mask}>"


class SymbolicMask:
    """A placeholder for the mask of a symbolic tensor, to pass to a layer as `mask=`."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: SymbolicTensor) -> None:
        self.tensor = tensor

    @property
    def shape(self) -> Shape:
        """(batch, time) and further axes of the mask, None for sizes that may vary."""
        return self.tensor.shape[: self.tensor.masked]

    def __repr__(self) -> str:
        return f"<SymbolicMask of {self.tensor.name!r} {self.shape}>"


_TEXT: dict[str | None, Any] = {"string": str, None: "float32"}
Symbols = SymbolicTensor | list[SymbolicTensor]


class Call(NamedTuple):
    """A call of a layer on symbolic tensors."""

    layer: BaseLayer
    inputs: Symbols
    options: dict[str, Any]  # further arguments, `mask` and `training` among them
    outputs: list[SymbolicTensor]

    def parents(self) -> Iterator[SymbolicTensor]:
        """The tensors that the call takes."""
        for value in (self.inputs, *self.options.values()):
            yield from tensors(value)


def Input(
    shape: Iterable[int | None] | None = None,
    dtype: DTypeLike | None = "float32",
    name: str | None = None,
    *,
    batch_size: int | None = None,
    batch_shape: Iterable[int | None] | None = None,
) -> SymbolicTensor:
    """An input for a model that is built by calling layers on it.

    Args:
        shape: shape of the input without the batch axis; None for sizes that may vary.
        dtype: its dtype, "int32" for ids, "string" for texts.
        name: its name, for messages; made by default.
        batch_size: accepted as in Keras; a model takes batches of any size.
        batch_shape: shape of the input with the batch axis, instead of `shape`.

    Returns:
        A symbolic tensor.

    Raises:
        TypeError: `shape` is not made of integers and None, `dtype` is not a dtype, or `name`
            not a string.
        ValueError: a size is negative, or both or neither of `shape` and `batch_shape` are given.

    Source:
        Keras: `keras.Input`.

    Examples:
        >>> import fastmask as fm
        >>> ids = fm.Input((None,), dtype="int32")
        >>> x = fm.layers.Embedding(5000, 16, mask_zero=True)(ids)
        >>> x.shape, fm.get_mask(x) is not None
        ((None, None, 16), True)
        >>> model = fm.Model(ids, fm.layers.LSTM(32)(x))
        >>> model([[711, 632, 71, 0], [73, 8, 3215, 55]]).shape
        (2, 32)
    """
    if batch_size is not None:
        whole_number(batch_size, "batch_size", 1)
    if batch_shape is not None:
        if shape is not None:
            raise ValueError("only one of shape and batch_shape must be given")
        shape = sizes(batch_shape, "batch_shape")[1:]
    known_sizes = sizes(shape, "shape")
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name must be a string, not {name!r}")
    try:
        known = np.dtype(_TEXT.get(dtype, dtype) if isinstance(dtype, (str, type(None))) else dtype)
    except TypeError:
        raise TypeError(f"dtype must be a dtype, not {dtype!r}") from None
    return SymbolicTensor((None, *known_sizes), known, name or automatic_name("InputLayer"))


def is_symbolic(inputs: object) -> bool:
    """Whether it is a symbolic tensor, or a list that contains one."""
    if isinstance(inputs, (list, tuple)):
        return any(type(one) is SymbolicTensor for one in inputs)
    return type(inputs) is SymbolicTensor


def tensors(value: object) -> Iterator[SymbolicTensor]:
    """The symbolic tensors in an argument."""
    for one in flat(value):
        if isinstance(one, SymbolicTensor):
            yield one
        elif isinstance(one, SymbolicMask):
            yield one.tensor
