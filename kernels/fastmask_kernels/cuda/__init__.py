"""Every kernel for CUDA devices, compiled by Numba for the GPU at hand.

Arrays are whatever has `__cuda_array_interface__`: of numba, CuPy or torch. Import this module
only where kernels run: it imports numba-cuda, which `pip install "fastmask-rnn[cuda]"` brings.
"""

from ._device import use_stream
from .gather import gather_rows
from .masks import mask_any_not_equal, mask_from_lengths, mask_not_equal, plan_steps
from .padding import pad_rows, unpad_rows
from .softmax import masked_softmax

__all__ = [
    "gather_rows",
    "mask_any_not_equal",
    "mask_from_lengths",
    "mask_not_equal",
    "masked_softmax",
    "pad_rows",
    "plan_steps",
    "unpad_rows",
    "use_stream",
]
