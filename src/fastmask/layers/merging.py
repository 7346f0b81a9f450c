"""Layers that merge arrays element by element."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._typing import Array
from ._elementwise import along
from ._merge import Merge, check_masks, union
from ._types import ListOfMasks


class Add(Merge):
    """The sum of its inputs.

    As in all merge layers a step is valid if it is valid in any input; if an input has no mask,
    the output has none.

    Args:
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: list of arrays, whose shapes are broadcast; (B, F) counts as (B, 1, F) beside
            (B, T, F).

    Returns:
        An array; `Masked` where all inputs are.

    Raises:
        TypeError: the inputs do not hold real numbers.
        ValueError: they do not fit together.

    Source:
        Keras: `keras.layers.Add`.

    Examples:
        >>> import fastmask as fm
        >>> x = fm.Masked([[1.0, 2.0]], [[1, 0]])
        >>> y = fm.layers.Add()([x, fm.Masked([[10.0, 20.0]], [[1, 0]])])
        >>> y.data, y.mask.valid
        (array([[11., 22.]], dtype=float32), array([[ True, False]]))
    """

    def _merge(self, arrays: list[Array]) -> Array:
        return functools.reduce(np.add, same_rank(arrays))


class Subtract(Merge):
    """The first input minus the second; masks as in `Add`.

    Args:
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: list of two arrays; see `Add`.

    Returns:
        An array; `Masked` where both inputs are.

    Raises:
        TypeError: the inputs do not hold real numbers.
        ValueError: they are not two, or do not fit together.

    Source:
        Keras: `keras.layers.Subtract`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> fm.layers.Subtract()([np.array([[1.0, 2.0]]), np.array([[10.0, 30.0]])])
        array([[ -9., -28.]], dtype=float32)
    """

    _most = 2

    def _merge(self, arrays: list[Array]) -> Array:
        first, second = same_rank(arrays)
        return first - second


class Average(Merge):
    """The mean of its inputs; masks as in `Add`.

    Masked steps count in the mean, as in Keras.

    Args:
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: list of arrays; see `Add`.

    Returns:
        An array; `Masked` where all inputs are.

    Raises:
        TypeError: the inputs do not hold real numbers.
        ValueError: they do not fit together.

    Source:
        Keras: `keras.layers.Average`.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> fm.layers.Average()([np.array([[1.0, 2.0]]), np.array([[3.0, 6.0]])])
        array([[2., 4.]], dtype=float32)
    """

    def _merge(self, arrays: list[Array]) -> Array:
        total = functools.reduce(np.add, same_rank(arrays))
        return (total / len(arrays)).astype(self._dtype, copy=False)


class MergeValid(Merge):
    """Base of the merge layers that use the masks, because masked values do not count."""

    def call(self, inputs: Sequence[Array], mask: ListOfMasks = None) -> Array:
        arrays = self._arrays(inputs)
        masks = mask or [None] * len(arrays)
        try:
            check_masks(masks, arrays)
            ndim = max([x.ndim for x in arrays])
            seen = {id(one): None if one is None else along(one, ndim) for one in masks}
            valid = [seen[id(one)] for one in masks]  # a shared mask stays one object
            return self._merge_valid(same_rank(arrays), valid)
        except ValueError as error:
            raise self._misfit([x.shape for x in arrays]) from error

    def _merge_valid(self, arrays: list[Array], valid: list[Array | None]) -> Array:
        raise NotImplementedError


class Multiply(MergeValid):
    """The product of its inputs, where they are valid; masks as in `Add`.

    A masked value counts as 1. If every input has a mask, a step that is valid in none is 0.

    Args:
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: list of arrays; see `Add`.

    Returns:
        An array; `Masked` where all inputs are.

    Raises:
        TypeError: the inputs do not hold real numbers.
        ValueError: they do not fit together.

    Source:
        Keras: `keras.layers.Multiply`.

    Examples:
        >>> import fastmask as fm
        >>> x = fm.Masked([[2.0, 3.0, 4.0]], [[1, 1, 0]])
        >>> y = fm.Masked([[5.0, 6.0, 7.0]], [[1, 0, 0]])
        >>> fm.layers.Multiply()([x, y]).data
        array([[10.,  3.,  0.]], dtype=float32)
    """

    def _merge_valid(self, arrays: list[Array], valid: list[Array | None]) -> Array:
        known = [one for one in valid if one is not None]
        if not known:
            return functools.reduce(np.multiply, arrays)
        shapes = {x.shape for x in arrays}
        shape = shapes.pop() if len(shapes) == 1 else np.broadcast_shapes(*shapes)
        product = np.empty_like(arrays[0], np.result_type(*[x.dtype for x in arrays]), shape=shape)
        product[...] = union(known) if len(known) == len(valid) else 1
        for x, one in zip(arrays, valid, strict=True):
            product *= x if one is None else np.where(one, x, x.dtype.type(1))
        return product


class Extreme(MergeValid):
    """Base of Maximum and Minimum: of two values the masked one is ignored."""

    _pick: Callable[..., Any]

    def _merge_valid(self, arrays: list[Array], valid: list[Array | None]) -> Array:
        output, known = arrays[0], valid[0]
        for x, one in zip(arrays[1:], valid[1:], strict=True):
            if one is not None:
                x = np.where(one, x, output)
            if known is not None and known is not one:
                output = np.where(known, output, x)
                known = None if one is None else known | one
            output = type(self)._pick(output, x)
        return output


class Maximum(Extreme):
    """The largest of its inputs, where they are valid; masks as in `Add`.

    Args:
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: list of arrays; see `Add`.

    Returns:
        An array; `Masked` where all inputs are.

    Raises:
        TypeError: the inputs do not hold real numbers.
        ValueError: they do not fit together.

    Source:
        Keras: `keras.layers.Maximum`.

    Examples:
        >>> import fastmask as fm
        >>> x = fm.Masked([[2.0, 9.0]], [[1, 0]])
        >>> fm.layers.Maximum()([x, fm.Masked([[5.0, 6.0]], [[1, 1]])]).data
        array([[5., 6.]], dtype=float32)
    """

    _pick = np.maximum


class Minimum(Extreme):
    """The smallest of its inputs, where they are valid; masks as in `Add`.

    Args:
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: list of arrays; see `Add`.

    Returns:
        An array; `Masked` where all inputs are.

    Raises:
        TypeError: the inputs do not hold real numbers.
        ValueError: they do not fit together.

    Source:
        Keras: `keras.layers.Minimum`.

    Examples:
        >>> import fastmask as fm
        >>> x = fm.Masked([[2.0, 1.0]], [[1, 0]])
        >>> fm.layers.Minimum()([x, fm.Masked([[5.0, 6.0]], [[1, 1]])]).data
        array([[2., 6.]], dtype=float32)
    """

    _pick = np.minimum


def same_rank(arrays: list[Array]) -> list[Array]:
    """The arrays with axes of size 1 added after the batch axis, so that all have as many axes."""
    ranks = [x.ndim for x in arrays]
    ndim = max(ranks)
    if min(ranks) == ndim:
        return arrays
    return [x.reshape(x.shape[:1] + (1,) * (ndim - x.ndim) + x.shape[1:]) for x in arrays]
