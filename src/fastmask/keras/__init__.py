"""Live Keras models whose recurrent layers compute only the steps that exist.

`convert(model)` replaces the loop over time of the model's LSTM, GRU and SimpleRNN layers, and
nothing else: layers, weights, optimizer, `compile`d state, saved files and clones stay Keras's own.

This module imports keras; `import fastmask` does not.
"""

try:
    import keras as _keras  # noqa: F401 - only to say what is missing
except ModuleNotFoundError as error:
    missing = error.name
    if missing == "keras":
        needed = "Keras: pip install keras"
    elif missing in ("tensorflow", "jax", "torch"):
        needed = (
            f"Keras's backend {missing}, which is not installed: install it, or set "
            "KERAS_BACKEND to one that is (torch, jax or tensorflow) before Keras is imported"
        )
    else:
        raise
    raise ModuleNotFoundError(f"fastmask.keras needs {needed}", name=missing) from error

from fastmask_kernels.names import dir_of

from ._convert import convert, revert
from ._loop import enabled, plain
from ._wanted import why_not

__all__ = ["convert", "enabled", "plain", "revert", "why_not"]

__dir__ = dir_of(__name__)
