"""From an array to the kernel column that computes on it, and to the form kernels take.

Kernels want native-endian, C-contiguous, aligned arrays of the dtypes in their specification.
Everything else that NumPy can hold is converted here, or refused by name.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import numpy as np

from fastmask_kernels import JitDisabledError
from fastmask_kernels.forks import IMPORTING, ForkSafeLock

from .._typing import Array, Ints
from . import cuda as _gpu

_COLUMNS = ("cpu", "reference")
_VARIABLE = "FASTMASK_KERNELS"
FLOAT32, FLOAT64, INT64 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)
_column: Any = None
_importing = ForkSafeLock(IMPORTING)  # a child could not import what its parent has begun to


def kernels() -> Any:
    """The column of the kernel table for NumPy arrays, imported when first needed."""
    return _column or _chosen_column()


def _chosen_column() -> Any:
    name = os.environ.get(_VARIABLE)
    if name is not None:
        return use_column(name)
    try:
        return use_column("cpu")
    except JitDisabledError:  # people set that to measure coverage, or to debug
        return use_column("reference")


def use_column(name: str) -> Any:
    """Compute with the column `name` from now on; tests compare columns with it."""
    global _column
    if name not in _COLUMNS:
        raise ValueError(f"{_VARIABLE} must be one of {', '.join(_COLUMNS)}, not {name!r}")
    with _importing:
        _column = import_module(f"fastmask_kernels.{name}")
    return _column


def real_array(value: Any, name: str, dtype: np.dtype[Any] | None = None) -> Array:
    """`value` as a kernel takes real numbers; on a GPU see `fastmask.backends.cuda`.

    Args:
        value: array or nested lists of any real dtype.
        name: the argument's name, for the error message.
        dtype: float32 or float64 to convert to; without it these two stay as they are and
            integers, booleans and float16 become float32, as in Keras.

    Returns:
        `value` itself where it already fits, else a converted copy.

    Raises:
        TypeError: it does not hold real numbers.
        ValueError: its rows differ in length.
    """
    if type(value) is not np.ndarray and _gpu.on_gpu(value):
        view: Array = _gpu.real_array(value, name, dtype)
        return view
    array = as_array(value, name)
    own = array.dtype
    if dtype is None:
        dtype = FLOAT64 if own.kind == "f" and own.itemsize >= 8 else FLOAT32
    if own is not dtype and own != dtype:
        if own.kind not in "fiub":
            raise no_numbers(array, name)
        return np.require(array, dtype, ["C", "A"])
    return _as_kernels_take_it(array)


def number_array(value: Any, name: str) -> Array:
    """`value` as kernels take numbers of any real dtype, which it keeps.

    Raises:
        TypeError: it does not hold real numbers.
        ValueError: its rows differ in length.
    """
    if type(value) is not np.ndarray and _gpu.on_gpu(value):
        view: Array = _gpu.number_array(value, name)
        return view
    array = as_array(value, name)
    if array.dtype.kind not in "fiub":
        raise no_numbers(array, name)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return _as_kernels_take_it(array)


def integer_array(value: Any, name: str) -> Ints:
    """`value` as int64; floats only where every one of them is a whole number.

    Args:
        value: array or nested lists of integers.
        name: the argument's name, for the error message.

    Returns:
        int64, C-contiguous; `value` itself where it already fits.

    Raises:
        TypeError: it does not hold numbers.
        ValueError: a number is not whole or not in the range of int64, or rows differ in length.
    """
    if type(value) is not np.ndarray and _gpu.on_gpu(value):
        view: Ints = _gpu.integer_array(value, name)
        return view
    array = as_array(value, name)
    if array.dtype == INT64:
        return _as_kernels_take_it(array)
    kind = array.dtype.kind
    if kind not in "iufb":
        raise no_numbers(array, name, "integers")
    if kind == "f":
        array = array.astype(np.float64, copy=False)
        whole = (np.abs(array) < 2.0**63) & (np.trunc(array) == array)
        if not whole.all():
            raise ValueError(f"{name} must hold integers, but it holds {array[~whole][0]}")
    elif kind == "u" and array.dtype.itemsize == 8 and array.size and array.max() >= 2**63:
        raise ValueError(f"{name} holds {array.max()}, more than int64 can hold")
    return np.require(array, np.int64, ["C", "A"])


def _as_kernels_take_it(array: Array) -> Array:
    """`array` C-contiguous and aligned."""
    flags = array.flags
    if flags.c_contiguous and flags.aligned:
        return array
    return np.require(array, None, ["C", "A"])  # a microsecond, even where there is nothing to do


def as_array(value: Any, name: str) -> Array:
    """`value` as a NumPy array of whatever dtype it has; one of CuPy's stays what it is.

    Raises:
        TypeError: it is a masked array of numpy.ma, whose mask would be lost; or it is on a GPU
            and not of CuPy; or NumPy cannot hold it, such as a tensor in bfloat16.
        ValueError: its rows differ in length.
    """
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ndarray) and type(value).__module__.startswith("numpy.ma"):
        raise TypeError(f"{name} is a numpy.ma array: pass its data, and its mask as mask=")
    if _gpu.on_gpu(value):
        if _gpu.speaks_numpy(value):
            on_gpu: Array = value
            return on_gpu
        raise TypeError(f"{name} must be an array on the host, not {_kind(value)} on a GPU")
    try:
        return np.asarray(value)
    except ValueError as error:
        if not isinstance(value, (list, tuple)):
            raise
        raise ValueError(
            f"{name} must be an array, but its rows differ in shape (fastmask.pad pads them)"
        ) from error
    except (TypeError, RuntimeError) as error:  # torch's, of dtypes, gradients and layouts
        if _kind(value).startswith("fastmask."):  # which say themselves what they are
            raise
        what = f"{_kind(value)} ({value.dtype})" if hasattr(value, "dtype") else _kind(value)
        raise TypeError(f"{name} must be what NumPy can hold, not {what}: {error}") from error


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__name__}"


def no_numbers(array: Array, name: str, wanted: str = "real numbers") -> TypeError:
    """The error for an array, called `name`, that does not hold what is wanted."""
    such = ""
    if array.dtype.kind in "OSU" and array.size:
        such = f" such as {array.ravel()[:1].tolist()[0]!r:.80}"
    return TypeError(f"{name} must hold {wanted}, not dtype {array.dtype}{such}")
