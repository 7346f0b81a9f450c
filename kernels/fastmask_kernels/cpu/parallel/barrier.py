"""How threads share one time loop.

While many rows are active each thread takes groups of rows and runs its own loop, with no
barrier. When few are left all threads share each step's panels: each has the same part of them,
its share, in every step, so that its weights stay in its own cache. Shares whose threads have not
come are taken over by those that wait for them: none waits for a thread that has not started.

(A barrier with fixed shares was measured 40 times slower beside a busy neighbour: whoever
waited spent its time slice waiting for one that was not running.)

`control` is an int64 array of counters: the next group, groups done; then together, for they
seldom change: whether something failed, how often a thread gave its processor away for want of
others, the next of the rows that are shared out at the end, rows done; and from SHARES on, for
each share, the last phase that it was claimed for, that its own thread keeps it for, that it was
finished for, and whether that thread is here. A phase is one round over all panels. What
different threads write is a cache line apart. A thread that has finished its share keeps it for
the next phase, so that from then on it claims nothing, and a step costs it one message.

Threads that outnumber the processors free for them make each step as long as the system's
time slice. So when threads had to give their processor away some times, helpers leave the
common steps, and the caller goes on without waiting for them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..jit import inner
from .atomics import atomic_add, atomic_load, atomic_replace, atomic_store, spin_hint, yield_thread

NEXT_GROUP, ABORTED, YIELDS, NEXT_ROW, SHARES = 0, 16, 17, 18, 24
# These and NONE are handed to functions, which literals would compile once for each.
GROUPS_DONE, ROWS_DONE = np.int64(8), np.int64(19)
CLAIMED, KEPT, FINISHED, HERE, SHARE_WORDS = 0, 1, 16, 17, 32  # of a share
SPINS = 64  # about a microsecond
PATIENCE = 16  # rounds of spinning before the processor is given away
WORK_A_SPIN = 1000  # multiply-adds that a thread does meanwhile
MOST_YIELDS = 8  # after which helpers leave

NONE, DONE, LEAVE = np.int64(-1), -2, -3  # instead of a share


class Team(NamedTuple):
    """Who works on it together; alone if members == 1."""

    control: Any  # int64: the shared counters
    z: Any  # real: gates of a block of steps, of all panels
    member: int
    members: int


def control_size(members: int) -> int:
    """Elements of `control`; it begins as zeros."""
    return SHARES + members * SHARE_WORDS


@inner
def share_end(team: Any, share: int, panels: int) -> int:
    """The panel behind a share's last one; it begins where the share before it ends."""
    return int((share + 1) * panels // team.members)


@inner
def there_and_back(begin: int, place: int, end: int, phase: int) -> int:
    """The panel at a place in the order of a phase.

    Every other phase walks a share from its end, for the weights used last are those that the
    cache still holds.
    """
    return begin + end - 1 - place if phase % 2 else place


@inner
def is_to_leave(control: Any, member: int) -> bool:
    """Whether a helper is to go, or has gone from the common steps before their end."""
    return bool(member > 0 and atomic_load(control, YIELDS) > MOST_YIELDS)


@inner
def _claim(control: Any, share: int, phase: int) -> bool:
    place = SHARES + share * SHARE_WORDS + CLAIMED
    return bool(atomic_replace(control, place, phase - 1, phase))


@inner
def announce(team: Any, phase: int, share: int) -> None:
    """Tell the others that a share is finished; one's own is at once claimed for the next phase.

    They begin that phase when they see this one finished, and so cannot claim it in between.
    """
    if team.members > 1:
        control, place = team.control, SHARES + share * SHARE_WORDS
        if share == team.member:
            control[place + KEPT] = phase + 1
            atomic_store(control, place + CLAIMED, phase + 1)
        atomic_store(control, place + FINISHED, phase)


@inner
def next_share(team: Any, phase: int, computed: int, work: int) -> int:
    """The next share of this phase for this thread, DONE, or LEAVE where a helper is to go.

    `computed` is the share that this thread has just computed in this phase, or NONE: it gets
    its own first. Waiting for the others it takes over what they have not begun. `work` is a
    share's number of multiply-adds: one that is begun may last as long once more.
    """
    member, members = team.member, team.members
    if members == 1:
        return DONE if computed == 0 else 0
    control, place = team.control, SHARES + member * SHARE_WORDS
    if computed == NONE:
        kept = control[place + KEPT] == phase
        if is_to_leave(control, member):
            if kept:
                atomic_store(control, place + CLAIMED, phase - 1)
            atomic_store(control, place + HERE, 0)
            return LEAVE
        if kept or _claim(control, member, phase):
            return int(member)
    spins, patience = 0, SPINS * PATIENCE + work // WORK_A_SPIN
    while True:
        ready = True
        for share in range(members):
            place = SHARES + share * SHARE_WORDS
            if atomic_load(control, place + FINISHED) < phase:
                ready = False
                late = spins >= SPINS or atomic_load(control, place + HERE) == 0
                if late and _claim(control, share, phase):
                    return share
        if ready or atomic_load(control, ABORTED) != 0:
            return DONE
        spin_hint()
        spins += 1
        if spins > patience and spins % SPINS == 0:
            atomic_add(control, YIELDS, 1)
            yield_thread()


@inner
def arrive(control: Any, member: int) -> None:
    """Tell the others that this thread is here."""
    atomic_store(control, SHARES + member * SHARE_WORDS + HERE, 1)


@inner
def wait_for(control: Any, counter: int, goal: int) -> None:
    """Return when a counter has come to its goal."""
    rounds = 0
    while atomic_load(control, counter) < goal and atomic_load(control, ABORTED) == 0:
        for _ in range(SPINS):
            spin_hint()
        rounds += 1
        if rounds > PATIENCE:
            yield_thread()
