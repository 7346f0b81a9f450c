"""Every kernel of the backend is compiled, linked, loaded and launched, for sm_90a and sm_80."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from fastmask_kernels import cells, cuda
from fastmask_kernels.cells import Cell
from fastmask_kernels.cuda.rnn import mma_layout, resident
from fastmask_kernels.cuda.runtime.device import to_device
from fastmask_kernels.cuda.runtime.kernel import FAMILIES, types

from ... import formulas
from ...cases import CellCase
from ..backend import Backend
from . import logged

CELLS = {
    "lstm": cells.lstm,
    "gru_after": cells.gru,
    "gru_before": cells.gru_reset_before,
    "rnn": cells.simple_rnn,
    "peephole": Cell(formulas.peephole),
}
FORMS = ("float32", "float64", "tf32", "bfloat16")
# Whether blocks share the layer. The LSTM is tested in all eight ways, other cells in these.
GRIDS = {"float32": (False, True), "float64": (False,), "tf32": (False,), "bfloat16": (True,)}
LOOPS = "time_loop", "gradient_loop"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cell", CELLS)
def test_time_loops(cell: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a block and in a grid, forward and backward, on both devices."""
    dtype, weights = (form, "float32") if form.startswith("float") else ("float32", form)
    grids = (False, True) if cell == "lstm" else GRIDS[form]
    for grid, device in product(grids, (0, 1)):
        with monkeypatch.context() as patch, cuda.use_weights(weights), logged() as log:
            if grid:
                patch.setattr(resident.Tile, "resident", property(lambda _: False))
                patch.setattr(mma_layout, "alone", lambda *_: None)
            CellCase(3, 2, 2, 8, dtype=dtype, own=CELLS[cell]).run_backward(Backend(device))
        launches = [one for one in log.launches if any(loop in one.name for loop in LOOPS)]
        assert len(launches) == 2
        assert all(one.cooperative == grid for one in launches)
        assert {one.device for one in log.launches} == {device}
        loaded = {line.split()[1] for line in log.calls("cuLibraryLoadData")}
        assert loaded <= {("sm_90", "sm_80")[device]}


@pytest.mark.parametrize("device", [0, 1])
def test_other_kernels(device: int) -> None:
    """Each kernel of every family, with the parameters that it lists, once."""
    memory, seen = to_device(np.zeros(64, np.int64), device), 0
    for make, examples in FAMILIES.values():
        for example in examples:
            kernel = make(*example)
            with logged() as log:
                kernel.launch(1, 32, *(_argument(t, memory) for t in kernel.argtypes))
            (launch,) = log.launches
            assert launch.device == device
            assert len(launch.arguments) == len(kernel._converters)
            addresses = [value for size, value in launch.arguments if value == memory.address]
            assert addresses
            seen += 1
    assert seen >= 40


def _argument(argtype: Any, memory: Any) -> Any:
    """A value of that type."""
    if isinstance(argtype, types.BaseTuple):
        return tuple(_argument(t, memory) for t in argtype)
    return memory if isinstance(argtype, types.CPointer) else 1
