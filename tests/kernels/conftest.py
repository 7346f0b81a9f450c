"""What tests of several kernels share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def own_pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the test its own thread pool, and check afterwards that the pool lost nothing."""
    from fastmask_kernels.cpu.parallel import pool as _pool
    from fastmask_kernels.cpu.parallel.queue import INSIDE, OPEN, SLOTS, TAKEN, slot_start

    from .shared_calls import wait_until

    monkeypatch.setattr(_pool, "pool", _pool.Pool())
    yield
    pool = _pool.pool
    starts = list(map(slot_start, range(SLOTS)))
    wait_until(lambda: not any(pool.queue[start + INSIDE] for start in starts))
    pool.forget()
    # However its calls ended, all slots are free again, and no arguments are kept.
    assert not any(pool.queue[start + place] for start in starts for place in (TAKEN, OPEN))
    assert not pool.calls
    assert not pool.ended
