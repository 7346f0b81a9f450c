"""Look-up of vectors by integer ids."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import initializers
from .._checks import flag, whole_number
from .._typing import Array, ArrayLike, Bools, Ints, Shape, Unpack
from ..backends.dispatch import backend_of
from ..backends.host import HOST
from ..backends.looked_up import LookedUp
from ..masks.mask import Mask
from ._ids import ids_in
from ._keras_arguments import LayerArguments
from ._layer import Layer
from ._looked_up import wanted


class Embedding(Layer):
    """Turns integer ids into rows of a table.

    Args:
        input_dim: number of rows of the table; ids go from 0 to `input_dim` - 1.
        output_dim: length D of a row.
        embeddings_initializer: first values of the table.
        mask_zero: whether steps with id 0 are masked. Row 0 is used as it is. A mask of the ids is
            ignored, with a warning if it masks more steps; without `mask_zero` it is lost, with a
            warning.
        weights: the table, (input_dim, output_dim), or a list that holds it, such as word vectors.
        input_length: accepted as in Keras; has no effect.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: ids, (B, T) or any other shape; integers of any dtype, or floats that are whole.

    Returns:
        The rows, in the shape of the ids with D added; `Masked` with `mask_zero`: ids (B, S, W)
        make a mask (B, S, W).

    Raises:
        TypeError: the ids are not numbers.
        ValueError: an id is not a whole number or not in the table.

    Source:
        Keras: `keras.layers.Embedding`.

    Examples:
        >>> import fastmask as fm
        >>> y = fm.layers.Embedding(10, 4, mask_zero=True)([[7, 2, 0], [3, 0, 0]])
        >>> y.shape, y.mask.lengths
        ((2, 3, 4), array([2, 1]))
    """

    _takes_gpu = _quantizable = step_by_step = True
    _takes_lists = False
    supports_masking = True
    _casts_inputs = False
    _options = ("input_dim", "output_dim", "embeddings_initializer", "mask_zero")

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: initializers.AnyInitializer = "uniform",
        *,
        mask_zero: bool = False,
        weights: Any = None,
        input_length: int | None = None,  # noqa: ARG002 - as in Keras
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.input_dim = whole_number(input_dim, "input_dim", 1)
        self.output_dim = whole_number(output_dim, "output_dim", 1)
        self.embeddings_initializer = initializers.get(
            embeddings_initializer, "embeddings_initializer"
        )
        self.mask_zero = flag(mask_zero, "mask_zero")
        if weights is not None:
            self.build()
            several = isinstance(weights, (list, tuple)) and len(weights) == 1
            self.set_weights(weights if several and np.ndim(weights[0]) == 2 else [weights])

    def build(self, input_shape: Shape = (None, None)) -> None:  # noqa: ARG002 - the signature of `Layer`
        """Make the table, which does not depend on the inputs; see `Layer`."""
        self.embeddings = self.add_weight(
            (self.input_dim, self.output_dim), self.embeddings_initializer, name="embeddings"
        )

    def call(self, inputs: ArrayLike) -> Any:
        """Look the ids up; see the class."""
        ids = ids_in(inputs, self)
        backend = backend_of(ids)
        if backend is HOST:
            self._check_range(ids)
            if wanted.get():
                return LookedUp(ids, self.output_dim, self, self._rows)
        return self._rows(ids)

    def _rows(self, ids: Ints) -> Array:
        weights = self._weights, self.embeddings, ids
        backend = backend_of(ids)
        if self._quantization is None:
            return backend.gather_rows(*weights)
        return backend.gather_rounded(*weights, self._quantization)

    def _all_rows(self) -> Array:
        """The table as its rows are computed with."""
        if self._quantization is None:
            return self.embeddings
        return self._rows(np.arange(self.input_dim))

    def compute_mask(self, inputs: ArrayLike, mask: Bools | None = None) -> Any:
        """`ids != 0` with `mask_zero`, else None, as in Keras: a mask of the ids is then lost."""
        if not self.mask_zero:
            if mask is not None:
                self._warn_of_loss(None)
            return None
        ids = ids_in(inputs, self)
        if ids.ndim < 2:
            raise ValueError(
                f"inputs of layer {self.name!r} must have shape (batch, time) to make a mask, or "
                f"more axes, not {ids.shape}"
            )
        backend = backend_of(ids)
        valid = backend.not_equal(ids, 0)
        return valid if backend is HOST else Mask._of(valid)

    def _value_it_masks(self) -> int | None:
        return 0 if self.mask_zero else None

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.output_dim)

    def _check_range(self, ids: Ints) -> None:
        # Seen as unsigned, negative ids are large.
        if not ids.size or ids.view(np.uint64).max() < self.input_dim:
            return
        for worst in (ids.min(), ids.max()):
            if not 0 <= worst < self.input_dim:
                raise ValueError(
                    f"inputs of layer {self.name!r} must be ids from 0 to {self.input_dim - 1}, "
                    f"but one is {worst}"
                )
