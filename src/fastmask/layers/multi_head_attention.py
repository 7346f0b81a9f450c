"""Attention in several heads, each with projections of its own."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import initializers
from .._checks import flag, rate, whole_number
from .._typing import Array, ArrayLike, Bools, Shape, Unpack
from ..backends.dispatch import real_array
from ._attention import attend, causal, dropping, finite_where_masked, within
from ._elementwise import axes_of, known_size, positive
from ._heads import Heads
from ._keras_arguments import LayerArguments
from ._layer import Layer
from ._projection import Projection
from ._shapes import fits, is_shape


class MultiHeadAttention(Layer):
    """Attends to a value from several heads; uses all masks, and passes the query's on.

    Masked steps of value and key have weight 0. The output of a masked query means nothing, and its
    step stays masked. A query that sees no step, such as a masked one, gives the same weight to all
    steps of the value, or weight 0 with `dropout` or `return_attention_scores`: all this is as in
    Keras.

    Args:
        num_heads: number N of heads.
        key_dim: size of each head's queries and keys.
        value_dim: size of each head's values; `key_dim` by default.
        dropout: share of the weights that is dropped in training.
        use_bias: whether projections have a bias.
        output_shape: size of the output's last axis, or sizes of several in its place; that of
            the query by default.
        attention_axes: axis, or axes, of the steps; by default all but the first and the last.
        sliding_window: a query sees steps that are less than this many steps away; None for no
            limit.
        flash_attention: accepted as in Keras; has no effect.
        kernel_initializer: initial values of the kernels.
        bias_initializer: initial values of the biases.
        use_gate: whether outputs are multiplied by a sigmoid of a projection of the query.
        seed: seed of the dropout.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        query: (B, T, F).
        value: (B, S, E).
        key: (B, S, D), the value by default.
        query_mask: (B, T), instead of the one that the query carries.
        value_mask: (B, S), likewise.
        key_mask: (B, S), likewise.
        attention_mask: (B, T, S), (T, S) or (B, N, T, S): which steps each query sees.
        return_attention_scores: whether to return the weights, too.
        training: whether to drop weights.
        use_causal_mask: whether a query sees no step after its own.

    Returns:
        (B, T, F); or this and the weights, (B, N, T, S).

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: an argument is out of range, or the inputs do not fit together.

    Source:
        Keras: `keras.layers.MultiHeadAttention`, which ignores a `query_mask` that is passed;
        Vaswani et al., 2017. Weights: kernel and bias of query, key, gate if there is
        one, value and output.

    Examples:
        >>> import numpy as np
        >>> import fastmask as fm
        >>> x = fm.Masked(np.ones((2, 5, 8)), np.arange(5) < np.array([[5], [3]]))
        >>> y = fm.layers.MultiHeadAttention(num_heads=2, key_dim=4)(x, x)
        >>> y.shape, y.mask.lengths
        ((2, 5, 8), array([5, 3]))
    """

    _way = "rows"
    supports_masking = _keeps_steps = _needs_a_step = True
    _takes_lists = False
    _options = (
        *("num_heads", "key_dim", "value_dim", "dropout", "use_bias", "output_shape"),
        *("attention_axes", "sliding_window", "kernel_initializer", "bias_initializer"),
        *("use_gate", "seed"),
    )

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | Sequence[int] | None = None,
        attention_axes: int | Sequence[int] | None = None,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: initializers.AnyInitializer = "glorot_uniform",
        bias_initializer: initializers.AnyInitializer = "zeros",
        *,
        use_gate: bool = False,
        seed: int | None = None,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.num_heads = whole_number(num_heads, "num_heads", 1)
        self.key_dim = whole_number(key_dim, "key_dim", 1)
        self.value_dim = whole_number(key_dim if value_dim is None else value_dim, "value_dim", 1)
        self.dropout = rate(dropout, "dropout")
        self.use_bias = flag(use_bias, "use_bias")
        self.output_shape = _several(output_shape, "output_shape")
        self.attention_axes = _several(attention_axes, "attention_axes")
        self.sliding_window = (
            None if sliding_window is None else whole_number(sliding_window, "sliding_window", 1)
        )
        if flash_attention is not None:
            flag(flash_attention, "flash_attention")
        self.kernel_initializer = initializers.get(kernel_initializer, "kernel_initializer")
        self.bias_initializer = initializers.get(bias_initializer, "bias_initializer")
        self.use_gate = flag(use_gate, "use_gate")
        self.seed = None if seed is None else whole_number(seed, "seed", 0)
        self._generator = np.random.default_rng(self.seed)

    def build(self, input_shape: Any) -> None:
        """Make the projections.

        Args:
            input_shape: shapes of query, value and key, the last of which may be left out; or
                one shape for all three.
        """
        query, value, key = _three(input_shape)
        self._heads = self._made_heads(len(query))
        self.attention_axes = self._heads.steps
        self._check_shapes(query, value, key)
        many, wide = (self.num_heads, self.key_dim), (self.num_heads, self.value_dim)
        self.query_dense = self._projection("query", query, many)
        self.key_dense = self._projection("key", key, many)
        if self.use_gate:
            self._gate_dense = self._projection("gate", query, wide, activation="sigmoid")
        self.value_dense = self._projection("value", value, wide)
        back: Any = self.output_shape or query[-1:]
        self.output_dense = self._projection("attention_output", (None, *wide), back, axes=2)

    def _made_heads(self, axes: int) -> Heads:
        given = self.attention_axes
        steps = positive(list(range(1, axes - 1) if given is None else given), axes - 1, self.name)
        if not steps or not steps[0]:
            raise ValueError(
                f"attention_axes of layer {self.name!r} must name axes of steps, and not that of "
                f"the batch, but are {given}, and its inputs have {axes} axes"
            )
        return Heads(tuple(axis for axis in range(1, axes - 1) if axis not in steps), steps)

    def _projection(
        self,
        name: str,
        shape: Shape,
        sizes: tuple[int, ...],
        axes: int = 1,
        activation: str = "linear",
    ) -> Projection:
        known_size(shape, len(shape) - 1, self.name)
        first = self.kernel_initializer, self.bias_initializer
        made = Projection(
            axes, sizes, self.use_bias, *first, activation, name=name, dtype=self.dtype
        )
        made.build(shape)
        return made

    def call(
        self,
        query: ArrayLike,
        value: ArrayLike,
        key: ArrayLike | None = None,
        query_mask: Bools | None = None,
        value_mask: Bools | None = None,
        key_mask: Bools | None = None,
        attention_mask: ArrayLike | None = None,
        return_attention_scores: bool = False,
        training: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        q, v = real_array(query, "query", self._dtype), real_array(value, "value", self._dtype)
        k = v if key is None else real_array(key, "key", self._dtype)
        self._check_shapes(q.shape, v.shape, k.shape)
        heads = self._heads
        queries = heads.apart(self.query_dense.call(q)) * self._dtype.type(self.key_dim**-0.5)
        keys = heads.apart(self.key_dense.call(k))
        keys = keys.transpose(*range(keys.ndim - 2), keys.ndim - 1, keys.ndim - 2)
        shape = heads.scores_shape(q.shape, v.shape, self.num_heads)
        seen = [
            *self._seen_by_masks(q.shape, v.shape, query_mask, value_mask, key_mask),
            *self._seen_from(q, queries.shape[-2], keys.shape[-1], use_causal_mask),
        ]
        if attention_mask is not None:
            seen.append(heads.given(attention_mask, shape, self.name))
        scored = flag(return_attention_scores, "return_attention_scores")
        y, weights = attend(
            lambda part: queries[part] @ keys[part],
            heads.apart(self.value_dense.call(finite_where_masked(v, value_mask))),
            functools.reduce(np.logical_and, seen) if seen else None,
            math.prod(shape[1:]),
            keep_weights=scored,
            # As in Keras, which computes with a fused kernel where it can.
            none_is_zero=bool(self.dropout) or scored or q.ndim > 3,
            drop=dropping(self.dropout, self._generator) if training and self.dropout else None,
        )
        y = heads.together(y, q.shape)
        y = self.output_dense.call(y * self._gate_dense.call(q) if self.use_gate else y)
        return y if weights is None else (y, weights.reshape(*shape))

    def _seen_by_masks(
        self, query: Any, value: Any, of_query: Bools | None, *of_value: Bools | None
    ) -> Iterator[Bools]:
        """Which steps the masks let queries see, each to be broadcast to (B, ..., N, T, S)."""
        if of_query is not None:
            yield self._heads.mask(of_query, query)[..., :, None]
        for mask in of_value:
            if mask is not None:
                yield self._heads.mask(mask, value)[..., None, :]

    def _seen_from(
        self, like: Array, queries: int, steps: int, use_causal_mask: bool
    ) -> Iterator[Bools]:
        """Which steps queries see by their positions, (T, S)."""
        window = self.sliding_window
        use_causal_mask = flag(use_causal_mask, "use_causal_mask")
        if (use_causal_mask or window) and len(self._heads.steps) > 1:
            name = "use_causal_mask" if use_causal_mask else "sliding_window"
            raise ValueError(
                f"{name} of layer {self.name!r} needs one axis of steps, but attention_axes are "
                f"{self.attention_axes}"
            )
        if use_causal_mask:
            yield causal(like, queries, steps)
        if window:
            yield within(like, queries, steps, window)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The shape of the outputs.

        Args:
            input_shape: shape of the query; or shapes of query and value, and maybe of the key.

        Returns:
            The shape.
        """
        query = _three(input_shape)[0]
        return (*query[:-1], *(self.output_shape or query[-1:]))

    def _build_for(self, inputs: Any, options: dict[str, Any]) -> None:
        self.build(self._three_in(inputs, options))

    def _shapes_of_call(self, inputs: Any, options: dict[str, Any]) -> Any:
        query, value, key = self._three_in(inputs, options)
        self._check_shapes(query, value, key)
        output = self.compute_output_shape(query)
        if not options.get("return_attention_scores"):
            return output
        return [output, self._heads.scores_shape(query, value, self.num_heads)]

    def _three_in(self, query: Any, options: dict[str, Any]) -> list[Shape]:
        if options.get("value") is None:
            raise TypeError(f"layer {self.name!r} must be called with query and value")
        given = (query, options["value"], options.get("key"))
        # Those of a symbolic tensor, which NumPy would refuse, or of nested lists.
        shapes = (x.shape if hasattr(x, "shape") else np.shape(x) for x in given if x is not None)
        return _three([tuple(shape) for shape in shapes])

    def _mask_of_each(self, masks: Any, count: int) -> Sequence[Any]:
        return [masks] + [None] * (count - 1)  # weights have none

    def _check_input_shape(self, shape: Any) -> None:
        if not is_shape(shape):  # else the query's shape alone, as the call has the others by name
            self._check_shapes(*_three(shape))

    def _check_shapes(self, query: Shape, value: Shape, key: Shape) -> None:
        axes = len(self._heads.rows) + len(self._heads.steps) + 2
        alike = len(query) == len(value) == len(key) == axes
        rows = (0, *self._heads.rows)
        if not (
            alike
            and fits(value[:-1], key[:-1])
            and fits(*(tuple(shape[axis] for axis in rows) for shape in (query, value)))
        ):
            raise ValueError(
                f"inputs of layer {self.name!r} must be query (B, T, F), value (B, S, E) and key "
                f"(B, S, D), which is the value by default, but have shapes {query}, {value}, {key}"
            )
        for name, shape in (("query", query), ("value", value), ("key", key)):
            kernel = getattr(self, f"{name}_dense").kernel if self.built else None
            if kernel is not None and not fits(shape[-1:], kernel.shape[:1]):
                raise ValueError(
                    f"{name} of layer {self.name!r} must have {len(kernel)} features, "
                    f"not shape {shape}"
                )


def _several(value: int | Sequence[int] | None, name: str) -> tuple[int, ...] | None:
    """`value` as a tuple of integers; None for none."""
    if value is None or value == ():
        return None
    known = axes_of(value, name)
    return tuple(known) if isinstance(known, list) else (known,)


def _three(shapes: Any) -> list[Shape]:
    """The shapes of query, value and key, of which the last may be missing; or one for all."""
    listed = [tuple(shapes)] * 3 if is_shape(shapes) else [tuple(one) for one in shapes]
    if len(listed) not in (2, 3):
        raise ValueError(
            f"input_shape must be the shapes of query, value and key, or one shape, not {shapes!r}"
        )
    return (listed + listed[1:2])[:3]
