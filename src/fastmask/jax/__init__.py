"""LSTM, GRU and simple RNN for JAX that compute only the steps that exist, on the CPU.

Functions of arrays, for flax, equinox and JAX code of your own, with reverse-mode gradients; they
work in jit, grad, vmap, scan and checkpoint.

This module imports jax; `import fastmask` does not.
"""

try:
    import jax as _jax  # noqa: F401 - only to say what is missing
except ModuleNotFoundError as error:
    if error.name != "jax":
        raise
    raise ModuleNotFoundError("fastmask.jax needs JAX: pip install jax", name="jax") from error

from fastmask_kernels.names import dir_of

from ._functions import gru, lstm, rnn

__all__ = ["gru", "lstm", "rnn"]

__dir__ = dir_of(__name__)
