"""Data that carries a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from .._typing import Array, ArrayLike, MaskLike
from ..backends.dispatch import as_array, is_array
from .mask import Mask, fitting_mask
from .no_arithmetic import NoArithmetic

if TYPE_CHECKING:
    from .ragged import Ragged


class Masked(NoArithmetic):
    """An array together with the mask that says which of its steps are valid.

    Layers take and return it. NumPy functions, arithmetic and indexing on it raise a
    TypeError, because their result would have lost the mask: use `.data` and `.mask`.

    Args:
        data: array (B, T, ...).
        mask: `Mask`, or whatever `Mask` takes, of shape (B, T); or with more of the axes of
            `data`, as (B, S, W) for words in sentences.

    Raises:
        TypeError: `data` is no array or itself a `Masked`, or `mask` does not hold numbers.
        ValueError: the mask does not fit the first axes of `data`.

    Examples:
        >>> import fastmask as fm
        >>> x = fm.Masked([[7, 8, 0], [5, 6, 7]], [[1, 1, 0], [1, 1, 1]])
        >>> x.mask.lengths
        array([2, 3])
        >>> x + 1
        Traceback (most recent call last):
        ...
        TypeError: this operation would lose the mask of a Masked: work on .data, then wrap ...
    """

    __slots__ = ("_data", "_mask")
    _refusal = (
        "this operation would lose the mask of a Masked: work on .data, "
        "then wrap the result as fastmask.Masked(result, x.mask); x.to_ragged() has the rows"
    )
    _data: Array
    _mask: Mask

    def __init__(self, data: ArrayLike, mask: MaskLike) -> None:
        array = data if is_array(data) else as_array(data, "data")
        if array.ndim == 0 and array is not data:  # NumPy holds any object
            raise TypeError(f"data must be an array (batch, time, ...), not {type(data).__name__}")
        self._mask = fitting_mask(mask, array.shape, "data")
        self._data = array

    @classmethod
    def _of(cls, data: Array, mask: Mask) -> Masked:
        """`data` with a mask that is known to fit."""
        masked = cls.__new__(cls)
        masked._data, masked._mask = data, mask
        return masked

    @property
    def data(self) -> Array:
        """The array, masked steps included."""
        return self._data

    @property
    def mask(self) -> Mask:
        """The mask, (B, T) or with more of the axes of the data."""
        return self._mask

    def to_ragged(self) -> Ragged:
        """The valid steps of each row without padding; the inverse of `Ragged.to_masked`.

        Returns:
            `Ragged` with a copy of the valid steps.

        Raises:
            TypeError: the data is on a GPU.
            ValueError: the mask has more axes than (B, T).

        Examples:
            >>> import fastmask as fm
            >>> x = fm.Masked([[7, 8, 0], [5, 0, 6]], [[1, 1, 0], [1, 0, 1]]).to_ragged()
            >>> x.values, x.offsets
            (array([7, 8, 5, 6]), array([0, 2, 4]))
        """
        from .ragged import unpadded

        return unpadded(self)

    @property
    def _keras_mask(self) -> Mask:
        """The mask, under the name that Keras's guide uses."""
        return self._mask

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the data."""
        return self._data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the data."""
        return self._data.dtype

    @property
    def ndim(self) -> int:
        """Number of axes of the data."""
        return self._data.ndim

    def __len__(self) -> int:
        return len(self._data)

    def __repr__(self) -> str:
        return f"Masked(shape={self.shape}, dtype={self.dtype}, fill={self._mask.fill:.2f})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Masked, (self._data, self._mask)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"Masked has no attribute {name!r}; the array is .data")


def get_mask(x: object) -> Any:
    """The mask that `x` carries.

    Args:
        x: whatever a layer takes or returns.

    Returns:
        The `Mask` of a `Masked`; for a symbolic tensor that will carry a mask, an object that
        represents it and can be passed to layers as `mask=`; otherwise None.

    Source:
        Keras: `keras.src.backend.get_keras_mask`, or `x._keras_mask`.

    Examples:
        >>> import fastmask as fm
        >>> fm.get_mask(fm.layers.Masking()([[[1.0], [0.0]]])).valid
        array([[ True, False]])
    """
    return x._mask if isinstance(x, Masked) else getattr(x, "_symbolic_mask", None)
