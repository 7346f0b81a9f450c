"""Ids of categories as vectors."""

from __future__ import annotations

from .._checks import choice, whole_number
from .._typing import Array, ArrayLike, Shape, Unpack
from ..backends.dispatch import real_array
from ._categories import encoded_ids, shape_with_categories, way_of_categories
from ._ids import ids_in
from ._keras_arguments import LayerArguments
from ._layer import Layer
from ._only_false import only_false
from ._vocabulary import OLD_MODES


class CategoryEncoding(Layer):
    """Turns ids from 0 to `num_tokens` - 1 into vectors with an entry for each.

    Args:
        num_tokens: number of entries.
        output_mode: "one_hot" for a vector for each id; "multi_hot" or "count" for one for each
            row, which marks or counts its ids.
        sparse: accepted as in Keras; must be False.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: ids, (B, T), or (T,) for one row.
        count_weights: how much each id counts with `output_mode="count"`, of the same shape; 1 by
            default.

    Returns:
        (B, num_tokens), or with "one_hot" (B, T, num_tokens).

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: an argument or an id is out of range; Keras leaves such ids out.

    Source:
        Keras: `keras.layers.CategoryEncoding`.

    Examples:
        >>> import fastmask as fm
        >>> fm.layers.CategoryEncoding(4, "count")([[0, 1, 1], [3, 0, 2]])
        array([[1., 2., 0., 0.],
               [1., 0., 1., 1.]], dtype=float32)
    """

    _casts_inputs = False
    _takes_lists = False
    _options = ("num_tokens", "output_mode", "sparse")

    def __init__(
        self,
        num_tokens: int | None = None,
        output_mode: str = "multi_hot",
        sparse: bool = False,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.num_tokens = whole_number(num_tokens, "num_tokens", 1)
        modes = ("one_hot", "multi_hot", "count")
        self.output_mode = choice(OLD_MODES.get(output_mode, output_mode), "output_mode", modes)
        self.sparse = only_false(sparse, "sparse")

    def call(self, inputs: ArrayLike, count_weights: ArrayLike | None = None) -> Array:
        """Encode ids; see the class."""
        ids = ids_in(inputs, self)
        wrong = ids[(ids < 0) | (ids >= self.num_tokens)]
        if wrong.size:
            raise ValueError(
                f"inputs of layer {self.name!r} must be ids from 0 to {self.num_tokens - 1}, "
                f"but one is {wrong[0]}"
            )
        if count_weights is not None and self.output_mode != "count":
            raise ValueError(
                f"count_weights of layer {self.name!r} must not be given for output_mode "
                f"{self.output_mode!r}"
            )
        weights = None if count_weights is None else self._weights_of(count_weights, ids)
        encoded = encoded_ids(ids, self.num_tokens, self.output_mode, self.name, weights)
        return encoded.astype(self._dtype)

    def _weights_of(self, count_weights: ArrayLike, ids: Array) -> Array:
        weights = real_array(count_weights, "count_weights", self._dtype)
        if weights.shape != ids.shape:
            raise ValueError(
                f"count_weights of layer {self.name!r} must have the shape of the inputs, "
                f"{ids.shape}, not {weights.shape}"
            )
        return weights

    def _ragged_way(self, ndim: int) -> str:
        return way_of_categories(ndim, self.output_mode)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return shape_with_categories(tuple(input_shape), self.num_tokens, self.output_mode)
