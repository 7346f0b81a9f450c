"""The compiled handler, and what Python does for it on a cache miss.

Python then computes the call, and makes an entry by which compiled code computes the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import numpy as np

from fastmask_kernels import JitDisabledError
from fastmask_kernels import cells as formulas

from .._typing import Array
from ..backends.changes import tell_changes_to
from ..backends.layer import BACKWARD, Layer, layer_of
from ..backends.table import kernels
from ..backends.threads import threads_of_process
from . import _ffi
from ._pages import ADVICE, PAGE, advise_address

_TABLE = "fastmask_kernels.cpu"
_CELLS = {"LSTM": formulas.lstm, "SimpleRNN": formulas.simple_rnn}
_GRUS = {True: formulas.gru, False: formulas.gru_reset_before}


def handler_of(host: _ffi.Host) -> int:
    """The address of the handler: compiled code, or Python if nothing can be compiled."""
    try:
        state = import_module(f"{_TABLE}.xla.state")
    except JitDisabledError:
        return _ffi.address_of(lambda frame: _ffi.handle(frame, host))

    def ask(frame: int, key: int, count: int, made: int) -> int | None:
        def compute(words: str, outputs: Sequence[Array], inputs: Sequence[Array]) -> None:
            if count == _FAILED:
                raise RuntimeError(
                    "a thread of this call failed; FASTMASK_NUM_THREADS=1 shows the error"
                )
            host(words, outputs, inputs)
            if count > 0:
                with suppress(Exception):  # the results are there; Python computes the next ones
                    entry = _entry(words, outputs, inputs, _ffi.read_words(key, count))
                    _ffi.write_word(made, entry)

        return _ffi.handle(frame, compute)

    def count_threads() -> None:
        count = 0
        with suppress(ValueError):  # a bad environment variable; calls raise the error in Python
            if kernels().__name__ == _TABLE:
                count = threads_of_process()
        state.set_threads(count)

    address: int = state.start(_ffi.address_of(ask, 4), advise_address(), ADVICE, PAGE)
    tell_changes_to(count_threads)
    return address


_FAILED = (1 << 64) - 1  # -1 as an unsigned integer


def _entry(
    words: str, outputs: Sequence[Array], inputs: Sequence[Array], key: Sequence[int]
) -> int:
    """The address of a new entry for the handler's table; 0 if Python has to compute such calls."""
    way, _, spelled = words.partition(" ")
    layer, x = layer_of(spelled), inputs[0]
    units = inputs[2].shape[1]
    if 0 in (*x.shape, units):
        return 0
    making = import_module(f"{_TABLE}.xla.making")
    form = making.Form(**_known(layer, way == BACKWARD, outputs, inputs), threads=key[1])
    address, kept, most_threads = making.make_entry(form, np.array(key, np.int64))
    import_module(f"{_TABLE}.xla.state").keep(kept, most_threads)
    return int(address)


def _known(
    layer: Layer, backward: bool, outputs: Sequence[Array], inputs: Sequence[Array]
) -> dict[str, Any]:
    """The fields of `Form`, except the number of threads."""
    cell, x, mask = layer.cell, inputs[0], inputs[1]
    kernel = inputs[2 + cell.states]
    units = inputs[2].shape[1]
    return {
        "cell": _CELLS.get(layer.kind) or _GRUS[layer.reset_after],
        "backward": backward,
        "sizes": (*x.shape, units),
        "dtype": x.dtype,
        "columns": kernel.shape[1],
        "activations": layer.activations,
        "bias_rows": 1 + layer.reset_after if cell.bias_rows > 1 else 0,
        "gates": cell.gates_saved,
        "masked": mask.shape == x.shape[:2],
        "last": not layer.return_sequences,
        "saves": not backward and len(outputs) > 1 + cell.states,
        "reverse": layer.go_backwards,
        "zero_masked": layer.zero_masked,
        "largest": max(output.nbytes for output in outputs),
    }
