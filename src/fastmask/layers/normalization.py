"""Normalization with moments known beforehand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._checks import flag
from .._typing import Array, ArrayLike, Shape, Unpack
from ..backends.dispatch import as_array, real_array
from ..masks.masked import Masked
from ..masks.ragged import Ragged
from ._batches import batches_in
from ._elementwise import SameShape, axes_of, known_size, positive, way_by_axes
from ._keras_arguments import LayerArguments
from ._normalizing import KERAS_EPSILON
from ._ragged import in_one_row
from ._shapes import fits
from ._weights import change


class Moments:
    """Count, mean and sum of squared differences from it, of batches that are added."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Any = 0.0
        self.squares: Any = 0.0

    def add(self, x: Array, axes: tuple[int, ...]) -> None:
        """Add a batch; see Chan, Golub and LeVeque, 1979."""
        more = math.prod(x.shape[axis] for axis in axes)
        count = self.count + more
        off = x.mean(axis=axes) - self.mean
        self.mean = self.mean + off * (more / count)
        self.squares = self.squares + x.var(axis=axes) * more + off**2 * (self.count * more / count)
        self.count = count


class Normalization(SameShape):
    """Shifts and scales features to mean 0 and variance 1; passes masks on.

    Args:
        axis: the axis, or a list of axes, that have moments of their own; None for one mean
            and one variance of all.
        mean: the mean, a number or (F,); `adapt` finds it where it is None.
        variance: the variance, likewise.
        invert: do the opposite: from mean 0 and variance 1 to the given ones.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, ..., F).

    Returns:
        An array of the same shape.

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: only one of mean and variance is given, or something does not fit.

    Source:
        Keras: `keras.layers.Normalization`. Weights, where no mean is given: mean, variance
        and count, which is always 0.

    Examples:
        >>> import fastmask as fm
        >>> fm.layers.Normalization(mean=[3.0, 0.0], variance=[4.0, 1.0])([[5.0, 2.0]])
        array([[1., 2.]], dtype=float32)
        >>> layer = fm.layers.Normalization()
        >>> layer.adapt(fm.Masked([[[1.0], [3.0], [99.0]]], [[1, 1, 0]]))
        >>> layer([[[3.0]]])
        array([[[1.]]], dtype=float32)
    """

    _options = ("axis", "mean", "variance", "invert")

    def __init__(
        self,
        axis: int | list[int] | None = -1,
        mean: ArrayLike | None = None,
        variance: ArrayLike | None = None,
        invert: bool = False,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.axis: int | list[int] = [] if axis is None else axes_of(axis, "axis")
        if (mean is None) != (variance is None):
            raise ValueError("mean and variance must both be given, or neither of them")
        self.mean = None if mean is None else as_array(mean, "mean").tolist()
        self.variance = None if variance is None else as_array(variance, "variance").tolist()
        self.invert = flag(invert, "invert")
        shapes = np.shape(self.mean or 0), np.shape(self.variance or 0)
        if shapes[0] != shapes[1]:
            raise ValueError(f"mean and variance must have one shape, not {shapes}")

    def build(self, input_shape: Shape) -> None:
        """Make mean and variance; see `Layer`."""
        self._axes = positive(self.axis, len(input_shape), self.name)
        sizes = tuple(known_size(input_shape, axis, self.name) for axis in self._axes)
        if self.mean is None:
            self._mean = self.add_weight(sizes, "zeros", trainable=False, name="mean")
            self._variance = self.add_weight(sizes, "ones", trainable=False, name="variance")
            self.add_weight((), "zeros", "int32", trainable=False, name="count")
            return
        moments: tuple[Any, Any] = self.mean, self.variance
        try:
            self._mean, self._variance = (
                np.broadcast_to(real_array(moment, "mean", self._dtype), sizes)
                for moment in moments
            )
        except ValueError:
            raise ValueError(
                f"mean of layer {self.name!r} has shape {np.shape(self.mean)}, but its axis "
                f"{self.axis} has the size {sizes}"
            ) from None

    def adapt(self, data: Any) -> None:
        """Take mean and variance of data, and keep them as weights.

        Args:
            data: (N, ...) array, `Ragged`, or `Masked`, of which only the valid steps count; in
                Keras all count. Or batches of these: a list of arrays, a generator, a
                `torch.utils.data.DataLoader`, or an object with `len` and `[number]` such as a
                `keras.utils.PyDataset`; one is held at a time, and whatever follows the inputs in a
                tuple is ignored.

        Raises:
            ValueError: the layer was given a mean, or the data does not fit.
        """
        if self.mean is not None:
            raise ValueError(f"layer {self.name!r} was given a mean, so it cannot adapt")
        of_arrays = isinstance(data, (list, tuple)) and all(hasattr(one, "shape") for one in data)
        batches = iter(data) if of_arrays else batches_in(data, "data")
        total = Moments()
        for batch in [data] if batches is None else batches:
            x, others = self._counted(batch)
            if x.size:
                total.add(x, others)
        if not total.count:
            raise ValueError("data must hold at least one valid step")

        def write() -> None:
            self._mean[...] = total.mean
            self._variance[...] = total.squares / total.count

        change([self._weights], write)

    def _counted(self, data: Any) -> tuple[Array, tuple[int, ...]]:
        """The numbers of a batch that count, and the axes over which they do."""
        if isinstance(data, Ragged):
            data = in_one_row(data)
        array = data.data if isinstance(data, Masked) else as_array(data, "data")
        x = real_array(array, "data", np.dtype(np.float64))
        if not self.built:
            self.build(x.shape)
        axes = positive(self.axis, x.ndim, self.name)
        shape, sizes = tuple(x.shape[axis] for axis in axes), self._mean.shape
        if shape != sizes:
            raise ValueError(f"data must have the size {sizes} on axis {self.axis}, not {shape}")
        first = 0
        if isinstance(data, Masked):
            if axes and axes[0] < 2:
                raise ValueError(f"data has a mask, so axis must not be {self.axis}: use 2 or more")
            x = x[data.mask.valid]
            first = 1  # batch and time are one axis now
        kept = {axis - first for axis in axes}
        return x, tuple(axis for axis in range(x.ndim) if axis not in kept)

    def _ragged_way(self, ndim: int) -> str:
        return way_by_axes(self.axis, ndim, self.name, "none")

    def call(self, inputs: ArrayLike) -> Array:
        x = real_array(inputs, "inputs", self._dtype)
        self._check_input_shape(x.shape)
        axes = positive(self.axis, x.ndim, self.name)  # of these inputs, whatever it was built for
        sizes = [size if axis in axes else 1 for axis, size in enumerate(x.shape)]
        mean = self._mean.reshape(sizes)
        spread = np.maximum(np.sqrt(self._variance), KERAS_EPSILON).reshape(sizes)
        y: Array = mean + x * spread if self.invert else (x - mean) / spread
        return y

    def _check_input_shape(self, shape: Shape) -> None:
        axes = positive(self.axis, len(shape), self.name)
        if not fits(tuple(shape[axis] for axis in axes), self._mean.shape):
            raise ValueError(
                f"inputs of layer {self.name!r} must have the size {self._mean.shape} on axis "
                f"{self.axis}, not shape {tuple(shape)}"
            )
