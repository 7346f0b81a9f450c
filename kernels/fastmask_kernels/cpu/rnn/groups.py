"""Groups of rows: which ones a thread works on at a time, and where it keeps their states.

Scratch memory grows with the rows that threads work on at a time, not with the batch: a thread
takes a group, runs it to its end, and takes the next one. The scratch memory of a row is a slot.
The longest rows, whose last steps all threads share, have common slots, one for each rank; each
thread has as many slots of its own as a group has rows.

Groups are dealt from windows of neighboring ranks, whose rows are about equally long, and often
neighbors in memory too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..jit import inner

GROUP_BYTES = 1 << 20  # most of a group's scratch: what a core's own cache holds
GROUP_ROWS = 256  # allowed in any case, so that weights are not read too often


class Groups(NamedTuple):
    """How the rows of a batch are dealt; plain numbers, for compiled kernels too."""

    number: int  # of groups; if all steps are common, one that only loads initial states
    dealt: int  # groups of one window
    window: int  # ranks of a window
    rows: int  # most rows of a group, and a thread's own slots
    common: int  # how many ranks, from the first one on, have common slots

    def slots(self, threads: int) -> int:
        """Slots that a call needs."""
        return self.common + threads * self.rows

    @property
    def most(self) -> int:
        """Most rows that a thread works on at a time, in its group or in the common steps."""
        return max(self.rows, self.common)


def deal(rows: int, dealt: int, common: int, row_bytes: int) -> Groups:
    """Decide how large groups are.

    Args:
        rows: B.
        dealt: least number of groups; 0 if all rows have common slots.
        common: most ranks with common slots.
        row_bytes: scratch memory that a row of a group takes.
    """
    common = min(rows, common)
    if dealt == 0:
        return Groups(1, 1, rows, 0, common)
    most = max(GROUP_ROWS, GROUP_BYTES // row_bytes)
    windows = max(1, -(-rows // (dealt * most)))
    window = -(-rows // windows)
    return Groups(windows * dealt, dealt, window, -(-window // dealt), common)


@inner
def take_group(
    batch: Any, scratch: Any, groups: Any, number: int, rows: int, thread: int, stride: int
) -> int:
    """List the rows of a group, of a batch of `rows` rows; returns how many there are.

    After the last group come the rows with common slots. The rows of a window are dealt back and
    forth, so that the lengths of groups even out.
    """
    first, part, dealt = number // groups.dealt * groups.window, number % groups.dealt, groups.dealt
    rows = min(groups.window, rows - first)
    if number >= groups.number:
        first, part, dealt, rows = 0, 0, 1, groups.common
    own = groups.common + thread * groups.rows
    taken = 0
    for i in range(-(-rows // dealt)):
        place = i * dealt + (part if i % 2 == 0 else dealt - 1 - part)
        if place < rows:
            rank = first + place
            row = batch.order[rank]
            scratch.row[taken] = row
            scratch.first[taken] = batch.offsets[row]
            scratch.count[taken] = batch.offsets[row + 1] - batch.offsets[row]
            scratch.state[taken] = (rank if rank < groups.common else own + taken) * stride
            taken += 1
    return taken
