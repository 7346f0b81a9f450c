"""Drop-in LSTM, GRU and RNN for PyTorch that compute only the steps that exist.

The modules take the constructor arguments of torch.nn's, have the same state_dict and give the
same results, on padded batches with a mask of any shape and on packed sequences alike. `Recurrent`
does the same for the cells of `fastmask.cell`.

This module imports torch; `import fastmask` does not.
"""

try:
    import torch as _torch  # noqa: F401 - only to say what is missing
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ModuleNotFoundError(
        "fastmask.torch needs PyTorch: pip install torch", name="torch"
    ) from error

from fastmask_kernels.names import dir_of

from ._convert import convert
from ._modules import GRU, LSTM, RNN
from ._own_cells import Recurrent
from ._sampler import StepsBatchSampler
from ._skipped import skip_numpy as _skip_numpy

__all__ = ["GRU", "LSTM", "RNN", "Recurrent", "StepsBatchSampler", "convert"]

__dir__ = dir_of(__name__)

_skip_numpy()
