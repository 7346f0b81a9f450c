"""Helper threads for kernels that share their work among threads.

Numba's own thread pools either abort when two Python threads enter them at once (workqueue)
or do not survive a fork (GNU OpenMP). Here the calling thread works, and offers shares of
the work to helpers. Kernels hand out their work by claims (see `recurrent`), so it makes no
difference how many helpers come, or when: a busy or a missing helper costs time, never a
result, and a call does not wait for helpers that have nothing in hand.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue


class _Offer:
    """A share of work that a helper may take while the caller still needs help."""

    __slots__ = ("work",)

    def __init__(self, work: Callable[[int], None] | None) -> None:
        self.work = work


class _Helpers:
    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[_Offer, int]] = SimpleQueue()
        self._started = 0
        self._lock = threading.Lock()

    def offer(self, offer: _Offer, shares: int) -> None:
        """Offer shares 1 to `shares`."""
        if self._started < shares:
            with self._lock:
                while self._started < shares:
                    name = f"fastmask-{self._started}"
                    threading.Thread(target=self._help, name=name, daemon=True).start()
                    self._started += 1
        for share in range(1, shares + 1):
            self._queue.put((offer, share))

    def _help(self) -> None:
        while True:
            offer, share = self._queue.get()
            work = offer.work
            del offer
            if work is not None:
                work(share)
            del work  # keep no array alive while waiting


_helpers = _Helpers()


def _forget_helpers() -> None:
    global _helpers
    _helpers = _Helpers()  # a forked process has none of its parent's threads


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)


def run_shared(work: Callable[[int], None], members: int) -> None:
    """Call work(0) here and offer work(1) to work(members - 1) to helpers.

    Args:
        work: returns when all the work is done that its member can see; must not raise in
            a helper.
        members: how many threads may take part.
    """
    offer = _Offer(work)
    _helpers.offer(offer, members - 1)
    try:
        work(0)
    finally:
        offer.work = None
