"""Every kernel for the CPU, compiled by Numba for the processor at hand.

Import this module only where kernels run: it imports numba.
"""

from numba.core import config

from .. import JitDisabledError

if config.DISABLE_JIT:
    raise JitDisabledError

from .. import cells as _cells
from ..memory import aligned_empty
from ..names import dir_of
from .forms import dense_kernels as dense_kernels
from .forms import kernels_in_form as kernels_in_form
from .forms import sums_of_rows as sums_of_rows
from .gather import gather_rows
from .masks import mask_any_not_equal, mask_from_lengths, mask_not_equal, plan_steps
from .padding import pad_rows, unpad_rows
from .quantized.weights import rounded_rows as rounded_rows
from .rnn.cells import kernels_of as kernels_of
from .rnn.gru import gru_kernels
from .softmax import masked_softmax
from .training import training_of as training_of

lstm_packed_size, lstm_pack, lstm_fwd, lstm_bwd, lstm_step = kernels_of(_cells.lstm)
gru_packed_size, gru_pack, gru_fwd, gru_bwd, gru_step = gru_kernels()
rnn_packed_size, rnn_pack, rnn_fwd, rnn_bwd, rnn_step = kernels_of(_cells.simple_rnn)

__all__ = [
    "aligned_empty",
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

__dir__ = dir_of(__name__, "kernels_of")
