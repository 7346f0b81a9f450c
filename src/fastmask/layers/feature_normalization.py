"""Layers that normalize each row, or each step of it, by itself."""

from __future__ import annotations

import numpy as np

from .._checks import flag, whole_number
from .._typing import Array, ArrayLike, Bools, Shape, Unpack
from ..backends.dispatch import real_array
from ..initializers import AnyInitializer
from ._elementwise import SameShape, along, axes_of, known_size, one_axis, positive, way_by_axes
from ._keras_arguments import LayerArguments
from ._normalizing import Scaled, counting, mixes_steps, moments, to_length_one


class LayerNormalization(Scaled):
    """Normalizes the features of every step to mean 0 and variance 1; passes masks on.

    Over axes that include the time axis, masked steps do not count in mean and variance.

    Args:
        axis: the axis, or a list of axes, over which mean and variance are taken.
        epsilon: added to the variance.
        center: whether beta is added.
        scale: whether to multiply by gamma.
        beta_initializer: first values of beta, of the axes' sizes.
        gamma_initializer: first values of gamma, of the same shape.
        rms_scaling: divide by the standard deviation without subtracting the mean, with gamma and
            without beta; for root mean squares see `RMSNormalization`.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, ..., F).
        mask: (B, T), instead of the one that the inputs carry.

    Returns:
        An array of the same shape.

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: the inputs do not fit.

    Source:
        Keras: `keras.layers.LayerNormalization`, in which masked steps count like all others;
        Ba et al., 2016.

    Examples:
        >>> import fastmask as fm
        >>> fm.layers.LayerNormalization(epsilon=0)([[1.0, 3.0]])
        array([[-1.,  1.]], dtype=float32)
    """

    _options = (*Scaled._options, "rms_scaling")

    def __init__(
        self,
        axis: int | list[int] = -1,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: AnyInitializer = "zeros",
        gamma_initializer: AnyInitializer = "ones",
        *,
        rms_scaling: bool = False,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        weights = center, scale, beta_initializer, gamma_initializer
        super().__init__(axis, epsilon, *weights, **layer_args)
        self.rms_scaling = flag(rms_scaling, "rms_scaling")

    def call(self, inputs: ArrayLike, mask: Bools | None = None) -> Array:
        x = self._fitting(inputs)
        mean, variance = moments(x, self._axes, counting(mask, x, self._axes))
        return self._scaled(x, np.zeros_like(mean) if self.rms_scaling else mean, variance)

    def _uses_mask(self, axes: int) -> bool:
        return mixes_steps(self._axes, axes)


class GroupNormalization(Scaled):
    """Normalizes groups of features over all steps of a row; passes masks on.

    Masked steps do not count in the moments.

    Args:
        groups: number of groups, which divides the axis's size; -1 for one group per feature.
        axis: the axis of the features.
        epsilon: added to the variance.
        center: whether beta is added.
        scale: whether to multiply by gamma.
        beta_initializer: first values of beta, (F,).
        gamma_initializer: first values of gamma, (F,).
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, ..., F).
        mask: (B, T), instead of the one that the inputs carry.

    Returns:
        An array of the same shape.

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: the groups or the inputs do not fit.

    Source:
        Keras: `keras.layers.GroupNormalization`, in which masked steps count like all others;
        Wu and He, 2018.

    Examples:
        >>> import fastmask as fm
        >>> fm.layers.GroupNormalization(2, epsilon=0)([[1.0, 3.0, 5.0, 9.0]])
        array([[-1.,  1., -1.,  1.]], dtype=float32)
    """

    def _ragged_way(self, ndim: int) -> str:  # noqa: ARG002 - the signature of `Layer`
        return "rows"  # each row has its own moments

    _options = ("groups", *Scaled._options)
    axis: int

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: AnyInitializer = "zeros",
        gamma_initializer: AnyInitializer = "ones",
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        weights = center, scale, beta_initializer, gamma_initializer
        super().__init__(one_axis(axis), epsilon, *weights, **layer_args)
        self.groups = whole_number(groups, "groups", -1)
        if not self.groups:
            raise ValueError("groups must be at least 1, or -1, not 0")

    def build(self, input_shape: Shape) -> None:
        """Make gamma and beta; see `Layer`."""
        (axis,) = positive(self.axis, len(input_shape), self.name)
        size = known_size(input_shape, axis, self.name)
        if axis == 0 or size % self.groups:
            raise ValueError(
                f"groups of layer {self.name!r} must divide the size of its axis {self.axis}, "
                f"but {self.groups} does not divide {size} (input_shape {tuple(input_shape)})"
            )
        super().build(input_shape)

    def call(self, inputs: ArrayLike, mask: Bools | None = None) -> Array:
        x = self._fitting(inputs)
        if not x.size:
            return x.copy()  # there are no moments without numbers
        (axis,) = self._axes
        groups = self._sizes[0] if self.groups == -1 else self.groups
        members = self._sizes[0] // groups
        sizes = (*x.shape[:axis], groups, members, *x.shape[axis + 1 :])
        others = tuple(a for a in range(1, len(sizes)) if a != axis)
        valid = None if mask is None else np.broadcast_to(along(mask, x.ndim), x.shape)
        mean, variance = moments(
            x.reshape(sizes), others, None if valid is None else valid.reshape(sizes)
        )
        shape = [len(x)] + [1] * (x.ndim - 1)
        shape[axis] = self._sizes[0]
        # The same for each member of a group.
        each = [np.repeat(one, members, axis=axis + 1).reshape(shape) for one in (mean, variance)]
        return self._scaled(x, *each)


class RMSNormalization(Scaled):
    """Scales the features of every step to a root mean square of 1; passes masks on.

    Over axes that include the time axis, masked steps do not count in the mean.

    Args:
        axis: the axis, or a list of axes, over which the mean is taken.
        epsilon: added to the mean of the squares.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, ..., F).
        mask: (B, T), instead of the one that the inputs carry.

    Returns:
        An array of the same shape.

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: the inputs do not fit.

    Source:
        Keras: `keras.layers.RMSNormalization`, in which masks are lost; Zhang and Sennrich, 2019.
        Weight: the scale, of the axes' sizes.

    Examples:
        >>> import fastmask as fm
        >>> fm.layers.RMSNormalization(epsilon=0)([[3.0, 4.0, 0.0, 0.0]])
        array([[1.2, 1.6, 0. , 0. ]], dtype=float32)
    """

    _options = ("axis", "epsilon")

    def __init__(
        self,
        axis: int | list[int] = -1,
        epsilon: float = 1e-6,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        # Its scale is what other layers call gamma.
        super().__init__(*(axis, epsilon, False, True, "zeros", "ones"), **layer_args)

    def call(self, inputs: ArrayLike, mask: Bools | None = None) -> Array:
        x = self._fitting(inputs)
        valid = counting(mask, x, self._axes)
        squares, _ = moments(np.square(x), self._axes, valid)
        if valid is not None:
            squares = np.where(valid.any(axis=self._axes, keepdims=True), squares, 1)
        return self._scaled(x, np.zeros_like(squares), squares)

    def _uses_mask(self, axes: int) -> bool:
        return mixes_steps(self._axes, axes)


class UnitNormalization(SameShape):
    """Scales every feature vector to length 1; passes masks on.

    Along axes that include the time axis, masked steps do not count in the length.

    Args:
        axis: the axis, or a list of axes, of the vectors.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, ..., F).
        mask: (B, T), instead of the one that the inputs carry.

    Returns:
        An array of the same shape; vectors of zeros stay zero.

    Raises:
        TypeError: an axis is not an integer.
        ValueError: the inputs have no such axis.

    Source:
        Keras: `keras.layers.UnitNormalization`, in which masked steps count like all others.

    Examples:
        >>> import fastmask as fm
        >>> fm.layers.UnitNormalization()([[3.0, 4.0]])
        array([[0.6, 0.8]], dtype=float32)
    """

    _options = ("axis",)

    def __init__(
        self,
        axis: int | list[int] = -1,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.axis = axes_of(axis, "axis")

    def build(self, input_shape: Shape) -> None:
        """Find the axes; see `Layer`."""
        self._axes = positive(self.axis, len(input_shape), self.name)

    def _check_input_shape(self, shape: Shape) -> None:
        positive(self.axis, len(shape), self.name)

    def _ragged_way(self, ndim: int) -> str:
        return way_by_axes(self.axis, ndim, self.name, "rows")

    def call(self, inputs: ArrayLike, mask: Bools | None = None) -> Array:
        x = real_array(inputs, "inputs", self._dtype)
        axes = positive(self.axis, x.ndim, self.name)
        return to_length_one(x, axes, 1e-12, counting(mask, x, axes))

    def _uses_mask(self, axes: int) -> bool:
        return mixes_steps(self._axes, axes)
