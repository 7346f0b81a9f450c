"""Rows of different lengths without padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import pairwise
from math import prod
from typing import Any, NoReturn, overload

import numpy as np

from .._checks import choice, shown, whole_number
from .._typing import Array, ArrayLike, Bools, Ints, MaskLike, Shape
from ..backends.dispatch import as_array, backend_of
from ..backends.host import HOST
from ..backends.rows import Rows, checked_offsets, offsets_of
from ..backends.table import kernels
from . import masked as _masked
from .mask import Mask
from .masked import Masked
from .no_arithmetic import NoArithmetic
from .padded_rows import padded_rows
from .validity import checked_mask


class Ragged(NoArithmetic):
    """Sequences of different lengths, one after the other in one array; read-only.

    Layers and models take it in place of a `Masked`, and compute only its steps. NumPy functions
    and arithmetic on it raise a TypeError: use `.values`.

    Args:
        values: (P, ...), the steps of all rows; not copied.
        offsets: (B + 1,), ascending: row b is `values[offsets[b]:offsets[b + 1]]`. Values
            before the first one and from the last one on are left out. From lengths they are
            `np.append(0, np.cumsum(lengths))`.
        valid: (P,), which steps count, like a mask with holes; None if all do. If steps are
            sequences of words, (P, W) says which words count.

    Raises:
        TypeError: `values` is on a GPU, or an argument does not hold numbers.
        ValueError: the offsets descend or leave the values, or `valid` has another length.

    Examples:
        >>> import fastmask as fm
        >>> x = fm.Ragged([7, 8, 5, 6, 7], [0, 2, 2, 5])
        >>> len(x), x.lengths
        (3, array([2, 0, 3]))
        >>> x.to_masked().data
        array([[7, 8, 0],
               [0, 0, 0],
               [5, 6, 7]])
        >>> x[1:].values
        array([5, 6, 7])
    """

    __slots__ = ("_rows", "_values")
    _refusal = (
        "this operation would lose the rows of a Ragged: work on .values, "
        "then wrap the result as fastmask.Ragged(result, x.offsets)"
    )
    _values: Any
    _rows: Rows

    def __init__(
        self, values: ArrayLike, offsets: ArrayLike, valid: MaskLike | None = None
    ) -> None:
        if backend_of(values) is not HOST:
            raise TypeError("values must be on the host: a Ragged cannot be on a GPU")
        if isinstance(values, (Ragged, Masked)):
            raise TypeError(f"values must be an array, not a {type(values).__name__}")
        array = as_array(values, "values")
        if not array.ndim:
            raise ValueError(f"values must have shape (steps, ...), not be {shown(array.tolist())}")
        known = checked_offsets(offsets, len(array))
        first, last = int(known[0]), int(known[-1])
        flags = None if valid is None else flags_of(valid, array.shape, "valid")[first:last]
        self._values = array[first:last]
        self._rows = Rows(known - first if first else known).with_valid(flags)

    @classmethod
    def _of(cls, values: Any, rows: Rows) -> Ragged:
        """Values with rows that are known to fit."""
        ragged = cls.__new__(cls)
        ragged._values, ragged._rows = values, rows
        return ragged

    @property
    def values(self) -> Array:
        """The steps of all rows, (P, ...)."""
        return np.asarray(self._values)

    @property
    def offsets(self) -> Ints:
        """Where each row begins, and where the last one ends: int64 (B + 1,), from 0 to P."""
        return self._rows.offsets

    @property
    def lengths(self) -> Ints:
        """The number of steps of each row, int64 (B,)."""
        return self._rows.lengths

    @property
    def valid(self) -> Bools | None:
        """Which steps are valid, bool (P,); None if all are.

        A layer that makes a mask, as `Embedding(mask_zero=True)` does from ids that are 0, can
        leave holes in a row.
        """
        return self._rows.valid

    @property
    def shape(self) -> Shape:
        """(B, None, ...): the number of steps varies."""
        return (len(self._rows), None, *self._values.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the values."""
        return self._values.dtype  # type: ignore[no-any-return]  # values may be `LookedUp`

    @property
    def ndim(self) -> int:
        """Number of axes of a padded batch: one more than the values have."""
        return int(self._values.ndim) + 1

    def to_masked(
        self, padding: str = "post", maxlen: int | None = None, value: Any = None
    ) -> Masked:
        """The rows padded to one length, with a mask of the steps that exist.

        Args:
            padding: "pre" or "post", where short rows are padded.
            maxlen: number of steps T; by default that of the longest row.
            value: what to pad with; by default 0, or an empty string for texts.

        Returns:
            `Masked` with data (B, T, ...).

        Raises:
            TypeError: `maxlen` is not an integer.
            ValueError: a row is longer than `maxlen`, or the dtype cannot hold `value`.

        Source:
            PyTorch: `torch.nested.to_padded_tensor`; TensorFlow: `tf.RaggedTensor.to_tensor`.

        Examples:
            >>> import fastmask as fm
            >>> x = fm.Ragged([7, 8, 5], [0, 2, 3]).to_masked(padding="pre")
            >>> x.data, x.mask.lengths
            (array([[7, 8],
                   [0, 5]]), array([2, 1]))
        """
        pre = choice(padding, "padding", ("pre", "post")) == "pre"
        most = None if maxlen is None else whole_number(maxlen, "maxlen", 0)
        mask = Mask.from_lengths(self.lengths, most, padding)
        if self.valid is not None:
            holes = padded_rows(self.valid, self.offsets, mask.shape[1], pre, False)
            mask = Mask._of(holes)
        return Masked._of(padded_rows(self.values, self.offsets, mask.shape[1], pre, value), mask)

    def to_list(self) -> list[Any]:
        """The rows as lists of Python's numbers or texts; steps that are not valid are left out.

        Returns:
            B lists of T_b steps.

        Examples:
            >>> import fastmask as fm
            >>> fm.Ragged([0.5, 0.25, 1.0], [0, 2, 3]).to_list()
            [[0.5, 0.25], [1.0]]
        """
        values, offsets = self._valid_steps()
        steps = values.tolist()
        return [steps[start:stop] for start, stop in pairwise(offsets.tolist())]

    def to_arrow(self) -> Any:
        """The rows as an Arrow array; steps that are not valid are left out.

        Neither numbers nor offsets are copied. Functions that take Arrow data, such as
        `polars.Series` or `pyarrow.array`, also take a `Ragged`, and call this.

        Returns:
            A `pyarrow.LargeListArray`; steps of more than one number are fixed-size lists.

        Raises:
            ModuleNotFoundError: pyarrow is not installed.

        Examples:
            >>> import fastmask as fm
            >>> import pyarrow  # doctest: +SKIP
            >>> fm.Ragged([0.5, 0.25, 1.0], [0, 2, 3]).to_arrow().type  # doctest: +SKIP
            LargeListType(large_list<item: double>)
        """
        return import_module("fastmask.data.arrow_lists").large_lists(*self._valid_steps())

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any:
        return self.to_arrow().__arrow_c_array__(requested_schema)

    def _valid_steps(self) -> tuple[Array, Ints]:
        """The values and offsets of the steps that are valid."""
        if self.valid is None or self.valid.ndim > 1:  # a mask of words within steps
            return self.values, self.offsets
        return self.values[self.valid], self._rows.of_valid.offsets

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, key: slice) -> Ragged: ...
    @overload
    def __getitem__(self, key: int) -> Array: ...
    def __getitem__(self, key: Any) -> Any:
        """One row, or a slice of neighboring rows: views of the values."""
        if not isinstance(key, slice):
            row = range(len(self))[key]
            start, stop = self.offsets[row : row + 2].tolist()
            return self.values[start:stop]
        begin, end, step = key.indices(len(self))
        if step != 1:
            raise ValueError(f"rows of a Ragged must be neighbors, so no step of {step}")
        offsets = self.offsets[begin : max(begin, end) + 1]
        first, last = int(offsets[0]), int(offsets[-1])
        valid = None if self.valid is None else self.valid[first:last]
        return Ragged._of(self._values[first:last], Rows(offsets - first).with_valid(valid))

    def __iter__(self) -> Iterator[Array]:
        return (self[b] for b in range(len(self)))

    def __repr__(self) -> str:
        return f"Ragged(shape={self.shape}, dtype={self.dtype}, steps={self._rows.count})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Ragged, (self.values, self.offsets, self.valid)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"Ragged has no attribute {name!r}; the array is .values")


