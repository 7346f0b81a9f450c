"""A mask from the data itself."""

from __future__ import annotations

import numpy as np

from .._checks import real_number
from .._typing import Array, ArrayLike, Bools, Unpack
from ..backends.dispatch import backend_of, number_array, real_array
from ..backends.host import HOST
from ..masks.mask import Mask
from ..masks.masked import Masked
from ._elementwise import SameShape
from ._keras_arguments import LayerArguments


class Masking(SameShape):
    """Masks the steps at which all features equal a value, and sets them to zero.

    Args:
        mask_value: the value; NaN for steps whose features are all not a number.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, T, F), or (B, S, W, F) and more axes. As in Keras, a mask that they carry or
            that is given is ignored, with a warning if it masks more steps.

    Returns:
        `Masked` of the same shape.

    Raises:
        TypeError: the inputs do not hold real numbers.
        ValueError: the inputs have fewer than three axes.

    Source:
        Keras: `keras.layers.Masking`.

    Examples:
        >>> import fastmask as fm
        >>> y = fm.layers.Masking(mask_value=-1)([[[5.0, 6.0], [-1.0, -1.0]]])
        >>> y.mask.valid
        array([[ True, False]])
        >>> y.data
        array([[[5., 6.],
                [0., 0.]]], dtype=float32)
    """

    _takes_gpu = step_by_step = True
    _options = ("mask_value",)

    def __init__(
        self,
        mask_value: float = 0.0,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.mask_value = real_number(mask_value, "mask_value")

    def call(self, inputs: Array) -> Masked:
        """Find the mask and apply it; see the class."""
        if backend_of(inputs) is not HOST:
            return self._call_on_gpu(inputs)
        valid = self._valid(inputs)
        if self.mask_value != 0.0:
            inputs = np.where(valid[..., None], inputs, inputs.dtype.type(0))
        return Masked(inputs, Mask._of(valid))

    def compute_mask(self, inputs: ArrayLike, mask: Bools | None = None) -> Bools:  # noqa: ARG002 - Keras's form
        """True where any feature differs from the value; `mask` is ignored."""
        return self._valid(self._cast(np.asarray(inputs)))

    def _call_on_gpu(self, inputs: Array) -> Masked:
        self._check(inputs)
        x = number_array(inputs, "inputs")
        if x.dtype.kind == "f":
            x = real_array(x, "inputs", self._dtype)
        backend = backend_of(x)
        mask = Mask._of(backend.any_not_equal(x, self.mask_value))
        (x,) = backend.own(*backend.views(x))
        if self.mask_value == 0.0:
            return Masked._of(x, mask)

        def zeroed(x: Array, valid: Bools) -> Array:
            return np.where(valid[..., None], x, x.dtype.type(0))

        return Masked._of(self._computed(zeroed, [x, mask.valid]), mask)

    def _value_it_masks(self) -> float:
        return self.mask_value

    def _valid(self, inputs: Array) -> Bools:
        self._check(inputs)
        return HOST.any_not_equal(number_array(inputs, "inputs"), self.mask_value)

    def _check(self, inputs: Array) -> None:
        if inputs.ndim < 3:
            raise ValueError(
                f"inputs of layer {self.name!r} must have shape (batch, time, features), or more "
                f"axes before the last one, not {inputs.shape}"
            )
