"""Attention: for each query a mean of values, weighted by how well their keys fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from .._checks import choice, flag, rate, whole_number
from .._typing import Array, ArrayLike, Bools, Shape, Unpack
from ..backends.dispatch import real_array
from ._attention import attend, causal, dropping, finite_where_masked
from ._elementwise import known_size
from ._keras_arguments import LayerArguments
from ._layer import Layer
from ._shapes import fits, is_shape, shapes
from ._types import ListOfMasks


class Attention(Layer):
    """Weighs the steps of a value by products of queries and keys; passes the query's mask on.

    Masked steps of the value have weight 0, and outputs of masked queries are 0. If all steps of a
    value are masked, they all have the same weight, as in Keras.

    Args:
        use_scale: whether the scores are multiplied by a learned number; with
            `score_mode="concat"`, the sums of query and key.
        score_mode: "dot" for products of query and key, or "concat" for
            `sum(tanh(query + key))` times a learned number.
        dropout: share of the weights that is dropped in training.
        seed: seed of the dropout.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: list of query (B, T, D), value (B, S, E) and maybe key (B, S, D), which is the
            value by default.
        mask: list of the masks of query and value, (B, T) and (B, S), instead of those that they
            carry; a mask of the key is ignored.
        training: whether to drop weights.
        return_attention_scores: whether to return the weights, too.
        use_causal_mask: whether a query sees no step after its own.

    Returns:
        (B, T, E); or this and the weights, (B, T, S).

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: an argument is out of range, or the inputs do not fit together.

    Source:
        Keras: `keras.layers.Attention`; Luong et al., 2015.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> value = fm.Masked([[[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]], [[1, 1, 0]])
        >>> fm.layers.Attention()([np.zeros((1, 1, 2)), value]).tolist()
        [[[0.5, 0.5]]]
    """

    _way = "rows"
    supports_masking = _keeps_steps = _needs_a_step = _needs_list = True
    _options: ClassVar[tuple[str, ...]] = ("use_scale", "score_mode", "dropout", "seed")

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.use_scale = flag(use_scale, "use_scale")
        self.score_mode = choice(score_mode, "score_mode", ("dot", "concat"))
        self.dropout = rate(dropout, "dropout")
        self.seed = None if seed is None else whole_number(seed, "seed", 0)
        self._generator = np.random.default_rng(self.seed)

    def build(self, input_shape: Sequence[Shape]) -> None:
        """Make the weights; see `Layer`."""
        self._check_input_shape(input_shape)
        self.scale: Array | None = self._scale(input_shape) if self.use_scale else None
        self.concat_score_weight: Array | None = None
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight((), "ones", name="concat_score_weight")

    def _scale(self, input_shape: Sequence[Shape]) -> Array:  # noqa: ARG002 - subclasses look at it
        return self.add_weight((), "ones", name="scale")

    def call(
        self,
        inputs: Sequence[ArrayLike],
        mask: ListOfMasks = None,
        training: bool = False,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        self._check_number(inputs)
        query, value, key = (real_array(x, "inputs", self._dtype) for x in (*inputs, inputs[1])[:3])
        self._check_input_shape(shapes([query, value, key]))
        of_query, of_value, *_ = mask or (None, None)
        valid = None if of_value is None else of_value[:, None, :]
        if flag(use_causal_mask, "use_causal_mask"):
            before = causal(query, query.shape[1], key.shape[1])
            valid = before if valid is None else valid & before
        scored = flag(return_attention_scores, "return_attention_scores")
        y, weights = attend(
            lambda part: self._scores(query[part], key[part]),
            finite_where_masked(value, of_value),
            valid,
            query.shape[1] * key.shape[1],
            keep_weights=scored,
            drop=dropping(self.dropout, self._generator) if training and self.dropout else None,
        )
        if of_query is not None:
            y = np.where(of_query[:, :, None], y, y.dtype.type(0))
        return (y, weights) if scored else y

    def _scores(self, query: Array, key: Array) -> Array:
        """How well each key fits each query, (B, T, S)."""
        if self.concat_score_weight is None:
            return self._scaled(query @ key.transpose(0, 2, 1))
        each = [np.tanh(self._scaled(one + key)).sum(axis=2) for one in _one_by_one(query)]
        return self.concat_score_weight * _together(each, query, key)

    def _scaled(self, x: Array) -> Array:
        return x if self.scale is None else x * self.scale

    def compute_mask(self, inputs: Sequence[Array], mask: ListOfMasks = None) -> Bools | None:  # noqa: ARG002 - Keras's form
        """The mask of the query."""
        return None if mask is None else mask[0]

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        self._check_input_shape(input_shape)
        return (*input_shape[0][:-1], input_shape[1][-1])

    def _shapes_of_call(self, inputs: Any, options: dict[str, Any]) -> Any:
        query, value = (tuple(one.shape) for one in inputs[:2])
        output = super()._shapes_of_call(inputs, options)
        scored = options.get("return_attention_scores")
        return [output, (*query[:2], value[1])] if scored else output

    def _mask_of_each(self, masks: Any, count: int) -> Sequence[Any]:
        return [masks] + [None] * (count - 1)  # weights have none

    def _mask_list(self, mask: Any, count: int) -> Sequence[Any]:
        if isinstance(mask, (list, tuple)) and (len(mask), count) == (2, 3):
            mask = [*mask, None]
        return super()._mask_list(mask, count)

    def _check_number(self, inputs: Any) -> None:
        if not isinstance(inputs, (list, tuple)) or len(inputs) not in (2, 3):
            what = f"{len(inputs)}" if isinstance(inputs, (list, tuple)) else "one array"
            raise ValueError(
                f"inputs of layer {self.name!r} must be a list of query and value, or of query, "
                f"value and key, not {what}"
            )

    def _check_input_shape(self, shape: Any) -> None:
        known = [tuple(shape)] if is_shape(shape) else [tuple(one) for one in shape]
        self._check_number(known)
        query, value, key = (*known, known[1])[:3]
        if not (
            len(query) == len(value) == len(key) == 3
            and fits((query[0], query[2]), (key[0], key[2]))
            and fits(key[:2], value[:2])
        ):
            raise ValueError(
                f"inputs of layer {self.name!r} must be query (B, T, D), value (B, S, E) and key "
                f"(B, S, D), which is the value by default, but have shapes "
                f"{', '.join(map(str, known))}"
            )


class AdditiveAttention(Attention):
    """Weighs the steps of a value by tanh(query + key); passes the query's mask on.

    Masked steps of the value have weight 0, and outputs of masked queries are 0. If all steps of a
    value are masked, they all have the same weight, as in Keras.

    Args:
        use_scale: whether the sum over the features of tanh(query + key) has learned weights,
            (D,).
        dropout: share of the weights that is dropped in training.
        seed: seed of the dropout.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: as `Attention` is.
        mask: likewise.
        training: likewise.
        return_attention_scores: likewise.
        use_causal_mask: likewise.

    Returns:
        (B, T, E); or this and the weights, (B, T, S).

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: an argument is out of range, or the inputs do not fit together.

    Source:
        Keras: `keras.layers.AdditiveAttention`; Bahdanau et al., 2015.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> query, value = np.ones((2, 4, 3)), np.ones((2, 6, 3))
        >>> y, weights = fm.layers.AdditiveAttention()(
        ...     [query, value], return_attention_scores=True
        ... )
        >>> y.shape, weights.shape
        ((2, 4, 3), (2, 4, 6))
    """

    _options = ("use_scale", "dropout", "seed")

    def __init__(
        self,
        use_scale: bool = True,
        dropout: float = 0.0,
        *,
        seed: int | None = None,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(use_scale, "dot", dropout, seed, **layer_args)

    def _scale(self, input_shape: Sequence[Shape]) -> Array:
        features = known_size(input_shape[0], 2, self.name)
        return self.add_weight((features,), "glorot_uniform", name="scale")

    def _scores(self, query: Array, key: Array) -> Array:
        sums = (np.tanh(one + key) for one in _one_by_one(query))
        if self.scale is None:
            return _together([one.sum(axis=2) for one in sums], query, key)
        return _together([one @ self.scale for one in sums], query, key)


def _one_by_one(query: Array) -> list[Array]:
    """The queries one by one, (B, 1, D): sums with all keys take (B, S, D), not (B, T, S, D)."""
    return [query[:, step : step + 1] for step in range(query.shape[1])]


def _together(scores: list[Array], query: Array, key: Array) -> Array:
    """Scores (B, S) of each query as (B, T, S)."""
    if not scores:
        return np.zeros_like(query, shape=(query.shape[0], 0, key.shape[1]))
    return np.stack(scores, axis=1)
