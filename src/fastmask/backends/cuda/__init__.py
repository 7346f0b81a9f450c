"""Arrays on a GPU: whose they are, and the same computations on them as on NumPy's.

Nothing here imports a library of arrays that the caller has not imported, nor numba before a
kernel runs. Inside, an array is the `DeviceArray` of `fastmask_kernels.cuda`: an address with
NumPy's shape and dtype, whose `owner` is the array that came. What goes out is of the same kind.
"""

from .libraries import Library, library_of, register

__all__ = ["Library", "library_of", "register"]
