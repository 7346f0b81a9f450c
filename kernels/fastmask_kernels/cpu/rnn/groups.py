"""Groups of rows: which ones a thread works on at a time, and where it keeps their states.

A call's own memory grows with the rows that its threads have in hand, not with those of the
batch: a thread takes a group, walks it to its end, and takes the next one. What rows have in
scratch memory stands in slots. The longest rows, whose last steps all threads share, have slots
in common, one a rank; besides, each thread has as many as a group has rows.

Groups are dealt from windows of neighbouring ranks, whose rows are about equally long, and often
neighbours in memory too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..jit import inner

GROUP_BYTES = 1 << 20  # of a group's scratch: what a core's own cache holds
GROUP_ROWS = 256  # of a group at least, so that weights are not read too often


class Groups(NamedTuple):
    """How the rows of a batch are dealt; plain numbers, for compiled kernels too."""

    number: int  # of groups; one of them where all steps are common, which only begins
    dealt: int  # groups of one window
    window: int  # ranks of a window
    rows: int  # most rows of a group, and a thread's own slots
    common: int  # ranks with slots in common, which are the first ones

    def slots(self, threads: int) -> int:
        """Places for states that a call needs."""
        return self.common + threads * self.rows

    @property
    def most(self) -> int:
        """Most rows that a thread has in hand, in its group or in the common steps."""
        return max(self.rows, self.common)


def deal(rows: int, dealt: int, common: int, row_bytes: int) -> Groups:
    """Decide how large groups are.

    Args:
        rows: of the batch.
        dealt: how many groups there are at least; 0 where all rows have slots in common.
        common: most ranks with slots in common.
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
    """List the rows of a group of the `rows` of a batch; returns how many they are.

    Behind the last group come the rows with slots in common. Rows of a window are dealt there
    and back again so that the lengths of groups even out.
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
