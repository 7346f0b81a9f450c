"""Recurrent layers that compute only the steps that exist.

A mask (batch, time) says which steps of a padded batch are valid; fastmask's layers make masks,
carry them along, and compute on the valid steps alone, with exactly Keras's semantics.
Importing this package imports neither Numba nor any framework.
"""

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastmask_kernels.names import dir_of

from . import activations, initializers, layers, losses, metrics, ops, utils
from ._names import no_such_name
from ._version import __version__
from .backends.folding import get_fold_limit, set_fold_limit
from .backends.threads import get_num_threads, set_num_threads
from .data import ragged
from .loaders import load_model, save_model
from .masks.mask import Mask
from .masks.masked import Masked, get_mask
from .masks.padding import pad, pad_sequences, unpad
from .masks.picture import plot_masks
from .masks.ragged import Ragged
from .models import Input, Model, Sequential
from .models.trace import trace_masks

__all__ = [
    "Input",
    "Mask",
    "Masked",
    "Model",
    "Predictor",
    "Ragged",
    "Sequential",
    "__version__",
    "activations",
    "cell",
    "cells",
    "get_fold_limit",
    "get_mask",
    "get_num_threads",
    "initializers",
    "layers",
    "load_model",
    "losses",
    "metrics",
    "ops",
    "pad",
    "pad_sequences",
    "plot_masks",
    "ragged",
    "save_model",
    "set_fold_limit",
    "set_num_threads",
    "trace_masks",
    "unpad",
    "utils",
]

_HINTS = {
    "jax": "import fastmask.jax",
    "keras": "import fastmask.keras",
    "saving": "it is fastmask.load_model, and fastmask.save_model",
}
for _module in (activations, layers, losses, metrics, ops, utils):
    vars(_module)["__getattr__"] = partial(no_such_name, _module.__name__)
    vars(_module)["__dir__"] = dir_of(_module.__name__)

__dir__ = dir_of(__name__, "jax", "keras", "models", "torch")  # the frameworks once imported

if TYPE_CHECKING:
    from . import cells
    from .cells import cell
    from .tables.predictor import Predictor
else:  # type checkers would allow every name of the package otherwise

    def __getattr__(name: str) -> Any:
        """Import cells, `Predictor` and `fastmask.torch` when they are first used."""
        if name == "Predictor":
            return import_module(".tables.predictor", __name__).Predictor
        if name in ("cell", "cells"):
            found = import_module(".cells", __name__)
            return found if name == "cells" else found.cell
        if name != "torch":
            if name not in _HINTS:
                no_such_name(__name__, name)
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}: {_HINTS[name]}")
        try:
            return import_module(".torch", __name__)
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise AttributeError(str(error)) from error
