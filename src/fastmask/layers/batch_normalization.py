"""Normalization with the moments of batches, in which masked steps do not count."""

from __future__ import annotations

import numpy as np

from .. import initializers
from .._checks import flag, rate
from .._typing import Array, ArrayLike, Bools, Shape, Unpack
from ._elementwise import along, one_axis, way_by_axes
from ._keras_arguments import LayerArguments
from ._normalizing import KERAS_EPSILON, Scaled
from ._weights import change


class BatchNormalization(Scaled):
    """Normalizes features with moving moments; passes masks on.

    With `training=True` it uses the moments of the batch's valid steps, and moves the moving
    moments towards them.

    Args:
        axis: the axis of the features.
        momentum: share of the moving moments that is kept in a training call.
        epsilon: added to the variance.
        center: whether beta is added.
        scale: whether to multiply by gamma.
        beta_initializer: first values of beta, (F,).
        gamma_initializer: first values of gamma, (F,).
        moving_mean_initializer: first values of the moving mean, (F,).
        moving_variance_initializer: first values of the moving variance, (F,).
        renorm: must be False, as is Keras's default: renormalization is not supported.
        renorm_clipping: must be None; used with `renorm` alone.
        renorm_momentum: used with `renorm` alone.
        synchronized: must be False, as is Keras's default: there is one device.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: (B, ..., F).
        mask: (B, T), instead of the one that the inputs carry.
        training: whether to use, and learn from, the moments of the batch.

    Returns:
        An array of the same shape.

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: an argument is out of range, or the inputs do not fit.

    Source:
        Keras: `keras.layers.BatchNormalization`; Ioffe and Szegedy, 2015.
        Weights: gamma, beta, moving mean, moving variance, (F,) each.

    Examples:
        >>> import fastmask as fm
        >>> layer = fm.layers.BatchNormalization(momentum=0.5)
        >>> y = layer(fm.Masked([[[2.0], [4.0], [99.0]]], [[1, 1, 0]]), training=True)
        >>> [round(float(w[0]), 3) for w in layer.get_weights()]
        [1.0, 0.0, 1.5, 1.0]
    """

    _options = (
        *("momentum", *Scaled._options),
        *("moving_mean_initializer", "moving_variance_initializer"),
    )
    axis: int

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: initializers.AnyInitializer = "zeros",
        gamma_initializer: initializers.AnyInitializer = "ones",
        moving_mean_initializer: initializers.AnyInitializer = "zeros",
        moving_variance_initializer: initializers.AnyInitializer = "ones",
        *,
        renorm: bool = False,
        renorm_clipping: None = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        for word, value in (("renorm", renorm), ("synchronized", synchronized)):
            if flag(value, word):
                raise ValueError(f"{word} must be False, as only that is supported, not {value!r}")
        if renorm_clipping is not None:
            raise ValueError(f"renorm_clipping must be None, not {renorm_clipping!r}")
        rate(renorm_momentum, "renorm_momentum")
        weights = center, scale, beta_initializer, gamma_initializer
        super().__init__(one_axis(axis), epsilon, *weights, **layer_args)
        self.momentum = rate(momentum, "momentum")
        self.moving_mean_initializer = initializers.get(
            moving_mean_initializer, "moving_mean_initializer"
        )
        self.moving_variance_initializer = initializers.get(
            moving_variance_initializer, "moving_variance_initializer"
        )

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        self.moving_mean = self.add_weight(
            self._sizes, self.moving_mean_initializer, trainable=False, name="moving_mean"
        )
        self.moving_variance = self.add_weight(
            self._sizes, self.moving_variance_initializer, trainable=False, name="moving_variance"
        )

    def call(self, inputs: ArrayLike, training: bool = False, mask: Bools | None = None) -> Array:
        x = self._fitting(inputs)
        mean, variance = self.moving_mean, self.moving_variance
        if training and self.trainable and x.size:  # no step, no moments
            new = self._moments(x, mask)

            def move() -> None:
                for moving, moment in zip(
                    (self.moving_mean, self.moving_variance), new, strict=True
                ):
                    moving *= self.momentum
                    moving += (1.0 - self.momentum) * moment

            change([self._weights], move)
            mean, variance = new
        return self._scaled(x, self._broadcast(mean, x), self._broadcast(variance, x))

    def _ragged_way(self, ndim: int) -> str:
        return way_by_axes(self.axis, ndim, self.name, "none")

    def _moments(self, x: Array, mask: Bools | None) -> tuple[Array, Array]:
        others = tuple(a for a in range(x.ndim) if a not in self._axes)
        if mask is None:
            return x.mean(axis=others), x.var(axis=others)
        valid = np.broadcast_to(along(mask, x.ndim), x.shape)
        count = valid.sum(axis=others, dtype=x.dtype) + x.dtype.type(KERAS_EPSILON)
        zero = x.dtype.type(0)
        mean = np.where(valid, x, zero).sum(axis=others) / count
        off = np.where(valid, x - self._broadcast(mean, x), zero)
        return mean, (off * off).sum(axis=others) / count
