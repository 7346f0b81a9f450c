"""What layers share that look tokens up in a vocabulary."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .._typing import Array, Ints, Shape
from ..backends.dispatch import as_array
from ._categories import counted, one_hot, shape_with_categories, way_of_categories
from ._ids import ids_in
from ._vocabulary import Rows, Vocabulary


class Lookup(Vocabulary):
    """Base of the layers that look up the ids of tokens, and encode them."""

    _casts_inputs = False
    _takes_lists = False

    def call(self, inputs: Any) -> Array:
        """Look tokens up; see the class."""
        if not self._tokens:
            raise self._nothing_known()
        if self.invert:
            return self._inverted(ids_in(inputs, self))
        keys, lengths, shape = self._rows(inputs)
        ids = np.fromiter(map(self._table.__getitem__, keys), np.int64, int(lengths.sum()))
        if self.output_mode == "int":
            return self._arranged(ids, lengths, shape, 0)
        if self.output_mode == "one_hot":
            return one_hot(self._arranged(ids, lengths, shape, -1), self._depth(), np.int64)
        rows = np.repeat(np.arange(len(lengths)), lengths)
        counts = counted(ids, rows, (len(lengths), self._depth()))
        if self.output_mode == "multi_hot":
            counts = (counts > 0).astype(np.int64)
        elif self._idf is not None:
            counts = counts.astype(self._dtype) * self._idf.astype(self._dtype)
        return counts if shape is None else counts.reshape(*shape[:-1], self._depth())

    def _arranged(self, ids: Ints, lengths: Ints, shape: tuple[int, ...] | None, fill: int) -> Ints:
        """The ids in the shape of the tokens; or (B, T), with rows filled up at their ends."""
        if shape is not None:
            return ids.reshape(shape)
        steps = self._steps()
        width = int(lengths.max(initial=0)) if steps is None else steps
        filled = np.full((len(lengths), width), fill, np.int64)
        places = np.arange(len(ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        rows = np.repeat(np.arange(len(lengths)), lengths)
        fits = places < width
        filled[rows[fits], places[fits]] = ids[fits]
        return filled

    def _steps(self) -> int | None:
        """Number of tokens of a row in the outputs; None for as many as the longest row has."""
        return None

    def _inverted(self, ids: Ints) -> Array:
        tokens = np.array([*self.get_vocabulary(), self.oov_token])
        known = (ids >= 0) & (ids < len(tokens))
        return tokens[np.where(known, ids, len(tokens) - 1)]

    def _ragged_way(self, ndim: int) -> str:
        return self._way or way_of_categories(ndim, self.output_mode)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        depth = None if self.output_mode == "int" else self._depth()
        return shape_with_categories(tuple(input_shape), depth, self.output_mode)

    @property
    def _output_dtype(self) -> np.dtype[Any]:
        if self.output_mode == "tf_idf":
            return self._dtype
        texts = self.invert and isinstance(self.oov_token, str)
        return np.dtype(str if texts else np.int64)

    def _rows(self, inputs: Any) -> Rows:
        array = as_array(inputs, "inputs")
        shape = array.shape
        if self.output_mode in ("multi_hot", "count", "tf_idf") and array.ndim > 2:
            raise ValueError(
                f"inputs of layer {self.name!r} must have one axis or two for output_mode "
                f"{self.output_mode!r}, not shape {shape}"
            )
        lengths = np.full(int(np.prod(shape[:-1])), shape[-1])
        return Rows(self._keys_in(array), lengths, shape)

    def _keys_in(self, array: Array) -> Iterable[Any]:
        """The keys of all tokens in an array."""
        raise NotImplementedError
