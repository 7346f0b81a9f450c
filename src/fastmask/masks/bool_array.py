"""Lets a mask be used wherever a bool array of NumPy's can."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from .._typing import Array, Bools, DTypeLike

# All that a read-only array has to answer; what changes an array, or its memory, is left out.
_LIKE_ARRAYS = (
    "T all any argmax argmin argsort astype choose clip compress copy cumprod cumsum diagonal dot "
    "flags flat flatten item itemsize mT max mean min nbytes nonzero prod ravel repeat reshape "
    "searchsorted squeeze std strides sum swapaxes take tobytes tolist trace transpose var "
    "view".split()
)


class BoolArray(NDArrayOperatorsMixin):
    """Base of classes with a read-only bool array: operators, NumPy functions, array methods."""

    __slots__ = ()

    def _array(self) -> Bools:
        """The array, on the host."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self._array())

    def __bool__(self) -> bool:
        return bool(self._array())  # NumPy's own answer: an error, for more than one step

    def __getitem__(self, key: Any) -> Any:
        return self._array()[key]

    def __iter__(self) -> Iterator[Bools]:
        return iter(self._array())

    def __contains__(self, value: object) -> bool:
        return value in self._array()

    if TYPE_CHECKING:  # type checkers do not see the properties below

        def __getattr__(self, name: str) -> Any: ...

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        valid = self._array()
        if dtype is None or np.dtype(dtype) == valid.dtype:
            return valid.copy() if copy else valid
        if copy is False:
            raise ValueError(f"a mask cannot be seen as {np.dtype(dtype)} without a copy")
        return valid.astype(dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any(isinstance(one, BoolArray) for one in kwargs.get("out", ())):
            raise TypeError("a mask is read-only: write mask = mask & other, not mask &= other")
        if isinstance(kwargs.get("where"), BoolArray):
            kwargs["where"] = kwargs["where"]._array()
        arrays = [one._array() if isinstance(one, BoolArray) else one for one in inputs]
        return getattr(ufunc, method)(*arrays, **kwargs)


def _property_of_arrays(name: str) -> property:
    summary = (getattr(np.ndarray, name).__doc__ or "").strip().partition("\n")[0]
    return property(lambda self: getattr(self._array(), name), doc=summary)


# No `__getattr__`, which would slow down all look-ups of attributes.
for _name in filter(partial(hasattr, np.ndarray), _LIKE_ARRAYS):
    setattr(BoolArray, _name, _property_of_arrays(_name))
