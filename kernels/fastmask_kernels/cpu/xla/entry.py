"""Entries: what a call from an XLA program needs besides its arrays, as words in memory."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..jit import inner
from ..rnn.transpose import pointer_at
from .native import numbers_at

# The state that compiled code shares with Python: words at the symbol STATE.
THREADS = 0  # the most that a call may use; 0 if other kernels are in use, and Python computes
QUEUE, QUEUE_SIZE = 1, 2  # address and size, in words, of the pool's queue
PYTHON = 3  # the address of the function that computes calls without an entry
ADVISE, ADVICE, PAGE = 4, 5, 6  # the address of madvise or 0, the advice, the page size
ENTRIES = 8  # the number of entries in the table
TABLE = 16  # where the hash table begins: addresses of entries, 0 in free places
TABLE_SIZE = 1 << 12
STATE = "fastmask_xla"

SHORTEST = 4 << 20  # bytes of an output from which large pages pay, NumPy's bound


class Entry(NamedTuple):
    """One call: what the handler needs, then what forward and backward need.

    Sizes count elements. Parts of the workspace are given by their offsets in bytes.
    """

    digest: int  # the key's hash
    words: int  # the key's length
    key: int  # the key's address
    compute: int  # addresses of compiled functions
    plan: int
    pack: int
    kernel: int
    memory: int  # bytes of workspace
    large: int  # whether an output is worth large pages
    rows: int  # B, T, F, H
    time: int
    features: int
    units: int
    states: int
    columns: int  # of the kernel matrix
    sums: int  # per unit
    bias_rows: int  # of a GRU's bias, see `add_biases`; 0 if kernels take the bias as it is
    masked: int
    last: int  # whether only the last output is wanted
    saves: int
    gates: int  # blocks of H columns saved for each step, besides states
    reverse: int
    zero_masked: int
    products: int  # `gates` of `make_schedule`
    weight_bytes: int
    threads: int  # at most
    table: int  # address and size, see `packs`
    table_size: int
    parts: int
    packed_size: int
    recurrent_size: int  # of U^T, the first of backward's packs
    variants: int  # address and number of variants, see `Variant`
    variants_number: int
    work: int  # operations per valid step for the gradients of the weights and of x
    gates_width: int  # columns of dZ
    inputs_width: int  # of these the first, from which dX is computed
    offsets: int  # from here on, parts of the workspace
    steps: int
    order: int
    starts: int
    integers: int
    control: int
    arguments: int
    bias: int
    dlast: int
    dz: int
    packed: int
    reals: int


class Variant(NamedTuple):
    """One way to share a call among threads: schedule and sizes; the kernel's numbers follow."""

    threads: int
    groups: int
    common: int
    phases: int  # of backward, see `gate_gradients`
    reals: int  # sizes of these parts of the workspace
    integers: int
    items: int  # address and size of the work items, see `step_products`
    items_size: int


WORD = 8
NUMBERS = len(Variant._fields)  # where the kernel's numbers begin
MOST_NUMBERS = 32
VARIANT_WORDS = NUMBERS + MOST_NUMBERS

_all_words = numbers_at(len(Entry._fields))
_variant_words = numbers_at(NUMBERS)


@inner
def read_entry(words: Any) -> Any:
    """Read an entry from memory."""
    return Entry(*_all_words(words, 0, 0))


@inner
def variant_at(words: Any, entry: Any, number: int) -> Any:
    """A variant's words."""
    return pointer_at(words, entry.variants + number * VARIANT_WORDS * WORD)


@inner
def find_variant(words: Any, entry: Any, schedule: Any, phases: int) -> int:
    """The index of the variant for a schedule; -1 if there is none."""
    for number in range(entry.variants_number):
        known = read_variant(variant_at(words, entry, number))
        if (
            known.threads == schedule.threads
            and known.groups == schedule.groups
            and known.common == schedule.common
            and known.phases == phases
        ):
            return number
    return -1


@inner
def read_variant(words: Any) -> Any:
    """Read a variant from memory."""
    return Variant(*_variant_words(words, 0, 0))
