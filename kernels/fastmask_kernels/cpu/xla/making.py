"""How Python makes the entry for a call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...cells import Cell
from ...memory import CACHE_LINE, address
from ..masks import find_plan
from ..parallel.barrier import control_size
from ..parallel.schedule import ONE_THREAD, Schedule, even_schedule, make_schedule
from ..rnn.activations import CODES
from ..rnn.cells import compiled_of, trained
from ..rnn.gate_gradients import LOOP, PRODUCTS
from ..rnn.packs import pack_parts
from ..rnn.words import OUTS, OUTS_BESIDE_VECTORS
from .backward import backward
from .entry import SHORTEST, VARIANT_WORDS, WORD, Entry, Variant
from .forward import forward

Ints = NDArray[np.int64]
_INT64 = np.dtype(np.int64)


class Form(NamedTuple):
    """What is known about a call before its arrays' elements; some fields are those of `Entry`.

    Attributes:
        cell: LSTM, simple RNN, or one of the two GRUs.
        backward: whether it is the backward pass.
        sizes: B, T, F, H, all above 0.
        dtype: float32 or float64.
        columns: of the kernel matrix.
        activations: their names.
        bias_rows: of a GRU's bias; 0 for others.
        gates: blocks of H columns saved for each step, besides states; 0 for none.
        masked: whether there is a mask.
        last: whether only the last output is wanted.
        saves: whether forward saves what backward needs.
        reverse: see `spec`.
        zero_masked: see `spec`.
        largest: bytes of the largest output.
        threads: at most.
    """

    cell: Cell
    backward: bool
    sizes: tuple[int, int, int, int]
    dtype: np.dtype[Any]
    columns: int
    activations: tuple[str, ...]
    bias_rows: int
    gates: int
    masked: bool
    last: bool
    saves: bool
    reverse: bool
    zero_masked: bool
    largest: int
    threads: int

    @property
    def codes(self) -> tuple[int, int]:
        """The codes of the activations."""
        return CODES[self.activations[0]], CODES[self.activations[-1]]


class _Parts(NamedTuple):
    """The parts of an entry that differ between forward and backward."""

    compute: int
    kernel: int
    products: int
    weight_bytes: int
    packing: Ints  # the table, see `packs`
    parts: int
    packed_size: int
    recurrent_size: int
    ways: list[list[int]]  # the words of each variant, see `Variant`
    kept: list[Ints]


def make_entry(form: Form, key: Ints) -> tuple[int, Sequence[Ints], int]:
    """The address of a new entry, arrays to keep alive with it, and the most threads it uses."""
    rows, time, features, units = form.sizes
    found = _backward_parts(form) if form.backward else _forward_parts(form)
    variants = np.zeros((len(found.ways), VARIANT_WORDS), np.int64)
    for words, known in zip(variants, found.ways, strict=True):
        words[: len(known)] = known
    places, memory = _places(form, found, variants)
    cell = form.cell
    entry = Entry(
        digest=int(key[0]),
        words=len(key),
        key=address(key),
        plan=find_plan.address(_INT64),
        pack=pack_parts.address(form.dtype),
        memory=memory,
        large=int(form.largest >= SHORTEST),
        rows=rows,
        time=time,
        features=features,
        units=units,
        states=len(cell.states),
        sums=len(cell.sums),
        table=address(found.packing),
        table_size=len(found.packing),
        variants=address(variants),
        variants_number=len(variants),
        work=trained(cell)[1].products(features, units),
        gates_width=cell.width * units,
        inputs_width=len(cell.inputs) * units,
        **_of_entry(form),
        **_of_entry(found),
        **places,
    )
    words = np.array(entry, np.int64)
    kept = [words, key, variants, found.packing, *found.kept]
    return address(words), kept, int(variants[:, 0].max())


def _of_entry(known: Form | _Parts) -> dict[str, int]:
    """The fields that an entry has under the same names."""
    return {name: int(value) for name, value in known._asdict().items() if name in Entry._fields}


def _places(form: Form, found: _Parts, variants: Ints) -> tuple[dict[str, int], int]:
    """Where the parts of the workspace begin, each on a cache line; and where the last one ends."""
    (rows, time, _, units), cell, item = form.sizes, form.cell, form.dtype.itemsize
    reals, integers = (variants[:, Variant._fields.index(n)].max() for n in ("reals", "integers"))
    sizes = {
        "offsets": (rows + 1) * WORD,
        "steps": rows * time * WORD,
        "order": rows * WORD,
        "starts": (time + 1) * WORD,
        "integers": int(integers) * WORD,
        "control": control_size(form.threads) * WORD,
        "arguments": (OUTS + 3 * OUTS_BESIDE_VECTORS + 4 * len(cell.states) + 1) * WORD,
        "bias": len(cell.sums) * units * item,
        "dlast": rows * units * item,
        "dz": rows * time * cell.width * units * item if form.backward and not form.gates else 0,
        "packed": found.packed_size * item,
        "reals": int(reals) * item,
    }
    places, end = {}, 0
    for name, size in sizes.items():
        places[name] = end
        end += -(-size // CACHE_LINE) * CACHE_LINE
    return places, end


def _schedules(form: Form, features: int, products: int, weight_bytes: int) -> list[Schedule]:
    """The schedules that a call may get, whatever its mask: one thread, or that of a full mask."""
    rows, time, _, units = form.sizes
    sizes = rows, rows * time, features, units, products, weight_bytes, form.threads
    shared = make_schedule(lambda *_: 1, None, *sizes)
    return [ONE_THREAD] if shared.threads == 1 else [ONE_THREAD, shared]


def _forward_parts(form: Form) -> _Parts:
    rows, _, features, units = form.sizes
    code, layer, _ = compiled_of(form.cell, None, False)
    packs, dtype = trained(form.cell)[0], form.dtype
    products, weight_bytes = code.layout.recurrent, code.weight_bytes(dtype)
    codes, variants = form.codes, []
    for each in _schedules(form, features, products, weight_bytes):
        _, reals, integers, settings = layer.sizes(
            rows, features, units, dtype, each.threads, each.groups, each.common
        )
        chosen = int(form.reverse), int(form.zero_masked), code.is_bounded(*codes), each.threads
        head = Variant(each.threads, each.groups, each.common, 0, reals, integers, 0, 0)
        variants.append([*head, *codes, *chosen, 0, *settings])
    table, parts = packs.tables(features, units, dtype, True, False)
    size = packs.sizes(features, units, dtype).forward
    return _Parts(
        compute=forward.address(dtype),
        kernel=layer.compiled.address(dtype),
        products=products,
        weight_bytes=weight_bytes,
        packing=table,
        parts=parts,
        packed_size=size,
        recurrent_size=0,
        ways=variants,
        kept=[],
    )


def _backward_parts(form: Form) -> _Parts:
    rows, time, features, units = form.sizes
    (packs, own), dtype = trained(form.cell), form.dtype
    numbers = time, *form.codes, int(form.reverse), int(form.zero_masked)
    both = LOOP + PRODUCTS
    ways = [(each, both) for each in _schedules(form, 0, own.recurrents, dtype.itemsize)]
    later = even_schedule(own.products(features, units) * rows * time, form.threads)
    if later.threads > 1:
        ways += [(ONE_THREAD, LOOP), (ONE_THREAD, PRODUCTS), (later, PRODUCTS)]
    variants, kept = [], []
    for each, phases in ways:
        groups, places, reals, integers, items = own.sizes(
            rows, features, units, dtype, each.threads, each.groups, each.common
        )
        head = Variant(
            *(each.threads, each.groups, each.common, phases),
            *(reals, integers, address(items), len(items)),
        )
        variants.append([*head, *numbers, each.threads, 0, phases, *groups, *places])
        kept.append(items)
    table, parts = packs.tables(features, units, dtype, False)
    sizes = packs.sizes(features, units, dtype)
    return _Parts(
        compute=backward.address(dtype),
        kernel=own.kernel.address(dtype),
        products=own.recurrents,
        weight_bytes=dtype.itemsize,
        packing=table,
        parts=parts,
        packed_size=sum(sizes[1:]),
        recurrent_size=sizes.recurrent,
        ways=variants,
        kept=kept,
    )
