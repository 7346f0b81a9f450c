"""What a kernel of the table launches, on a device that need not be present.

with recorded(DEVICES["sm_90a"]) as launches:
    call("lstm_fwd", {"B": 64, "T": 256, "F": 32, "H": 64}, "float32")
launches[1].kernel, launches[1].threads, launches[1].shared
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from .. import cuda
from ..cells import Cell
from ..cuda.runtime import device as _device
from ..cuda.runtime import driver as _driver
from ..cuda.runtime import errors as _errors
from ..cuda.runtime.device import OPEN, DeviceArray, use_memory
from ..cuda.runtime.driver import Limits
from ..cuda.runtime.kernel import Kernel
from ..spec import KERNELS, cell_kernels
from ..spec import Kernel as Row

DEVICES = {
    "sm_80": Limits(108, 163 * 1024),  # A100
    "sm_86": Limits(84, 99 * 1024),  # RTX A6000
    "sm_89": Limits(58, 99 * 1024),  # L4
    "sm_90": Limits(132, 227 * 1024),  # H100
    "sm_90a": Limits(132, 227 * 1024),
    "sm_100": Limits(148, 227 * 1024),  # B200
    "sm_100a": Limits(148, 227 * 1024),
    "sm_120": Limits(170, 99 * 1024),  # RTX 5090
    "sm_120a": Limits(170, 99 * 1024),
}
"""A device of each architecture, as the comment names it; others have fewer multiprocessors."""

NAMES = tuple(sorted(set(cuda.__all__) & set(KERNELS)))
"""The kernels of the table that this backend has."""

ROOM = 1 << 40  # bytes from one array to the next, more than any array takes


class Launch(NamedTuple):
    """What a launch asks for."""

    kernel: Kernel
    grid: Any
    threads: Any
    shared: int  # bytes of dynamic shared memory


def call(name: str, sizes: dict[str, int], dtype: str) -> None:
    """Call a kernel of the table as layers do, see `arguments`."""
    made = arguments(name, sizes, dtype)
    getattr(cuda, name).unchecked(*made)


def call_cell(cell: Cell, sizes: dict[str, int], dtype: str) -> None:
    """Call a cell's forward and backward kernel as layers do, see `arguments`."""
    _require(sizes, dtype)
    rows, kernels = cell_kernels(cell), cuda.kernels_of(cell)
    packed = int(kernels.packed_size(sizes["F"], sizes["H"], np.dtype(dtype)))
    for field in ("fwd", "bwd"):
        call = _arguments(getattr(rows, field), {**sizes, "W": packed}, dtype)
        getattr(kernels, field).unchecked(*call)


def arguments(name: str, sizes: dict[str, int], dtype: str) -> list[Any]:
    """The arguments of a kernel of the table, with arrays at addresses where there is no memory.

    Args:
        name: the kernel's name.
        sizes: B, T, F and H, see `spec`.
        dtype: the dtype of its real arrays.

    Raises:
        ValueError: there is no such kernel, a size is missing, or the dtype is not supported.
    """
    if name not in NAMES:
        raise ValueError(f"name must be one of {', '.join(NAMES)}, not {name!r}")
    _require(sizes, dtype)
    row = KERNELS[name]
    if any(a.shape == ("W",) for a in row.arguments):
        sizes = {**sizes, "W": _packed_size(name, sizes, dtype)}
    return _arguments(row, sizes, dtype)


def _require(sizes: dict[str, int], dtype: str) -> None:
    if missing := set("BTFH") - set(sizes):
        raise ValueError(f"sizes must have B, T, F and H, but {sizes} has no {min(missing)}")
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype must be float32 or float64, not {dtype!r}")


def _arguments(row: Row, sizes: dict[str, int], dtype: str) -> list[Any]:
    rows = sizes["B"] * sizes["T"]
    known = {**dict.fromkeys("PKLNV", rows), "S": sizes["T"], "X": sizes["T"], "E": sizes["B"]}
    known |= sizes
    made: list[Any] = []
    for a in row.arguments:
        if a.shape is None:
            made.append({"activation": "tanh", "flag": True}.get(a.dtype, 1))
            continue
        words = [re.fullmatch(r"(\d*)([A-Z]?)(?:\+(\d+))?", word) for word in a.shape]
        shape = tuple(
            int(w[1] or 1) * (known[w[2]] if w[2] else 1) + int(w[3] or 0) for w in words if w
        )
        kind = np.dtype({"real": dtype, "any": dtype}.get(a.dtype, a.dtype))
        made.append(DeviceArray(ROOM * (1 + len(made)), shape, kind, 0, OPEN, None))
    return made


def _packed_size(name: str, sizes: dict[str, int], dtype: str) -> int:
    size = getattr(cuda, f"{name.partition('_')[0]}_packed_size")
    return int(size(sizes["F"], sizes["H"], np.dtype(dtype)))


class _Memory:
    """Scratch at an address where there is no memory."""

    _addresses = count(1 << 10)

    def __init__(self, size: int, _device: int) -> None:
        address = ROOM * next(self._addresses)
        self.__cuda_array_interface__ = {"data": (address, False), "shape": (size,)}


@contextmanager
def recorded(limits: Limits) -> Iterator[list[Launch]]:
    """In this block, kernels of the table launch nothing: their launches are listed.

    No other thread may call kernels meanwhile.

    Args:
        limits: those of the device.
    """
    found: list[Launch] = []

    def launch(self: Kernel, grid: Any, threads: Any, *_: Any, shared: int = 0) -> None:
        found.append(Launch(self, grid, threads, shared))

    def words(many: int) -> Any:
        return np.zeros(many, np.int64)

    with ExitStack() as stack:
        for owner, name, value in (
            (_driver, "limits", lambda: limits),
            (_driver, "host_words", words),
            (_errors, "_unused", []),
            (_errors, "_reports", _errors._Reports()),
            (_driver._thread, "device", 0),
            (_device, "require_device", lambda: None),
            (Kernel, "launch", launch),
            (Kernel, "most_blocks", lambda *_: limits.multiprocessors),
        ):
            stack.enter_context(mock.patch.object(owner, name, value))
        stack.enter_context(use_memory(_Memory))
        yield found
