"""What is known of a call from an XLA program before its arrays, as words in memory."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..jit import inner
from ..rnn.transpose import pointer_at
from .native import numbers_at

# What compiled code asks Python, and tells it: words at the name of `state`.
THREADS = 0  # how many a call may use; 0 where the kernels are not these, and Python computes
QUEUE, QUEUE_SIZE = 1, 2  # the address of the pool's queue, and its words
PYTHON = 3  # the address of the function that computes what is not known
ADVISE, ADVICE, PAGE = 4, 5, 6  # the address of madvise or 0, its argument, bytes of a page
ENTRIES = 8  # how many there are in the table that follows
TABLE = 16  # where the table begins: addresses of entries, 0 for none
TABLE_SIZE = 1 << 12
STATE = "fastmask_xla"

SHORTEST = 4 << 20  # bytes of an output that is worth large pages, as NumPy has it


class Entry(NamedTuple):
    """What is known, first for the handler, then for forward and backward.

    Sizes are elements. Parts of the call's own memory begin so many bytes behind its first one.
    """

    digest: int  # of the key
    words: int  # of the key
    key: int  # its address
    compute: int  # addresses of compiled functions
    plan: int
    pack: int
    kernel: int
    memory: int  # bytes that the call needs of its own
    large: int  # whether an output is worth large pages
    rows: int  # B, T, F, H
    time: int
    features: int
    units: int
    states: int
    columns: int  # of the kernel
    sums: int  # of a unit
    bias_rows: int  # 0 where the bias is as the kernel adds it, otherwise see `add_biases`
    masked: int
    last: int  # whether the outputs are the last one alone
    saves: int
    gates: int  # blocks of H columns that are saved of each step besides states
    reverse: int
    zero_masked: int
    products: int  # see `make_schedule`, there "gates"
    weight_bytes: int
    threads: int  # at most
    table: int  # address and size, see `packs`
    table_size: int
    parts: int
    packed_size: int
    recurrent_size: int  # of U^T, at the beginning of the packs of backward
    variants: int  # address and number of `Variant`
    variants_number: int
    work: int  # that a valid step adds to the weights' gradients
    gates_width: int  # columns of dZ
    inputs_width: int  # of them those that are multiplied with x
    offsets: int  # from here on parts of the memory
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
    """A way to share a call, by its schedule, and what it needs; then the kernel's numbers."""

    threads: int
    groups: int
    common: int
    phases: int  # of backward, see `gate_gradients`
    reals: int  # sizes
    integers: int
    items: int  # address and size of what `step_products` has
    items_size: int


WORD = 8
NUMBERS = len(Variant._fields)  # where the numbers begin
MOST_NUMBERS = 32
VARIANT_WORDS = NUMBERS + MOST_NUMBERS

_all_words = numbers_at(len(Entry._fields))
_variant_words = numbers_at(NUMBERS)


@inner
def read_entry(words: Any) -> Any:
    """The entry in memory."""
    return Entry(*_all_words(words, 0, 0))


@inner
def variant_at(words: Any, entry: Any, number: int) -> Any:
    """The words of a variant."""
    return pointer_at(words, entry.variants + number * VARIANT_WORDS * WORD)


@inner
def find_variant(words: Any, entry: Any, schedule: Any, phases: int) -> int:
    """The number of the variant for a schedule; below 0 where there is none."""
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
    """The variant in memory."""
    return Variant(*_variant_words(words, 0, 0))
