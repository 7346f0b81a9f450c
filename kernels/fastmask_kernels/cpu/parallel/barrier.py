"""How threads share one time loop.

While many rows are active each thread takes groups of rows and runs its own loop, with no
barrier. When few are left all threads share each step's panels: a thread has the same chunk of
them in every step, so that its weights stay in its own cache. Waiting threads take over the
chunks of threads that have not arrived: nobody waits for a thread that has not started.

(A barrier with fixed chunks was measured 40 times slower beside a busy process: threads spent
their time slices waiting for one that was not running.)

`control` is an int64 array of counters: the next group, and groups done; then, side by side
because they seldom change, whether something failed, how often a waiting thread yielded its
processor, the next of the rows that are dealt out at the end, and rows done. From CHUNKS on, each
chunk has the last phase that it was claimed for, that its own thread keeps it for, and that it was
finished for, and whether that thread has arrived. A phase is one round over all panels. Words that
different threads write are a cache line apart. A thread that has finished its chunk keeps it for
the next phase: from then on it claims nothing, and a step costs it one message.

If threads outnumber the free processors, each step takes as long as the system's time slice. So
once threads have yielded a few times, workers leave the common steps, and the caller goes on
without them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..jit import inner
from .atomics import atomic_add, atomic_load, atomic_replace, atomic_store, spin_hint, yield_thread

NEXT_GROUP, ABORTED, YIELDS, NEXT_ROW, CHUNKS = 0, 16, 17, 18, 24
# Typed, as is NONE: functions that take them would compile once more for each literal.
GROUPS_DONE, ROWS_DONE = np.int64(8), np.int64(19)
CLAIMED, KEPT, FINISHED, HERE, CHUNK_WORDS = 0, 1, 16, 17, 32  # of a chunk
SPINS = 64  # about a microsecond
PATIENCE = 16  # rounds of spinning before a thread yields its processor
WORK_A_SPIN = 1000  # multiply-adds that a thread does in the time of a spin
MOST_YIELDS = 8  # after which workers leave

NONE, DONE, LEAVE = np.int64(-1), -2, -3  # instead of a chunk


class Team(NamedTuple):
    """The threads that work on something together, seen from one of them."""

    control: Any  # int64: the shared counters
    z: Any  # real: gates of a block of steps, of all panels
    thread: int  # this one's number; 0 is the caller
    threads: int  # how many there are


def control_size(threads: int) -> int:
    """Elements of `control`; it begins as zeros."""
    return CHUNKS + threads * CHUNK_WORDS


@inner
def chunk_end(team: Any, chunk: int, panels: int) -> int:
    """The panel after a chunk's last one; a chunk begins where the one before it ends."""
    return int((chunk + 1) * panels // team.threads)


@inner
def zigzag(begin: int, place: int, end: int, phase: int) -> int:
    """The panel at a place in the order of a phase.

    Every other phase goes through a chunk backwards: the cache still holds the weights that were
    used last.
    """
    return begin + end - 1 - place if phase % 2 else place


@inner
def is_to_leave(control: Any, thread: int) -> bool:
    """Whether a worker must leave, or has left, the common steps before their end."""
    return bool(thread > 0 and atomic_load(control, YIELDS) > MOST_YIELDS)


@inner
def _claim(control: Any, chunk: int, phase: int) -> bool:
    place = CHUNKS + chunk * CHUNK_WORDS + CLAIMED
    return bool(atomic_replace(control, place, phase - 1, phase))


@inner
def announce(team: Any, phase: int, chunk: int) -> None:
    """Tell the others that a chunk is finished, and claim one's own for the next phase.

    The others begin that phase when they see this one finished, so they cannot claim it first.
    """
    if team.threads > 1:
        control, place = team.control, CHUNKS + chunk * CHUNK_WORDS
        if chunk == team.thread:
            control[place + KEPT] = phase + 1
            atomic_store(control, place + CLAIMED, phase + 1)
        atomic_store(control, place + FINISHED, phase)


@inner
def next_chunk(team: Any, phase: int, computed: int, work: int) -> int:
    """The next chunk of this phase for this thread, DONE, or LEAVE if a worker must go.

    `computed` is the chunk that this thread has just computed in this phase, or NONE: then it
    gets its own. While it waits for the others it takes over chunks that they have not begun.
    `work` is a chunk's number of multiply-adds: a waiting thread allows for as much again.
    """
    thread, threads = team.thread, team.threads
    if threads == 1:
        return DONE if computed == 0 else 0
    control, place = team.control, CHUNKS + thread * CHUNK_WORDS
    if computed == NONE:
        kept = control[place + KEPT] == phase
        if is_to_leave(control, thread):
            if kept:
                atomic_store(control, place + CLAIMED, phase - 1)
            atomic_store(control, place + HERE, 0)
            return LEAVE
        if kept or _claim(control, thread, phase):
            return int(thread)
    spins, patience = 0, SPINS * PATIENCE + work // WORK_A_SPIN
    while True:
        ready = True
        for chunk in range(threads):
            place = CHUNKS + chunk * CHUNK_WORDS
            if atomic_load(control, place + FINISHED) < phase:
                ready = False
                overdue = spins >= SPINS or atomic_load(control, place + HERE) == 0
                if overdue and _claim(control, chunk, phase):
                    return chunk
        if ready or atomic_load(control, ABORTED) != 0:
            return DONE
        spin_hint()
        spins += 1
        if spins > patience and spins % SPINS == 0:
            atomic_add(control, YIELDS, 1)
            yield_thread()


@inner
def arrive(control: Any, thread: int) -> None:
    """Tell the others that this thread has arrived."""
    atomic_store(control, CHUNKS + thread * CHUNK_WORDS + HERE, 1)


@inner
def wait_for(control: Any, counter: int, goal: int) -> None:
    """Wait until a counter reaches its goal."""
    rounds = 0
    while atomic_load(control, counter) < goal and atomic_load(control, ABORTED) == 0:
        for _ in range(SPINS):
            spin_hint()
        rounds += 1
        if rounds > PATIENCE:
            yield_thread()
