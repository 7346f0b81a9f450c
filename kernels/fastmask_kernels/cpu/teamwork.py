"""How threads share one time loop.

While many rows are active each thread takes groups of rows and runs its own loop, with no
barrier. When few are left all threads share each step's panels. A thread claims what it
computes, group or panel, and takes over what another has not begun: none waits for a thread
that has not started, or that the system has put aside before it claimed something.

(A barrier with fixed shares was measured 40 times slower beside a busy neighbour: whoever
waited spent its time slice waiting for one that was not running.)

`control` is an int64 array of counters, a cache line apart: the next group, groups done,
panels done; then together, for they seldom change: whether something failed, how many helpers
are here, how often a thread gave its processor away for want of others, the next of the rows
that are shared out at the end, rows done; and from CLAIMS on the last phase that each panel was
claimed for. A phase is one round over all panels.

Threads that outnumber the processors free for them make each step as long as the system's
time slice. So when threads had to give their processor away some times, helpers leave the
common steps, and the caller goes on without waiting for them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ._compile import inner
from .atomics import atomic_add, atomic_load, atomic_replace, spin_hint, yield_thread

NEXT_GROUP, GROUPS_DONE, PANELS_DONE, ABORTED, HELPERS, YIELDS, CLAIMS = 0, 8, 16, 24, 25, 26, 32
NEXT_ROW, ROWS_DONE = 27, 28
SPINS = 64  # about a microsecond
PATIENCE = 16  # rounds of spinning before the processor is given away
MOST_YIELDS = 8  # after which helpers leave

DONE, LEAVE = -1, -2  # instead of a panel


class Team(NamedTuple):
    """Who works on it together; alone if members == 1."""

    control: Any  # int64: the shared counters
    z: Any  # real: gates of a block of steps, of all panels
    member: int
    members: int


@inner
def _there_and_back(begin: int, place: int, end: int, phase: int) -> int:
    return begin + end - 1 - place if phase % 2 else place


@inner
def is_to_leave(control: Any, member: int) -> bool:
    """Whether a helper is to go, or has gone from the common steps before their end."""
    return bool(member > 0 and atomic_load(control, YIELDS) > MOST_YIELDS)


@inner
def next_panel(team: Any, mine: Any, phase: int, panels: int) -> int:
    """The next panel of this phase for this thread, DONE, or LEAVE where a helper is to go.

    `mine` holds the thread's place in its own share of the panels, and how many panels it has
    finished but not yet announced. Every other phase walks the share from its end, for the
    weights used last are those that the cache still holds. Waiting for the others a thread
    takes over what they have not begun.
    """
    begin = team.member * panels // team.members
    end = (team.member + 1) * panels // team.members
    mine[0] = max(mine[0] + 1, begin)
    if team.members == 1:
        return DONE if mine[0] == end else _there_and_back(begin, mine[0], end, phase)
    control = team.control
    if mine[0] == begin and atomic_load(control, PANELS_DONE) >= phase * panels:
        return DONE  # the others went on without this thread
    if mine[0] == begin and is_to_leave(control, team.member):
        atomic_add(control, HELPERS, -1)
        return LEAVE
    while mine[0] < end:
        panel = _there_and_back(begin, mine[0], end, phase)
        if atomic_replace(control, CLAIMS + panel, phase - 1, phase):
            mine[1] += 1
            return int(panel)
        mine[0] += 1
    if mine[1] > 0:
        atomic_add(control, PANELS_DONE, mine[1])
        mine[1] = 0
    rounds = 0
    while atomic_load(control, PANELS_DONE) < phase * panels:
        if atomic_load(control, ABORTED) != 0:
            return DONE
        if atomic_load(control, HELPERS) > 0:
            for _ in range(SPINS):
                spin_hint()
                if atomic_load(control, PANELS_DONE) >= phase * panels:
                    return DONE
        for panel in range(panels):
            if atomic_load(control, CLAIMS + panel) == phase - 1 and atomic_replace(
                control, CLAIMS + panel, phase - 1, phase
            ):
                mine[1] += 1
                return int(panel)
        rounds += 1
        if rounds > PATIENCE:
            atomic_add(control, YIELDS, 1)
            yield_thread()
    return DONE


@inner
def arrive(control: Any, member: int) -> None:
    """Tell the others that this thread is here."""
    if member > 0:
        atomic_add(control, HELPERS, 1)


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
