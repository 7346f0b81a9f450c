"""Every kernel in plain NumPy: slow, obvious, and sharing no code with the other backends."""

from ..memory import aligned_empty
from ..names import dir_of
from .cells import kernels_of as kernels_of
from .gather import gather_rows
from .gru import gru_bwd, gru_fwd, gru_pack, gru_packed_size
from .lstm import lstm_bwd, lstm_fwd, lstm_pack, lstm_packed_size
from .masks import mask_any_not_equal, mask_from_lengths, mask_not_equal, plan_steps
from .padding import pad_rows, unpad_rows
from .rnn import rnn_bwd, rnn_fwd, rnn_pack, rnn_packed_size
from .softmax import masked_softmax
from .step import gru_step, lstm_step, rnn_step

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
