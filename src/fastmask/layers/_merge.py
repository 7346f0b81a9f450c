"""What layers share that merge several arrays into one."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._typing import Array, Bools, Shape, Unpack
from ..backends.dispatch import number_array
from ._elementwise import along
from ._keras_arguments import LayerArguments
from ._layer import Layer
from ._shapes import is_shape
from ._symbolic import SymbolicTensor
from ._types import ListOfMasks

_WITH_AXES = (np.ndarray, SymbolicTensor)


class Merge(Layer):
    """Base of the layers that are called on a list and merge it.

    The output's mask is True where any input is valid. If an input has no mask, the output has none
    either, and the layer warns.
    """

    supports_masking = step_by_step = _broadcasts = _needs_list = True
    _most = 0  # number of inputs, 0 for any

    def __init__(self, **layer_args: Unpack[LayerArguments]) -> None:
        super().__init__(**layer_args)

    def build(self, input_shape: Sequence[Shape]) -> None:
        """Check the shapes; see `Layer`."""
        self._check_number(input_shape)
        self._merged_shape(input_shape)

    def call(self, inputs: Sequence[Array]) -> Array:
        arrays = self._arrays(inputs)
        try:
            return self._merge(arrays)
        except ValueError as error:
            raise self._misfit([x.shape for x in arrays]) from error

    def compute_mask(self, inputs: Sequence[Array], mask: ListOfMasks = None) -> Bools | None:
        """The union of the masks, or None if an input has none.

        Raises:
            ValueError: inputs and masks are not lists of the same length.
        """
        if mask is None:
            return None
        self._check_lists(inputs, mask)
        known = [one for one in mask if one is not None]
        if len(known) < len(mask):
            self._warn_of_loss(None)
            return None
        try:
            check_masks(known, inputs)
            return union(known)
        except ValueError as error:
            raise self._misfit([np.shape(x) for x in inputs]) from error

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Any:
        self._check_number(input_shape)
        return self._merged_shape(input_shape)

    def _merge(self, arrays: list[Array]) -> Array:
        raise NotImplementedError

    def _check_lists(self, inputs: Sequence[Array], mask: Sequence[Bools | None]) -> None:
        if type(inputs) is list and type(mask) is list and len(inputs) == len(mask) > 0:
            return
        for name, value in (("inputs", inputs), ("mask", mask)):
            if not isinstance(value, (list, tuple)):
                raise ValueError(
                    f"{name} of layer {self.name!r} must be a list, not {type(value).__name__}"
                )
        if len(inputs) != len(mask):
            raise ValueError(
                f"mask of layer {self.name!r} must be a list with one mask for each of "
                f"{len(inputs)} inputs, not {len(mask)}"
            )
        if not inputs:
            self._check_number(inputs)

    def _how_lost(self) -> str:
        return (
            "was passed an input with a mask attached to it, and another one without. As in Keras "
            "it will therefore destroy the mask information: give the other one a mask too, as in "
            "Masked(y, get_mask(x))."
        )

    def _check_number(self, input_shape: Sequence[object]) -> None:
        wanted = f"exactly {self._most}" if self._most else "one or more"
        if is_shape(input_shape) or not input_shape:
            raise ValueError(
                f"inputs of layer {self.name!r} must be a list of {wanted} arrays, "
                f"not one of shape {tuple(input_shape)}"
            )
        if self._most and len(input_shape) != self._most:
            raise ValueError(
                f"inputs of layer {self.name!r} must be {wanted} arrays, not {len(input_shape)}"
            )

    def _arrays(self, inputs: Sequence[Array]) -> list[Array]:
        """The inputs, as floats of one dtype if any is a float."""
        if not isinstance(inputs, (list, tuple)):
            self._check_number(np.shape(inputs))
        if not inputs or (self._most and len(inputs) != self._most):
            self._check_number([np.shape(x) for x in inputs])
        arrays = [number_array(x, f"inputs[{i}]") for i, x in enumerate(inputs)]
        kinds = {x.dtype for x in arrays}
        if kinds != {self._dtype} and any(kind.kind in "fb" for kind in kinds):
            arrays = [x.astype(self._dtype, copy=False) for x in arrays]
        return arrays

    def _merged_shape(self, shapes: Sequence[Shape]) -> Shape:
        ndim = max(map(len, shapes))
        full = [(*shape[:1], *(1,) * (ndim - len(shape)), *shape[1:]) for shape in shapes]
        return tuple(self._merged_size(sizes, shapes) for sizes in zip(*full, strict=True))

    def _merged_size(self, sizes: tuple[int | None, ...], shapes: Sequence[Shape]) -> int | None:
        known = {n for n in sizes if n not in (None, 1)}
        if len(known) > 1:
            raise self._misfit(shapes)
        if known:
            return known.pop()
        return None if None in sizes else 1

    def _misfit(self, shapes: Sequence[Shape]) -> ValueError:
        listed = ", ".join(str(tuple(shape)) for shape in shapes)
        return ValueError(f"inputs of layer {self.name!r} do not fit together: {listed}")


def check_masks(masks: Sequence[Bools | None], arrays: Sequence[Array]) -> None:
    """Check that masks fit together for these arrays or symbolic tensors.

    Raises:
        ValueError: a masked array has fewer axes than another: the axes that it gets after the
            batch axis are not axes of its mask.
    """
    ndims = [number_of_axes(x) for x in arrays]
    if ndims.count(ndims[0]) == len(ndims):
        return
    if any(one is not None and ndim < max(ndims) for one, ndim in zip(masks, ndims, strict=True)):
        raise ValueError("a masked input has fewer axes than another one")


def number_of_axes(x: Any) -> int:
    """Number of axes of an array or a symbolic tensor."""
    return x.ndim if type(x) in _WITH_AXES else np.ndim(x)


def union(masks: Sequence[Bools]) -> Bools:
    """Where any of the masks is True; the mask itself if all are the same object."""
    first = masks[0]
    different = [one for one in masks if one is not first]
    if not different:
        return first
    ndims = [number_of_axes(one) for one in masks]
    if ndims.count(ndims[0]) < len(ndims):
        first, *different = [along(one, max(ndims)) for one in masks]
    return functools.reduce(np.logical_or, different, first)
