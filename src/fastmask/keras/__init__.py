"""Live Keras models whose recurrent layers compute only the steps that exist.

`convert(model)` replaces the loop over time of the model's LSTM, GRU and SimpleRNN layers, and
nothing else: layers, weights, optimizer, `compile`d state, saved files and clones stay Keras's own.

This module imports keras; `import fastmask` does not.
"""

try:
    import keras as _keras  # noqa: F401 - only to say what is missing
except ModuleNotFoundError as error:
    if error.name != "keras":
        raise
    raise ModuleNotFoundError(
        "fastmask.keras needs Keras: pip install keras", name="keras"
    ) from error

from ._convert import convert, revert
from ._loop import enabled, plain
from ._wanted import why_not

__all__ = ["convert", "enabled", "plain", "revert", "why_not"]
