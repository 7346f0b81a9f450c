"""Bad indices, which only the device sees, reported to the host without making it wait.

A kernel that meets one writes its place, with the number of the call, to a word in the host's
memory, which every device can write to. The host reads that word before it starts the next kernel
of the thread, and raises then; `check_indices` waits and reads it. Rows that do not exist become
NaN among floats, else zeros; foreign memory is never read.

A thread has one word and its own numbers for calls, so it is told of its own calls only.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import driver as _driver
from .device import OPEN, DeviceArray

CALLS = 4096  # remembered by a thread, more than a device lets wait on a stream
LATE = "told by the device after the call of {}"
_CHUNK = 512  # words that are asked of the driver at once

_lock = threading.Lock()
_unused: list[NDArray[np.int64]] = []


def _new_word() -> NDArray[np.int64]:
    """One word of the host's memory, as an array; threads do not give theirs back."""
    with _lock:
        if not _unused:
            _unused.extend(np.split(_driver.host_words(_CHUNK), _CHUNK))
        return _unused.pop()


class _Reports(threading.local):
    """What a thread may be told."""

    word: NDArray[np.int64] | None = None  # place * CALLS + number of the call; 0 for nothing
    calls = 0

    def __init__(self) -> None:
        self.messages: list[str] = [""] * CALLS


_reports = _Reports()


def expect(message: str, device: int) -> tuple[DeviceArray, int]:
    """Prepare to be told of a bad index of one call.

    Args:
        message: of the error, with {place} where the place of the index belongs.
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
    """Do nothing where no bad index was told of; waits for nothing.

    Raises:
        ValueError: an earlier call of this thread met a bad index.
    """
    if _reports.word is None:
        return
    told = int(_reports.word[0])
    if told:
        _reports.word[0] = 0
        place, call = divmod(told, CALLS)
        raise ValueError(_reports.messages[call].format(place=place))


def check_indices() -> None:
    """Wait for the current stream, and raise where a call of this thread met a bad index.

    Raises:
        ValueError: an id of `gather_rows`, a step of `unpad_rows` or an offset of `pad_rows` led
            nowhere, in a call of this thread that was not told of yet.
    """
    _driver.require_device()
    _driver.wait()
    raise_found()


def filler(dtype: np.dtype[Any], word: np.dtype[Any]) -> int:
    """What fills rows that do not exist, as words: NaN among floats, else 0."""
    return int(np.iinfo(word).max) if dtype.kind in "fc" else 0
