"""Masks.

A mask is a plan: the positions of the valid steps are found once from the boolean array, and every
recurrent layer then works on these only. No plan is made twice, because the read-only array of a
mask leads back to the mask (`as_mask`), wherever it is passed.

A mask with more axes than (B, T) belongs to sequences within sequences, such as (B, S, W) for the
words in the sentences of documents. Its steps together have the mask (B * S, W): see `of_steps`.
"""

from __future__ import annotations

from collections.abc import Hashable
from math import prod
from typing import Any
from weakref import ref

import numpy as np

from .._checks import choice, whole_number
from .._typing import BOOL, ArrayLike, Bools, Ints, MaskLike, Shape
from ..backends.dispatch import backend_of, integer_array
from ..backends.host import HOST
from ..backends.plan import Plan, plan_of
from ..backends.table import kernels
from .bool_array import BoolArray
from .validity import checked_mask

_SMALL = 64  # steps of a mask that is printed in full
_masks_by_array: dict[int, ref[Mask]] = {}  # a WeakValueDictionary takes a microsecond more a mask


class Mask(BoolArray):
    """Says which steps of a batch of sequences are valid; read-only.

    It can be used wherever a bool array (B, T) can: NumPy functions, operators, indexing, and
    arrays' methods and attributes such as `any`, `sum`, `T` or `astype`.

    Args:
        valid: (B, T) or (B, T, 1), array or nested lists; or (B, S, W) and more axes, for
            sequences within sequences. Bool; or integers, where zero means masked and positive
            numbers valid; or floats, 0 and 1 only. It is copied; an array on a GPU stays there.

    Raises:
        TypeError: `valid` does not hold numbers.
        ValueError: `valid` has fewer axes, or holds a number that is neither valid nor masked,
            as additive attention masks do.

    Examples:
        >>> import fastmask as fm
        >>> mask = fm.Mask([[1, 1, 0], [1, 1, 1]])
        >>> mask.lengths
        array([2, 3])
        >>> mask & [[True, False, True]]
        array([[ True, False, False],
               [ True, False,  True]])
    """

    __slots__ = ("__weakref__", "_kept", "_of_steps", "_plan", "_valid")
    __hash__ = None  # type: ignore[assignment]  # as in NumPy
    _valid: Bools
    _plan: Plan | None
    _of_steps: Mask | None
    _kept: dict[Hashable, Any] | None

    def __init__(self, valid: MaskLike) -> None:
        self._take(_steps_of(valid))

    @classmethod
    def _of(cls, valid: Bools) -> Mask:
        """A mask that owns `valid`, a C-contiguous bool array (B, T, ...) that is never changed."""
        mask = object.__new__(cls)
        mask._take(valid)
        return mask

    def _take(self, valid: Bools) -> None:
        if type(valid) is np.ndarray:
            valid.setflags(write=False)
        self._valid = valid
        self._plan = self._of_steps = self._kept = None
        _masks_by_array[id(valid)] = ref(self)

    def __del__(self, masks: dict[int, ref[Mask]] = _masks_by_array) -> None:
        # Before the array is freed, whose id another array may get. `masks` is an argument because
        # the module's names may be gone when the interpreter exits.
        key = id(getattr(self, "_valid", None))
        if (known := masks.get(key)) is not None and ((mask := known()) is self or mask is None):
            masks.pop(key, None)

    @classmethod
    def from_lengths(
        cls, lengths: ArrayLike, maxlen: int | None = None, padding: str = "post"
    ) -> Mask:
        """The mask of padded sequences.

        Args:
            lengths: (B,), the number of valid steps in each row; integers of any dtype, or floats
                that are whole.
            maxlen: the number of steps T; the longest length by default.
            padding: "post" for valid steps first, "pre" for valid steps last.

        Returns:
            A mask of shape (B, maxlen).

        Raises:
            TypeError: `lengths` does not hold numbers, or `maxlen` is not an integer.
            ValueError: a length is negative, not a whole number or more than `maxlen`, or
                `lengths` is not flat.

        Examples:
            >>> import fastmask as fm
            >>> fm.Mask.from_lengths([1, 3]).valid
            array([[ True, False, False],
                   [ True,  True,  True]])
        """
        counts = integer_array(lengths, "lengths")
        if counts.ndim != 1:
            raise ValueError(f"lengths must have shape (batch,), not {counts.shape}")
        choice(padding, "padding", ("post", "pre"))
        longest = int(counts.max(initial=0))
        time = longest if maxlen is None else whole_number(maxlen, "maxlen", 0)
        if longest > time:
            raise ValueError(f"lengths[{counts.argmax()}] is {longest}, more than maxlen={time}")
        if counts.min(initial=0) < 0:
            raise ValueError(f"lengths[{counts.argmin()}] is negative: {counts.min()}")
        valid = np.empty((len(counts), time), np.bool_)
        kernels().mask_from_lengths(valid, counts, padding == "pre")
        return cls._of(valid)

    @property
    def valid(self) -> Bools:
        """The mask as a read-only bool array (B, T), on a GPU if the mask was made there."""
        return self._valid

    @property
    def lengths(self) -> Ints:
        """The number of valid steps in each row, int64 (B,); in a mask (B, S, W), int64 (B, S)."""
        return backend_of(self._valid).lengths(self)

    @property
    def fill(self) -> float:
        """The share of valid steps, 0 to 1; 1 for a mask without any step."""
        return int(self.lengths.sum()) / self.size if self.size else 1.0

    @property
    def plan(self) -> Plan:
        """The positions of the valid steps, found on first use and then kept.

        For a mask (B, S, W) it has B * S rows, those of `of_steps`.
        """
        plan = self._plan
        if plan is None:  # two threads may both make it: they make the same
            deep = self._valid.ndim > 2
            plan = self._plan = self.of_steps.plan if deep else plan_of(self._array())
        return plan

    @property
    def of_steps(self) -> Mask:
        """The masks of all steps of a mask (B, S, W), one after the other: (B * S, W); kept.

        Raises:
            ValueError: the mask has two axes, so that a step is one flag.
        """
        if self._of_steps is None:
            batch, time, *inner = self.shape
            if not inner:
                raise ValueError(f"a mask of shape {self.shape} has one flag for each step")
            self._of_steps = self._reshaped((batch * time, *inner))
        return self._of_steps

    def _reshaped(self, shape: tuple[int, ...]) -> Mask:
        return Mask._of(backend_of(self._valid).reshaped(self._valid, shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """(B, T), or more axes."""
        return tuple(self._valid.shape)

    @property
    def ndim(self) -> int:
        """2, or more for sequences within sequences."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """B * T."""
        return prod(self.shape)

    @property
    def dtype(self) -> np.dtype[np.bool_]:
        """Always bool."""
        return BOOL

    def _array(self) -> Bools:
        backend = backend_of(self._valid)
        if backend is HOST:
            return self._valid
        kept = self._made_of_it()
        if "host" not in kept:  # copied once
            kept["host"] = backend.to_host(self._valid)
            kept["host"].setflags(write=False)
        host: Bools = kept["host"]
        return host

    def _made_of_it(self) -> dict[Hashable, Any]:
        """A cache of what backends make from the mask."""
        if self._kept is None:
            self._kept = {}
        return self._kept

    def __reduce__(self) -> tuple[Any, ...]:
        return _copied, (self._array(),)

    def __repr__(self) -> str:
        if not 0 < self.size <= _SMALL:
            return f"Mask(shape={self.shape}, fill={self.fill:.2f})"
        return f"Mask({np.array2string(self._array(), separator=', ', prefix='Mask(')})"


def _copied(valid: Bools) -> Mask:
    return Mask._of(np.array(valid, np.bool_, order="C"))


def as_mask(value: MaskLike | None) -> Mask | None:
    """`value` as a mask: itself, the mask of this very array, or a new one; None stays None."""
    if value is None or type(value) is Mask:
        return value
    known = _masks_by_array.get(id(value))
    if known is not None and (mask := known()) is not None and mask._valid is value:
        return mask
    return value if isinstance(value, Mask) else Mask(value)


def known_mask(array: object) -> Mask | None:
    """The mask that has this very array, if there is one."""
    known = _masks_by_array.get(id(array))
    if known is not None and (mask := known()) is not None and mask._valid is array:
        return mask
    return None


def mask_of_output(value: MaskLike | None, shape: Shape) -> Mask | None:
    """Like `as_mask`, for an output of this shape, which tells whether size 1 is one of steps."""
    mask = as_mask(value)
    return None if mask is None else _with_all_axes(mask, value, shape)


def reversed_mask(mask: MaskLike) -> Any:
    """A mask, or its bool array, reversed in time; for one on a GPU, a `Mask` there."""
    valid: Any = mask._valid if isinstance(mask, Mask) else mask
    backend = backend_of(valid)
    if backend is HOST:
        return np.asarray(valid)[:, ::-1]
    return Mask._of(backend.reversed_in_time(valid))


def _steps_of(valid: MaskLike) -> Bools:
    """A new bool array (B, T), or with more axes, from what was passed as a mask."""
    backend = backend_of(valid)
    array = valid if type(valid) is np.ndarray else backend.mask_numbers(valid)
    if array.dtype.kind not in "bu":
        checked_mask(backend.to_host(array))
    if array.ndim > 2 and array.shape[-1] == 1:
        array = backend.part(array, array.shape[:-1])
    if array.ndim < 2:
        hint = ": Mask.from_lengths makes one of numbers of steps" if array.ndim else ""
        raise ValueError(
            f"mask must have shape (batch, time) or (batch, time, 1), or more axes for sequences "
            f"within sequences, not {tuple(array.shape)}{hint}"
        )
    return backend.not_zero(array)


def fitting_mask(
    mask: MaskLike | None, shape: tuple[int, ...], name: str, *arguments: object
) -> Mask:
    """`mask` as a `Mask`, which must fit the first axes of `shape`, two or more.

    Raises:
        ValueError: it does not; the message names `name % arguments` and both shapes.
    """
    known = mask if type(mask) is Mask else as_mask(mask)
    if known is not None:
        own = known._valid.shape
        if own == shape[: len(own)]:
            if mask is known or getattr(mask, "ndim", 0) == len(own):
                return known
            return _with_all_axes(known, mask, shape)
    name = name % arguments if arguments else name
    if known is None:
        raise TypeError(f"mask of {name} must be an array, not None")
    axes = "two" if known.ndim == 2 else str(known.ndim)
    raise ValueError(
        f"mask has shape {known.shape}, but {name} has shape {shape}: "
        f"the first {axes} axes must be the same"
    )


def _with_all_axes(known: Mask, given: Any, shape: Shape) -> Mask:
    """`known`, made of `given`, with its last axis of size 1 if the data has it as one of steps."""
    axes = known.ndim + 1
    if axes < len(shape) and shape[axes - 1] == 1 and np.ndim(given) == axes:
        return known._reshaped((*known.shape, 1))
    return known


def sequence_mask(
    mask: MaskLike | None, shape: tuple[int, ...], name: str, *arguments: object
) -> Mask:
    """Like `fitting_mask`, for functions that take one mask of steps, (B, T), and no other.

    Raises:
        ValueError: the mask does not fit, or has more axes.
    """
    ready = as_mask(mask)
    if ready is not None and ready._valid.shape == shape[:2]:
        return ready
    known = fitting_mask(mask, shape, name, *arguments)
    if len(known._valid.shape) > 2:
        raise ValueError(
            f"mask of {name % arguments if arguments else name} must have shape (batch, time), not "
            f"{known.shape}: TimeDistributed gives each step its own mask"
        )
    return known
