"""torch tensors with the part of NumPy's interface that common layers need.

Where CuPy is not installed, Dense, activations, Masking and the merging of Bidirectional's
outputs use this. Anything else that layers need raises a TypeError that names it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from ..._typing import DTypeLike
from .torch import TorchLibrary

Axes = int | list[int] | tuple[int, ...] | None
_OTHER_NAMES = {"power": "pow", "invert": "bitwise_not", "equal": "eq", "not_equal": "ne"}


class TorchArray(NDArrayOperatorsMixin):
    """A tensor that NumPy's functions compute with.

    Args:
        tensor: the tensor.
    """

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor
        self.shape: tuple[int, ...] = tuple(tensor.shape)
        self.ndim = len(self.shape)
        self.size = math.prod(self.shape)
        self.dtype = np.dtype(str(tensor.dtype).removeprefix("torch."))

    @property
    def __cuda_array_interface__(self) -> Any:
        return self.tensor.__cuda_array_interface__

    @property
    def device(self) -> Any:
        """torch's name of the device."""
        return self.tensor.device

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> TorchArray:
        return TorchArray(self.tensor[_tensors(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.tensor[_tensors(key)] = _tensors(value)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(str(_not_there(f"numpy.ndarray.{name}")))

    def reshape(self, *shape: int | tuple[int, ...]) -> TorchArray:
        """As NumPy's."""
        return TorchArray(self.tensor.reshape(*shape))

    def astype(self, dtype: DTypeLike, order: str = "K", copy: bool = True) -> TorchArray:
        """As NumPy's."""
        cast = self.tensor.to(_torch_dtype(dtype), copy=copy)
        return TorchArray(cast.contiguous() if order == "C" else cast)

    def transpose(self, *axes: int) -> TorchArray:
        """As NumPy's."""
        return TorchArray(self.tensor.permute(*axes))

    def erf(self) -> TorchArray:
        """The error function."""
        return TorchArray(self.tensor.erf())

    def max(self, axis: Axes = None, keepdims: bool = False) -> TorchArray:
        """As NumPy's."""
        return TorchArray(self.tensor.amax(_axes(axis, self.ndim), keepdims))

    def sum(
        self, axis: Axes = None, dtype: DTypeLike | None = None, keepdims: bool = False
    ) -> TorchArray:
        """As NumPy's, but of bools and integers too in `dtype`, or their own."""
        cast = None if dtype is None else _torch_dtype(dtype)
        return TorchArray(self.tensor.sum(_axes(axis, self.ndim), keepdims, dtype=cast))

    def mean(self, axis: Axes = None, keepdims: bool = False) -> TorchArray:
        """As NumPy's."""
        return TorchArray(self.tensor.mean(_axes(axis, self.ndim), keepdims))

    def var(self, axis: Axes = None, keepdims: bool = False) -> TorchArray:
        """As NumPy's."""
        axes = _axes(axis, self.ndim)
        return TorchArray(self.tensor.var(axes, correction=0, keepdim=keepdims))

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: object, out: Any = None, **options: object
    ) -> Any:
        name = ufunc.__name__
        function = getattr(_torch(), _OTHER_NAMES.get(name, name), None)
        if function is None or method != "__call__" or options:
            raise _not_there(f"numpy.{name}")
        result = function(*[self._beside(one) for one in inputs])
        if out is None:
            return TorchArray(result)
        out[0].tensor.copy_(result)
        return out[0]

    def __array_function__(
        self,
        function: Callable[..., Any],
        types: object,
        args: tuple[Any, ...],
        options: dict[str, Any],
    ) -> Any:
        known = _FUNCTIONS.get(function)
        if known is None:
            raise _not_there(f"numpy.{function.__name__}")
        result = known(*_tensors(args), **_tensors(options))
        return TorchArray(result) if hasattr(result, "device") else result

    def _beside(self, value: Any) -> Any:
        """A tensor; a number becomes one without axes, which does not affect the result's dtype."""
        if isinstance(value, TorchArray):
            return value.tensor
        if np.ndim(value):
            raise TypeError("an array of NumPy's was given together with a tensor on a GPU")
        kind = self.tensor.dtype if self.dtype.kind == "f" else None
        return _torch().full((), np.asarray(value).item(), dtype=kind, device=self.tensor.device)


class TorchArrayLibrary(TorchLibrary):
    """torch, for tensors with NumPy's interface."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], like: Any) -> TorchArray:
        return TorchArray(super().empty(shape, dtype, like.tensor))


def _where(condition: Any, x: Any, y: Any) -> Any:
    return _torch().where(condition, x, y if hasattr(y, "dtype") else float(y))


def _concatenate(tensors: Iterable[Any], axis: int = 0) -> Any:
    return _torch().cat(list(tensors), axis)


def _clip(x: Any, low: float, high: float) -> Any:
    return x.clamp(low, high)


def _full(value: int, x: Any, dtype: DTypeLike | None, shape: tuple[int, ...] | None) -> Any:
    kind = x.dtype if dtype is None else _torch_dtype(dtype)
    return x.new_full(tuple(x.shape if shape is None else shape), value, dtype=kind)


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.where: _where,
    np.concatenate: _concatenate,
    np.clip: _clip,
    np.ndim: lambda x: x.ndim,
    np.shape: lambda x: tuple(x.shape),
    np.isneginf: lambda x: x.isneginf(),
    np.moveaxis: lambda x, source, target: x.movedim(source, target),
    np.ones_like: lambda x, dtype=None, shape=None: _full(1, x, dtype, shape),
    np.repeat: lambda x, count, axis: x.repeat_interleave(count, axis),
    np.stack: lambda tensors, axis=0: _torch().stack(list(tensors), axis),
    np.tril: lambda x, k=0: x.tril(k),
    np.zeros_like: lambda x, dtype=None, shape=None: _full(0, x, dtype, shape),
    np.empty_like: lambda x, dtype=None, shape=None: _full(0, x, dtype, shape),
}


def _torch() -> Any:
    return import_module("torch")  # whoever has a tensor has imported it


def _torch_dtype(dtype: DTypeLike) -> Any:
    return getattr(_torch(), np.dtype(dtype).name)


def _axes(axis: Axes, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    return tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)


def _tensors(value: Any) -> Any:
    if isinstance(value, TorchArray):
        return value.tensor
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return type(value)(_tensors(one) for one in value)
    if isinstance(value, dict):
        return {name: _tensors(one) for name, one in value.items()}
    return value


def _not_there(name: str) -> TypeError:
    return TypeError(
        f"{name} of a torch tensor on a GPU is computed by CuPy, which is not installed"
    )
