"""Every kernel for CUDA devices, compiled by Numba for the GPU at hand.

Arrays are whatever has `__cuda_array_interface__`: of numba, CuPy or torch. Import this module
only where kernels run: it imports numba-cuda, which `pip install "fastmask-rnn[cuda]"` brings.
"""

from ._device import use_stream

__all__ = ["use_stream"]
