"""Arrays of Numba's CUDA simulator for NumPy's functions, as CuPy's arrays are on a GPU.

They are in host memory, but as on a GPU they are not copied to NumPy arrays silently, and not
combined with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from ..._typing import Array


class SimulatedArray(NDArrayOperatorsMixin):
    """An array on the simulated device.

    Args:
        array: the NumPy array that holds the values.
    """

    def __init__(self, array: Array | np.generic) -> None:
        self._array = np.asarray(array)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self._array.__array_interface__, "version": 3}

    def __array__(self, *_args: object, **_options: object) -> Any:
        raise TypeError("an array on a GPU is not copied to the host silently")

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *args: object, **options: object
    ) -> Any:
        return _wrapped(getattr(ufunc, method)(*_plain(args), **_plain(options)))

    def __array_function__(
        self,
        function: Callable[..., Any],
        types: object,
        args: tuple[Any, ...],
        options: dict[str, Any],
    ) -> Any:
        return _wrapped(function(*_plain(args), **_plain(options)))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        found = getattr(self._array, name)
        if not callable(found):
            return _wrapped(found)
        return lambda *args, **options: _wrapped(found(*_plain(args), **_plain(options)))

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, key: Any) -> Any:
        return _wrapped(self._array[_plain(key)])

    def __setitem__(self, key: Any, value: object) -> None:
        self._array[_plain(key)] = _plain(value)


class SimulatedLibrary:
    """See `Library`."""

    name = "numba's simulator"
    multiply = None

    def stream(self, device: int) -> int:
        """The only one."""
        return 0

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], like: object) -> Any:
        return SimulatedArray(np.empty(shape, dtype))


def _plain(value: object) -> Any:
    if isinstance(value, SimulatedArray):
        return value._array
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError("an array of the host was given together with one on a GPU")
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value


def _wrapped(value: object) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return SimulatedArray(value)
    if isinstance(value, (list, tuple)):
        return type(value)(map(_wrapped, value))
    return value
