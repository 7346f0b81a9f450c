"""`checked` for recurrent kernels, which also looks at their plan: offsets, steps and order.

Only the device sees a plan, and the host does not wait for it. One block checks the plan and copies
it; what follows reads the copy. Instead of arrays that are no plan it writes one without steps, so
that nothing is read outside of any array, and reports what is wrong, see `runtime.errors`. Layers
and torch modules make their plans themselves and call `unchecked`, which copies nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numba import cuda

from ...checks import TableFunction
from ...plans import words_of
from ...spec import Kernel
from ..ops import inlined, meet_block
from ..runtime.checks import checked as checked_arguments
from ..runtime.device import DeviceArray, empty
from ..runtime.errors import CALLS, LATE, expect, raise_found
from ..runtime.kernel import LARGE_BLOCK, int32, int64, pointer, single, threads_for


def checked(function: Callable[..., None], kernel: Kernel | None = None) -> TableFunction:
    """As `runtime.checks.checked`."""
    name = function.__name__ if kernel is None else kernel.name
    return checked_arguments(function, kernel, partial(_checked_plan, name))


def _checked_plan(
    name: str, offsets: DeviceArray, steps: DeviceArray, order: DeviceArray, time: int
) -> tuple[DeviceArray, DeviceArray, DeviceArray]:
    """A copy of the plan of rows of `time` steps, or a plan without steps if it is none.

    Args:
        name: of the kernel, for the report.
        offsets: (B + 1,), see `spec`.
        steps: (P,).
        order: (B,).
        time: T.

    Raises:
        ValueError: an earlier call of this thread met a bad index or plan.
    """
    raise_found()

    def message(fault: int) -> str:
        return f"{words_of(fault)} ({LATE.format(name)})"

    rows, room = order.size, steps.size
    memory, copies, start = empty(2 * rows + 1 + room, np.int64, offsets.device), [], 0
    for size in (rows + 1, room, rows):
        place = memory.address + start * memory.dtype.itemsize
        copies.append(
            DeviceArray(place, (size,), memory.dtype, memory.device, memory.flags, memory)
        )
        start += size
    _copy_plan.launch(
        *(1, threads_for(max(rows, room), LARGE_BLOCK), (offsets, steps, order), tuple(copies)),
        *(expect(message, offsets.device), (rows, time, room)),
    )
    return copies[0], copies[1], copies[2]


# Each of the following looks for one fault; `at` is the thread, and `ahead` how many there are.
# Several threads may find the same fault and write the same number.
@inlined
def _check_offsets(plan: Any, sizes: Any, found: Any, at: int, ahead: int) -> None:
    offsets, (rows, _, room) = plan[0], sizes
    if at == 0 and (offsets[0] != 0 or offsets[rows] > room):
        found[0] = 1
    while at < rows:
        if offsets[at + 1] < offsets[at]:
            found[0] = 1
        at += ahead


@inlined
def _invert_order(plan: Any, ranks: Any, rows: int, found: Any, at: int, ahead: int) -> None:
    """ranks[row]: a rank that `order` gives the row to."""
    order = plan[2]
    while at < rows:
        if 0 <= order[at] < rows:
            ranks[order[at]] = at
        else:
            found[0] = 2
        at += ahead


@inlined
def _check_order(plan: Any, ranks: Any, rows: int, found: Any, at: int, ahead: int) -> None:
    """A row that is there twice keeps one of its ranks only."""
    order = plan[2]
    while at < rows:
        if ranks[order[at]] != at:
            found[0] = 2
        at += ahead


@inlined
def _check_lengths(plan: Any, rows: int, found: Any, at: int, ahead: int) -> None:
    offsets, order = plan[0], plan[2]
    at += 1
    while at < rows:
        before, row = order[at - 1], order[at]
        if offsets[row + 1] - offsets[row] > offsets[before + 1] - offsets[before]:
            found[0] = 3
        at += ahead


@inlined
def _check_steps(plan: Any, sizes: Any, found: Any, at: int, ahead: int) -> None:
    offsets, steps, (rows, time, _) = plan[0], plan[1], sizes
    while at < offsets[rows]:
        step = steps[at]
        if 0 <= step < rows * time:
            row = step // time
            if at < offsets[row] or at >= offsets[row + 1] or (at > 0 and steps[at - 1] >= step):
                found[0] = 4
        else:
            found[0] = 4
        at += ahead


@inlined
def _agreed(found: Any) -> Any:
    """The fault that threads of the block have found; 0 only if none has.

    A thread that is late may read what another finds in the next check, which is a fault as well.
    """
    meet_block()
    return found[0]


_PLAN = (pointer(int64),) * 3


@single(_PLAN, _PLAN, (pointer(int64), int64), (int64, int64, int64))
def _copy_plan(plan: Any, copies: Any, report: Any, sizes: Any) -> None:
    (offsets, steps, order), (new_offsets, new_steps, new_order) = plan, copies
    (told, call), rows = report, sizes[0]
    found = cuda.shared.array(1, int32)
    at, ahead = int64(cuda.threadIdx.x), cuda.blockDim.x
    if at == 0:
        found[0] = 0
    meet_block()
    _check_offsets(plan, sizes, found, at, ahead)
    if _agreed(found) == 0:
        _invert_order(plan, new_order, rows, found, at, ahead)
    if _agreed(found) == 0:
        _check_order(plan, new_order, rows, found, at, ahead)
    if _agreed(found) == 0:
        _check_lengths(plan, rows, found, at, ahead)
    if _agreed(found) == 0:
        _check_steps(plan, sizes, found, at, ahead)
    fault = _agreed(found)
    if fault != 0 and at == 0:
        told[0] = fault * CALLS + call
    b = at
    while b <= rows:
        new_offsets[b] = offsets[b] if fault == 0 else 0
        if b < rows:
            new_order[b] = order[b] if fault == 0 else b
        b += ahead
    p = at
    while fault == 0 and p < offsets[rows]:
        new_steps[p] = steps[p]
        p += ahead
