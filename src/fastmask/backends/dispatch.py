"""Choose the backend of an array, and convert arrays to what its kernels take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeGuard

import numpy as np

from .._typing import FLOAT32, FLOAT64, INT64, Array, ArrayLike, Ints
from .base import ArrayBackend
from .host import HOST
from .looked_up import LookedUp

_READY = 0x101  # C-contiguous and aligned in `flags.num`: three times as fast as by name
_cuda: Any = None


def backend_of(array: object) -> ArrayBackend[Any]:
    """The backend of an array; the host's for anything that is not an array."""
    if type(array) is np.ndarray:
        return HOST  # a shortcut for the usual case
    return _cuda_backend() if _on_gpu(array) else HOST


def backend_for(inputs: Any) -> ArrayBackend[Any]:
    """The backend of an array, or of a list of arrays: the first that is not the host's, if any."""
    if type(inputs) is np.ndarray:
        return HOST
    if not isinstance(inputs, (list, tuple)):
        return backend_of(inputs)
    each = map(backend_for, inputs)
    return next((one for one in each if one is not HOST), HOST)


def all_on_host(arrays: Iterable[object]) -> bool:
    """Whether the backend of all arrays is the host's."""
    return set(map(type, arrays)) <= {np.ndarray}


def is_array(value: object) -> TypeGuard[Array]:
    """Whether it is an array of a backend, rather than something to make one of."""
    return isinstance(value, (np.ndarray, LookedUp)) or _on_gpu(value)


def _on_gpu(value: object) -> bool:
    kind = type(value)
    if not hasattr(kind, "__cuda_array_interface__"):
        return hasattr(kind, "__cuda_ndarray__")  # Numba's simulator has this one
    try:  # the class of torch tensors has it, but tensors on the CPU do not
        return hasattr(value, "__cuda_array_interface__")
    except RuntimeError:  # tensors that require gradients
        return True


def _cuda_backend() -> ArrayBackend[Any]:
    global _cuda
    if _cuda is None:
        from .cuda.backend import Cuda

        _cuda = Cuda()
    found: ArrayBackend[Any] = _cuda
    return found


def real_array(value: ArrayLike, name: str, dtype: np.dtype[Any] | None = None) -> Array:
    """`value` as an array of real numbers that kernels take.

    Args:
        value: array or nested lists of any real dtype.
        name: the argument's name, for the error message.
        dtype: float32 or float64 to convert to; without it these two stay as they are and
            integers, booleans and float16 become float32, as in Keras.

    Returns:
        `value` itself if it fits already, else a converted copy. For an array on a GPU that NumPy
        cannot compute with, a view for kernels.

    Raises:
        TypeError: it does not hold real numbers.
        ValueError: its rows differ in length.
    """
    if type(value) is np.ndarray:
        own = value.dtype
        known = own is FLOAT32 or own is FLOAT64 if dtype is None else own is dtype
        if known and value.flags.num & _READY == _READY:
            return value  # a shortcut for the usual case
    real: Array = backend_of(value).real_array(value, name, dtype)
    return real


def number_array(value: ArrayLike, name: str) -> Array:
    """`value` as an array that kernels take, in its own real dtype.

    Raises:
        TypeError: it does not hold real numbers.
        ValueError: its rows differ in length.
    """
    numbers: Array = backend_of(value).number_array(value, name)
    return numbers


def integer_array(value: ArrayLike, name: str) -> Ints:
    """`value` as int64; floats only where every one of them is a whole number.

    On a GPU floats are refused: to see whether all are whole numbers, the host would have to wait.

    Args:
        value: array or nested lists of integers.
        name: the argument's name, for the error message.

    Returns:
        int64, C-contiguous; `value` itself where it already fits.

    Raises:
        TypeError: it does not hold numbers.
        ValueError: a number is not whole or not in the range of int64, or rows differ in length.
    """
    if type(value) is np.ndarray and value.dtype is INT64 and value.flags.num & _READY == _READY:
        return value
    integers: Ints = backend_of(value).integer_array(value, name)
    return integers


def as_array(value: Any, name: str) -> Array:
    """`value` as a NumPy array of its own dtype; CuPy arrays are returned as they are.

    Raises:
        TypeError: it is a masked array of numpy.ma, whose mask would be lost; or it is on a GPU
            and not a CuPy array; or NumPy cannot hold it, such as a tensor in bfloat16.
        ValueError: its rows differ in length.
    """
    return value if type(value) is np.ndarray else backend_of(value).as_array(value, name)
