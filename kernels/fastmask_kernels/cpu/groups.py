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

import numpy as np

from ._compile import inner

GROUP_BYTES = 1 << 20  # of a group's scratch: what a core's own cache holds
GROUP_ROWS = 256  # of a group at least, so that weights are not read too often


class Groups(NamedTuple):
    """How the rows of a batch are dealt; plain numbers, for compiled kernels too."""

    number: int  # of groups
    dealt: int  # groups of one window
    window: int  # ranks of a window
    rows: int  # most rows of a group, and a thread's own slots
    common: int  # ranks with slots in common, which are the first ones

    def slots(self, members: int) -> int:
        """Places for states that a call needs."""
        return self.common + members * self.rows

    @property
    def most(self) -> int:
        """Most rows that a thread has in hand, in its group or in the common steps."""
        return max(self.rows, self.common)


def deal(rows: int, dealt: int, common: int, row_bytes: int) -> Groups:
    """Decide how large groups are.

    Args:
        rows: of the batch.
        dealt: how many groups there are at least.
        common: most ranks with slots in common.
        row_bytes: scratch memory that a row of a group takes.
    """
    common = min(rows, common)
    if dealt == 0:
        return Groups(0, 1, 0, 0, common)
    most = max(GROUP_ROWS, GROUP_BYTES // row_bytes)
    windows = max(1, -(-rows // (dealt * most)))
    window = -(-rows // windows)
    return Groups(windows * dealt, dealt, window, -(-window // dealt), common)


@inner
def take_rows(
    batch: Any, scratch: Any, first: int, rows: int, group: int, dealt: int, slots: Any, stride: int
) -> int:
    """List a group's part of the ranks from `first` on; returns how many rows it has.

    They are dealt there and back again so that the lengths of groups even out. `slots` are the
    number of common ones and the first of this thread's own.
    """
    common, own = slots
    taken = 0
    for i in range(-(-rows // dealt)):
        place = i * dealt + (group if i % 2 == 0 else dealt - 1 - group)
        if place < rows:
            rank = first + place
            row = batch.order[rank]
            scratch.row[taken] = row
            scratch.first[taken] = batch.offsets[row]
            scratch.count[taken] = batch.offsets[row + 1] - batch.offsets[row]
            scratch.state[taken] = (rank if rank < common else own + taken) * stride
            taken += 1
    return taken


@inner
def take_group(
    batch: Any, scratch: Any, groups: Any, number: int, rows: int, member: int, stride: int
) -> int:
    """List the rows of a group of the `rows` of a batch; returns how many they are."""
    first = number // groups.dealt * groups.window
    rows = min(groups.window, rows - first)
    slots = (groups.common, groups.common + member * groups.rows)
    return int(
        take_rows(batch, scratch, first, rows, number % groups.dealt, groups.dealt, slots, stride)
    )


@inner
def take_common(batch: Any, scratch: Any, groups: Any, stride: int) -> int:
    """List the rows whose last steps all threads share, which have a slot a rank."""
    zero: Any = np.int64(0)  # a literal would compile take_rows once more
    common = groups.common
    return int(take_rows(batch, scratch, zero, common, zero, zero + 1, (common, common), stride))
