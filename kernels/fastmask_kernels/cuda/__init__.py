"""Every kernel for CUDA devices, compiled by Numba for the GPU at hand.

Arrays are objects with `__cuda_array_interface__`: of numba, CuPy or torch. Import this module
only where kernels run: it imports numba-cuda, which `pip install "numba-cuda[cu13]"` installs with
the libraries of CUDA 13.

Besides the kernels of the table, which `__all__` lists, it has

    kernels_of      the kernels of any cell, such as one made by `fastmask.cell`
    check_indices   wait, and raise if a call met a bad index or plan
    on_device       make a device the current one
    use_stream      launch on the caller's stream
    use_memory      let the array library allocate scratch memory
    use_products    let another library compute the products over all valid steps
    use_weights     multiply recurrent weights in float32, tf32 or bfloat16
    chosen_weights  what `use_weights` has chosen

`help(fastmask_kernels.cuda.use_stream)` and so on tell more.
"""

from ..names import dir_of
from .gather import gather_rows
from .masks import mask_any_not_equal, mask_from_lengths, mask_not_equal, plan_steps
from .padding import pad_rows, unpad_rows
from .products import use_products as use_products
from .rnn.gru import gru_bwd, gru_fwd, gru_pack, gru_packed_size, gru_step
from .rnn.kernels import kernels_of as kernels_of
from .rnn.kernels import (
    lstm_bwd,
    lstm_fwd,
    lstm_pack,
    lstm_packed_size,
    lstm_step,
    rnn_bwd,
    rnn_fwd,
    rnn_pack,
    rnn_packed_size,
    rnn_step,
)
from .rnn.weights import chosen_weights as chosen_weights
from .rnn.weights import use_weights as use_weights
from .runtime.device import use_memory as use_memory
from .runtime.driver import on_device as on_device
from .runtime.driver import use_stream as use_stream
from .runtime.errors import check_indices as check_indices
from .softmax import masked_softmax

__all__ = [
    "gather_rows",
    "gru_bwd",
    "gru_fwd",
    "gru_pack",
    "gru_packed_size",
    "gru_step",
    "lstm_bwd",
    "lstm_fwd",
    "lstm_pack",
    "lstm_packed_size",
    "lstm_step",
    "mask_any_not_equal",
    "mask_from_lengths",
    "mask_not_equal",
    "masked_softmax",
    "pad_rows",
    "plan_steps",
    "rnn_bwd",
    "rnn_fwd",
    "rnn_pack",
    "rnn_packed_size",
    "rnn_step",
    "unpad_rows",
]

_SETTINGS = "check_indices on_device use_stream use_memory use_products use_weights"
__dir__ = dir_of(
    __name__, "kernels_of", "chosen_weights", *_SETTINGS.split(), "runtime", "simulator"
)
