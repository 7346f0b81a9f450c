"""Arrays on a GPU, of several libraries, and the same computations on them as on NumPy's.

Nothing here imports a library of arrays that the caller has not imported, nor numba before a
kernel runs. Internally, an array is a `DeviceArray` of `fastmask_kernels.cuda`: an address with
NumPy's shape and dtype, whose `owner` is the caller's array. Results are of the same library.
"""

from .libraries import Library, library_of, register

__all__ = ["Library", "library_of", "register"]
