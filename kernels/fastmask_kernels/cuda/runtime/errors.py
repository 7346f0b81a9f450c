"""Reports of bad indices and plans, which only the device sees, without making the host wait.

A kernel that meets one writes its place and the number of the call to a word in host memory, which
every device can write to. The host reads that word before it starts the thread's next kernel, and
raises then; `check_indices` waits and reads it. Rows that do not exist become NaN for floats, else
zeros; a plan that is none becomes one without steps (see `rnn.plans`); memory outside the arrays is
never read.

Each thread has its own word and its own numbering of calls, so it sees only its own errors.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import driver as _driver
from .device import OPEN, DeviceArray

CALLS = 4096  # remembered per thread, more than can be pending on a stream
LATE = "reported by the device after the call of {}"
_CHUNK = 512  # words per allocation

_lock = threading.Lock()
_unused: list[NDArray[np.int64]] = []


def _new_word() -> NDArray[np.int64]:
    """One word of host memory, as an array; threads never return theirs."""
    with _lock:
        if not _unused:
            _unused.extend(np.split(_driver.host_words(_CHUNK), _CHUNK))
        return _unused.pop()


class _Reports(threading.local):
    """The reports of a thread."""

    word: NDArray[np.int64] | None = None  # place * CALLS + number of the call; 0 for nothing
    calls = 0

    def __init__(self) -> None:
        self.messages: list[Callable[[int], str]] = [str] * CALLS


_reports = _Reports()


def expect(message: Callable[[int], str], device: int) -> tuple[DeviceArray, int]:
    """Prepare for the report of a bad index in one call.

    Args:
        message: of the error, from the place of the index.
        device: of the call.

    Returns:
        The word (1,), int64, and a number: the kernel writes place * CALLS + number.
    """
    if _reports.word is None:
        with _driver.on_device(device):
            _reports.word = _new_word()
    _reports.calls = _reports.calls % (CALLS - 1) + 1  # 1 to CALLS - 1
    _reports.messages[_reports.calls] = message
    word = _reports.word
    view = DeviceArray(word.ctypes.data, (1,), word.dtype, device, OPEN, word)
    return view, _reports.calls


def raise_found() -> None:
    """Raise if a bad index was reported; does not wait.

    Raises:
        ValueError: an earlier call of this thread met a bad index or plan.
    """
    if _reports.word is None:
        return
    told = int(_reports.word[0])
    if told:
        _reports.word[0] = 0
        place, call = divmod(told, CALLS)
        raise ValueError(_reports.messages[call](place))


def check_indices() -> None:
    """Wait for the current stream, and raise if a call of this thread met a bad index or plan.

    Raises:
        ValueError: an id of `gather_rows`, a step of `unpad_rows` or an offset of `pad_rows` was
            out of range, or offsets, steps and order of a recurrent kernel were not a plan, in a
            call of this thread that was not reported yet.
    """
    _driver.require_device()
    _driver.wait()
    raise_found()


def filler(dtype: np.dtype[Any], word: np.dtype[Any]) -> int:
    """What fills rows that do not exist, as a word: NaN for floats, else 0."""
    return int(np.iinfo(word).max) if dtype.kind in "fc" else 0
