"""Arrays on a GPU: whose they are, and the same computations on them as on NumPy's.

Nothing here imports a library of arrays that the caller has not imported, nor numba before a
kernel runs. Inside, an array is the `DeviceArray` of `fastmask_kernels.cuda`: an address with
NumPy's shape and dtype, whose `owner` is the array that came. What goes out is of the same kind.
"""

from .arrays import any_on_gpu, integer_array, number_array, on_gpu, real_array, speaks_numpy
from .owner import Owner
from .owners import owner_of, register

__all__ = [
    "Owner",
    "any_on_gpu",
    "integer_array",
    "number_array",
    "on_gpu",
    "owner_of",
    "real_array",
    "register",
    "speaks_numpy",
]
