"""Stand-ins for GPU array libraries, over the memory of the simulator's one device.

`CupyLike` behaves like CuPy's arrays: NumPy's functions compute with it, but none silently copies
it to the host or mixes it with a NumPy array. `NumbaLike` has nothing but memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from fastmask.backends.cuda import register
from fastmask_kernels.cuda.runtime import device as _device


class NumbaLike:
    """Memory with a shape and a dtype."""

    __module__ = "numbalike"

    def __init__(self, array: Any) -> None:
        self.array = np.asarray(array)
        self.shape, self.dtype, self.ndim = self.array.shape, self.array.dtype, self.array.ndim

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self.array.__array_interface__, "version": 3}

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, key: Any) -> Any:
        return type(self)(self.array[key])

    def __array__(self, *_args: Any, **_kwargs: Any) -> Any:
        raise TypeError("an array on a GPU was about to be copied to the host")

    @property
    def address(self) -> int:
        return int(self.array.__array_interface__["data"][0])


class CupyLike(NumbaLike, NDArrayOperatorsMixin):
    """An array that NumPy's functions compute with."""

    __module__ = "cupylike"

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        assert not {"where", "initial"} & set(options), "CuPy knows neither where= nor initial="
        return _wrapped(getattr(ufunc, method)(*_plain(inputs), **_plain(options)))

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return _wrapped(function(*_plain(args), **_plain(options)))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(self.array, name)
        if not callable(found):
            return _wrapped(found)

        def method(*args: Any, **options: Any) -> Any:
            assert not {"where", "initial"} & set(options), "CuPy knows neither where= nor initial="
            return _wrapped(found(*_plain(args), **_plain(options)))

        return method

    def __setitem__(self, key: Any, value: Any) -> None:
        self.array[_plain(key)] = _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, CupyLike):
        return value.array
    if type(value) is np.ndarray and value.ndim:
        raise TypeError("an array of NumPy's was given together with one on a GPU")
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(one) for one in value)
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value


def _wrapped(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.floating, np.bool_, np.integer)):
        return CupyLike(value)
    if isinstance(value, (list, tuple)):
        return type(value)(map(_wrapped, value))
    return value


class StandIn:
    """An array library that counts what is asked of it."""

    def __init__(self, kind: type[NumbaLike], multiplies: bool) -> None:
        self.name, self.kind = kind.__name__, kind
        self.multiply = self._multiply if multiplies else None
        self.current, self.allocated, self.products = 0, 0, 0

    def stream(self, device: int) -> int:
        assert device == 0
        return self.current

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], like: Any) -> Any:
        assert isinstance(like, self.kind)
        self.allocated += 1
        full = np.nan if np.dtype(dtype).kind == "f" else 1
        return self.kind(np.full(shape, full, dtype))

    def _multiply(
        self, out: Any, a: Any, b: Any, transpose_a: bool, transpose_b: bool, accumulate: bool
    ) -> None:
        self.products += 1
        assert _device.stream_of_launch() == self.current
        out, a, b = (_seen(one) for one in (out, a, b))
        product = (a.T if transpose_a else a) @ (b.T if transpose_b else b)
        out[...] = out + product if accumulate else product


def _seen(array: Any) -> np.ndarray[Any, Any]:
    view = _device.view_of(array, "array")
    assert view.flags.c_contiguous
    assert view.ndim == 2
    return _device.host_view(view, view.dtype).reshape(view.shape)


CUPY, NUMBA = StandIn(CupyLike, True), StandIn(NumbaLike, False)
register("cupylike", CUPY)
register("numbalike", NUMBA)
