"""Numbers as ids of the intervals that they are in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .._checks import choice, real_number, shown, whole_number
from .._typing import Array, ArrayLike, Shape, Unpack
from ..backends.dispatch import real_array
from ..masks.masked import Masked
from ..masks.ragged import Ragged
from ._batches import batches_in
from ._categories import encoded_ids, shape_with_categories, way_of_categories
from ._keras_arguments import LayerArguments
from ._layer import Layer
from ._only_false import only_false
from ._ragged import in_one_row


class Discretization(Layer):
    """Turns numbers into the ids of intervals between boundaries, or into vectors of these.

    Args:
        bin_boundaries: the boundaries, in ascending order; id 0 is for numbers below the first, and
            a boundary belongs to the interval above it.
        num_bins: the number of intervals; `adapt(data)` then finds boundaries that put equally many
            numbers into each.
        epsilon: share of the numbers by which `adapt` may err.
        output_mode: "int" for ids; "one_hot", "multi_hot" or "count" for vectors, see
            `CategoryEncoding`.
        sparse: accepted as in Keras; must be False.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: numbers, of any shape; for vectors of rows (B, T), or (T,) for one row.

    Returns:
        int32 ids of the same shape, or vectors of floats.

    Raises:
        TypeError: an argument is of a wrong kind.
        ValueError: an argument is out of range, or there are no boundaries yet.

    Source:
        Keras: `keras.layers.Discretization`.

    Examples:
        >>> import fastmask as fm
        >>> fm.layers.Discretization([0.0, 1.0, 2.0])([[-1.5, 1.0, 3.4, 0.5]])
        array([[0, 2, 3, 1]], dtype=int32)
    """

    _takes_lists = False
    _options = ("bin_boundaries", "num_bins", "epsilon", "output_mode", "sparse")

    def __init__(
        self,
        bin_boundaries: ArrayLike | None = None,
        num_bins: int | None = None,
        epsilon: float = 0.01,
        output_mode: str = "int",
        sparse: bool = False,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        if bin_boundaries is None and num_bins is None:
            raise ValueError("bin_boundaries or num_bins must be given")
        self.num_bins = None if num_bins is None else whole_number(num_bins, "num_bins", 1)
        self.epsilon = real_number(epsilon, "epsilon")
        if not 0 < self.epsilon < 1:
            raise ValueError(f"epsilon must be between 0 and 1, not {epsilon!r}")
        modes = ("int", "one_hot", "multi_hot", "count")
        self.output_mode = choice(output_mode, "output_mode", modes)
        self.sparse = only_false(sparse, "sparse")
        self.bin_boundaries: list[float] | None = None
        if bin_boundaries is not None:
            self._bound(bin_boundaries)

    def _bound(self, boundaries: ArrayLike) -> None:
        known = real_array(boundaries, "bin_boundaries", np.dtype(np.float64))
        if known.ndim != 1 or not (known[:-1] <= known[1:]).all():
            raise ValueError(
                f"bin_boundaries must be numbers in ascending order, not {shown(boundaries)}"
            )
        self.bin_boundaries = known.tolist()
        self._boundaries = known.astype(self._dtype)

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Find the boundaries, quantiles of data, as Keras finds them.

        Args:
            data: array or `Masked`, of which only the valid steps count; or batches of
                these, such as a list of arrays or a generator.
            steps: number of batches after which to stop; None for all.

        Raises:
            ValueError: the layer was given boundaries, or there is no number in the data.
        """
        if self.num_bins is None:
            raise ValueError(f"layer {self.name!r} was given bin_boundaries, so it cannot adapt")
        summary = np.zeros((2, 0), np.float32)
        for number, batch in enumerate(_batches(data)):
            if steps is not None and number >= steps:
                break
            if isinstance(batch, Ragged):
                batch = in_one_row(batch)
            values = batch.data[batch.mask.valid] if isinstance(batch, Masked) else batch
            known = real_array(values, "data", np.dtype(np.float32)).ravel()
            if known.size:
                summary = _merged(_summary(known, self.epsilon), summary, self.epsilon)
        if not summary.size:
            raise ValueError("data must hold at least one number")
        self._bound(_compressed(summary, 1.0 / self.num_bins)[0, :-1])

    def call(self, inputs: ArrayLike) -> Array:
        """Find the intervals; see the class."""
        x = real_array(inputs, "inputs", self._dtype)
        depth = self._depth()
        ids: Array = np.digitize(x, self._boundaries)
        if self.output_mode == "int":
            return ids.astype(np.int32)
        return encoded_ids(ids, depth, self.output_mode, self.name).astype(self._dtype)

    def _depth(self) -> int:
        if self.bin_boundaries is None:
            raise ValueError(
                f"layer {self.name!r} has no boundaries yet: let it adapt(data), or give it "
                "bin_boundaries"
            )
        return len(self.bin_boundaries) + 1

    def _ragged_way(self, ndim: int) -> str:
        return way_of_categories(ndim, self.output_mode)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        depth = None if self.output_mode == "int" else self._depth()
        return shape_with_categories(tuple(input_shape), depth, self.output_mode)

    @property
    def _output_dtype(self) -> np.dtype[Any]:
        return np.dtype(np.int32) if self.output_mode == "int" else self._dtype


def _batches(data: Any) -> Iterator[Any]:
    of_arrays = isinstance(data, (list, tuple)) and all(hasattr(one, "shape") for one in data)
    batches: Iterable[Any] | None = data if of_arrays else batches_in(data, "data")
    return iter([data] if batches is None else batches)


def _summary(values: Array, epsilon: float) -> Array:
    """Some of the values in order, and how many each stands for."""
    step = max(len(values) * epsilon, 1)
    some = np.sort(values)[int(step - 1) :: int(step)]
    return np.stack([some, np.ones_like(some) * step])


def _merged(one: Array, other: Array, epsilon: float) -> Array:
    both = np.concatenate([one, other], axis=1)
    return _compressed(both[:, np.argsort(both[0])], epsilon)


def _compressed(summary: Array, epsilon: float) -> Array:
    """Values interpolated at every `epsilon` of the total count."""
    if summary.shape[1] * epsilon < 1:
        return summary
    shares = epsilon + np.arange(0.0, 1.0, epsilon)
    until = summary[1].cumsum()
    part = until / until[-1]
    values, counts = np.interp(shares, part, summary[0]), np.interp(shares, part, until)
    return np.stack([values, np.diff(counts, prepend=0)]).astype(np.float32)
