"""Results that are kept for the next call, as many as fit in so many bytes."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Made = TypeVar("Made")


def keep(
    most: int, size: Callable[[Any], int]
) -> Callable[[Callable[..., Made]], Callable[..., Made]]:
    """Keep what a function returned for the arguments of its last calls.

    What was not asked for longest goes first. The last result is kept whatever its size, so that
    a program whose arrays are large does not compute it anew in each call.

    Args:
        most: bytes of all results together.
        size: bytes of one result.
    """

    def decorate(make: Callable[..., Made]) -> Callable[..., Made]:
        kept: OrderedDict[Hashable, tuple[Made, int]] = OrderedDict()
        lock = threading.Lock()
        bytes_kept = 0

        @functools.wraps(make)
        def call(*args: Hashable) -> Made:
            nonlocal bytes_kept
            with lock:
                if args in kept:
                    kept.move_to_end(args)
                    return kept[args][0]
            made = make(*args)  # without the lock: others need not wait for it
            with lock:
                if args not in kept:
                    kept[args] = made, size(made)
                    bytes_kept += kept[args][1]
                while bytes_kept > most and len(kept) > 1:
                    _, (_, freed) = kept.popitem(last=False)
                    bytes_kept -= freed
            return made

        return call

    return decorate