def rows_at(ragged: Ragged, rows: Ints) -> Ragged:
    """Some rows, in any order, one after the other in new memory."""
    lengths = ragged.lengths[rows]
    offsets = offsets_of(lengths)
    places = np.repeat(ragged.offsets[rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
    valid = None if ragged.valid is None else ragged.valid[places]
    return Ragged._of(ragged.values[places], Rows(offsets).with_valid(valid))


def joined(batches: Sequence[Ragged]) -> Ragged:
    """The rows of several batches, one after the other."""
    rows = Rows(offsets_of(np.concatenate([one.lengths for one in batches])))
    shapes = {one.valid.shape[1:] for one in batches if one.valid is not None}
    if shapes:
        (words,) = shapes
        flags = [
            np.ones((len(one.values), *words), np.bool_) if one.valid is None else one.valid
            for one in batches
        ]
        rows = rows.with_valid(np.concatenate(flags))
    return Ragged._of(np.concatenate([one.values for one in batches]), rows)


def flags_of(valid: MaskLike, shape: Shape, name: str) -> Bools:
    """A mask for values of this shape, of steps or of words within steps, as a new array.

    Raises:
        TypeError: they are no numbers.
        ValueError: they have another shape, or one is neither valid nor masked.
    """
    array = np.asarray(as_array(valid, name))
    if not array.ndim or array.shape != tuple(shape[: array.ndim]):
        raise ValueError(
            f"{name} must have shape ({shape[0]},), one flag a value, not {array.shape}"
        )
    return checked_mask(array).astype(np.bool_)


def unpadded(masked: Masked) -> Ragged:
    """The valid steps of a batch; see `Masked.to_ragged`."""
    data, mask = masked.data, masked.mask
    if backend_of(data) is not HOST:
        raise TypeError("data must be on the host: a Ragged cannot be on a GPU")
    if mask.ndim != 2:
        raise ValueError(f"a Ragged is made with a mask (batch, time), not {mask.shape}")
    plan = mask.plan
    batch, time, *step = data.shape
    if data.dtype.hasobject:
        return Ragged._of(data[mask.valid], Rows(plan.offsets))
    width = prod(step)
    values = np.empty((len(plan.steps), *step), data.dtype)
    kernels().unpad_rows(
        values.reshape(len(plan.steps), width),
        np.require(data, requirements=["C", "A"]).reshape(batch, time, width),
        plan.steps,
    )
    return Ragged._of(values, Rows(plan.offsets))


vars(_masked)["Ragged"] = Ragged  # an annotation there names it
