"""How much memory a forward call of very many rows takes beyond its arguments and outputs.

Each is measured in a process of its own:

    python -m benchmarks.wide '{"cell": "lstm", "rows": 4000000, ...}' 64

Before the measured call, inputs, outputs and the plan exist, and the kernel has run on a few rows.
The call raises the peak of the process's resident memory by what its threads touch; what it
allocates is counted in a second call.
"""

from __future__ import annotations

import ctypes
import json
import sys
import tracemalloc
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from benchmarks.memory import peak, restarted_peak
from benchmarks.new_process import measured

THREADS = (1, 8, 64)
FEW_ROWS = 64


class WideCall(NamedTuple):
    """A call of one step."""

    cell: str  # the prefix of its kernels' names
    rows: int
    features: int
    units: int
    options: tuple[Any, ...] = ("tanh", "sigmoid")  # of the forward kernel
    pack_options: tuple[Any, ...] = ()

    @property
    def title(self) -> str:
        """What the table calls it."""
        form = {True: "", False: " without reset_after"}[all(self.pack_options)]
        sizes = f"{self.rows} x 1, {self.features} -> {self.units}"
        return f"{self.cell.upper()}{form}, {sizes}"


def wide_calls() -> list[WideCall]:
    """Many rows of few units, and fewer of many, of the LSTM and both forms of the GRU."""
    return [
        WideCall(*cell, **options)
        for sizes in ((4_000_000, 4, 8), (100_000, 64, 512))
        for cell, options in (
            (("lstm", *sizes), {}),
            *(
                (("gru", *sizes), {"options": ("tanh", "sigmoid", form), "pack_options": (form,)})
                for form in (True, False)
            ),
        )
    ]


def wide_bytes(call: WideCall, threads: int) -> dict[str, int]:
    """Bytes that a call in a new process adds to its peak memory, and that it allocates."""
    found: dict[str, int] = measured("benchmarks.wide", json.dumps(call._asdict()), str(threads))
    return found


def measure_here(call: WideCall, threads: int) -> dict[str, int]:
    """The same for this process, which should be new."""
    from fastmask_kernels import cpu

    kernel = getattr(cpu, f"{call.cell}_fwd")
    kernel(*arguments(cpu, call._replace(rows=FEW_ROWS)), threads)
    given = arguments(cpu, call)
    with suppress(AttributeError):  # glibc only: give back what the first call has freed
        ctypes.CDLL(None).malloc_trim(0)
    before = restarted_peak()
    kernel(*given, threads)
    resident = peak() - before
    tracemalloc.start()
    kernel(*given, threads)
    return {"resident": resident, "asked": tracemalloc.get_traced_memory()[1]}


def arguments(column: Any, call: WideCall) -> list[Any]:
    """All arguments of a forward kernel but the number of threads, in memory that is in use."""
    cell, rows, features, units, options, pack_options = call
    states, gates = (2, 4) if cell == "lstm" else (1, 3)
    dtype = np.dtype(np.float32)

    def filled(*shape: int) -> Any:
        return np.full(shape, 0.1, dtype)

    bias = filled(gates * units) if states == 2 else filled(2, gates * units)
    packed = column.aligned_empty(
        getattr(column, f"{cell}_packed_size")(features, units, dtype), dtype
    )
    getattr(column, f"{cell}_pack")(
        *(packed, filled(features, gates * units), filled(units, gates * units), bias),
        *pack_options,
    )
    numbers = np.arange(rows + 1)
    return [
        filled(rows, 0, units),
        *(filled(rows, units) for _ in range(states)),
        *(filled(0, width * units) for width in (*[1] * states, 4)),
        filled(rows, 1, features),
        *(numbers, numbers[:-1], numbers[:-1]),
        packed,
        *(filled(rows, units) for _ in range(states)),
        *(*options, False, False),
    ]


if __name__ == "__main__":
    print(json.dumps(measure_here(WideCall(**json.loads(sys.argv[1])), int(sys.argv[2]))))
