"""What the recurrent kernels compile to: no spills, no doubles, register budgets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmask_kernels import cells

from .. import formulas
from . import compiling
from .compiling import ARCHITECTURES, Report, compile_report

REASON = compiling.missing()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

CELLS = {
    "lstm": cells.lstm,
    "gru_after": cells.gru,
    "gru_before": cells.gru_reset_before,
    "rnn": cells.simple_rnn,
}
FLOAT, DOUBLE = np.dtype("f4"), np.dtype("f8")
H100 = 132, 232448  # multiprocessors, and bytes of shared memory of a block
A100 = 108, 166912
L4 = 58, 101376


def loop_of(
    cell: str, units: int, dtype: Any, backward: bool, form: str = "float32"
) -> tuple[Any, Any]:
    """The time loop of a layer, and how its weights are spread."""
    from fastmask_kernels.cuda import use_weights
    from fastmask_kernels.cuda.rnn.backward import gradient_loop
    from fastmask_kernels.cuda.rnn.backward_cells import Variant
    from fastmask_kernels.cuda.rnn.emit import Kind
    from fastmask_kernels.cuda.rnn.forward import time_loop
    from fastmask_kernels.cuda.rnn.forward_cells import Saves
    from fastmask_kernels.cuda.rnn.layout import spread_of

    formula, tensor = CELLS[cell], form != "float32"
    kind = Kind(formula, "tanh", "sigmoid")
    with use_weights(form):
        spread = spread_of(kind, units, dtype, backward)
    if backward:
        variant = Variant(units, True, False if tensor else None)
        return gradient_loop(kind, spread.tiles, dtype, variant), spread
    # On tensor cores as inference.
    saves = Saves(True, len(formula.states) > 1, formula.keeps_gates and not tensor, True)
    reverse = False if tensor else None
    return time_loop(kind, spread.tiles, dtype, saves, reverse), spread


def assert_fits(report: Report, threads: int, dtype: Any, spills: int = 0) -> None:
    """The limits of every time loop; `spills` is the number of bytes allowed."""
    print(report)
    assert report.spills <= spills
    assert report.stack <= spills
    assert report.registers * threads <= 65536
    if dtype == FLOAT:
        assert not report.doubles


@pytest.fixture(autouse=True)
def _device(monkeypatch: pytest.MonkeyPatch) -> None:
    if REASON is None:
        from fastmask_kernels.cuda.runtime import driver as _driver

        monkeypatch.setattr(_driver, "limits", lambda: _driver.Limits(*H100))


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("cell", CELLS)
def test_weights_of_a_block_do_not_spill(cell: str, backward: bool) -> None:
    for units, dtype, arch in (
        (32, FLOAT, "sm_90a"),
        (64, FLOAT, "sm_80"),
        (96, FLOAT, "sm_90a"),
        (128, FLOAT, "sm_80"),
        (128, FLOAT, "sm_90a"),
        (64, DOUBLE, "sm_90a"),
    ):
        kernel, spread = loop_of(cell, units, dtype, backward)
        assert spread.blocks == 0, units
        report = compile_report(kernel, arch=arch)
        assert_fits(report, spread.tiles[0].threads, dtype)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize(
    ("cell", "units"), [("lstm", 1024), ("gru_after", 512), ("gru_before", 512)]
)
def test_weights_of_a_grid_do_not_spill(cell: str, units: int, backward: bool) -> None:
    kernel, spread = loop_of(cell, units, FLOAT, backward)
    assert spread.blocks == units // 8
    for arch in ARCHITECTURES:
        report = compile_report(kernel, arch=arch)
        assert_fits(report, spread.tiles[0].threads, FLOAT)
        assert "LDGSTS.E.BYPASS.128" in report.sass  # copies of 16 bytes, bypassing L1
        assert report.count("MEMBAR") == report.count("RED", "ATOM")  # a fence for each barrier
        steps = [loop for loop in report.loops() if loop["RED"] or loop["REDG"]]
        step = min(steps, key=lambda loop: loop.total())
        print(f"{cell} {units} {arch}: {step.total()} instructions a warp and step", step)
        assert step["BAR"] == 3 * len(spread.tiles)  # and a barrier of blocks for each product


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("name", ["peephole", "coupled_gates", "minimal_gated", "odd"])
def test_cells_of_ones_own_do_not_spill(
    name: str, backward: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CELLS, name, cells.Cell(getattr(formulas, name)))
    for units, dtype, form in (
        (128, FLOAT, "float32"),
        (64, DOUBLE, "float32"),
        (64, FLOAT, "tf32"),
    ):
        kernel, spread = loop_of(name, units, dtype, backward, form)
        report = compile_report(kernel)
        # With the vectors, two numbers per thread do not fit at 128 units.
        spills = 16 if (name, units, backward) == ("peephole", 128, False) else 0
        assert_fits(report, spread.tiles[0].threads, dtype, spills)


def test_products_read_sixteen_bytes_at_a_time() -> None:
    kernel, _ = loop_of("lstm", 64, FLOAT, False)
    report = compile_report(kernel)
    step = max(report.loops(), key=lambda loop: loop["FFMA"])
    assert step["FFMA"] >= 4 * 64 * 4 * 4 // 16  # gates, units, vectors; shared by 4 threads of 16
    assert "LDS.128" in report.sass
    assert step["LDL"] == step["STL"] == 0


@pytest.mark.parametrize(
    ("device", "form", "backward", "alone", "together"),
    [
        (H100, "float32", False, 128, None),
        (H100, "bfloat16", False, 192, 2112),
        (H100, "bfloat16", True, 192, 1408),
        (H100, "tf32", False, 144, 1280),
        (H100, "tf32", True, 128, 1056),
        (A100, "float32", False, 128, None),
        (A100, "bfloat16", True, 184, 1152),
        (A100, "tf32", False, 128, 1024),
        (L4, "float32", False, 112, None),
        (L4, "bfloat16", False, 160, 928),
    ],
)
def test_how_many_units_have_room(
    device: tuple[int, int],
    form: str,
    backward: bool,
    alone: int,
    together: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fastmask_kernels.cuda import use_weights
    from fastmask_kernels.cuda.rnn.emit import Kind
    from fastmask_kernels.cuda.rnn.layout import spread_of
    from fastmask_kernels.cuda.runtime import driver as _driver

    monkeypatch.setattr(_driver, "limits", lambda: _driver.Limits(*device))
    kind = Kind(cells.lstm, "tanh", "sigmoid")
    with use_weights(form):
        assert spread_of(kind, alone, FLOAT, backward).blocks == 0
        assert spread_of(kind, alone + 8, FLOAT, backward).blocks > 0
        if together is None:
            return
        assert spread_of(kind, together, FLOAT, backward).blocks > 0
        with pytest.raises(ValueError, match="use float32"):
            spread_of(kind, together + 8, FLOAT, backward)


def test_registers_come_to_four_warps_at_a_time() -> None:
    """A block of 17 warps takes the registers of 20: ptxas counts so, and spills the rest."""
    from fastmask_kernels.cuda.rnn.places import registers_of

    assert [registers_of(threads) for threads in (256, 416, 512, 544)] == [255, 128, 128, 96]


TENSOR_LOOPS = (
    # cell, units, form, backward, arch, most instructions of a step: 1.5 times those of the same
    # loop in CUDA C++, compiled by nvcc: 95 for 64 units, 110 for 128 units
    ("lstm", 64, "bfloat16", False, "sm_80", 142),
    ("lstm", 128, "bfloat16", False, "sm_90a", 165),
    ("lstm", 192, "bfloat16", False, "sm_80", None),
    ("lstm", 144, "tf32", False, "sm_90a", None),
    ("rnn", 128, "tf32", True, "sm_90a", None),
    ("lstm", 768, "bfloat16", False, "sm_90a", None),
)


@pytest.mark.parametrize(("cell", "units", "form", "backward", "arch", "most"), TENSOR_LOOPS)
def test_tensor_cores(
    cell: str, units: int, form: str, backward: bool, arch: str, most: int | None
) -> None:
    kernel, spread = loop_of(cell, units, FLOAT, backward, form)
    assert (spread.blocks > 0) == (units > 192)
    report = compile_report(kernel, arch=arch)
    assert_fits(report, spread.tiles[0].threads, FLOAT)
    assert report.count("HMMA") >= sum(2 * t.chunks * t.tiles for t in spread.tiles)
    step = min((loop for loop in report.loops() if loop["HMMA"]), key=lambda loop: loop.total())
    print(f"{cell} {units} {form} {arch}: {step.total()} instructions a warp and step", step)
    if not spread.blocks:
        assert report.count("LDSM") > 0
    if most is not None:
        assert step["HMMA"] == 2 * spread.tiles[0].chunks * spread.tiles[0].tiles
        assert step.total() <= most


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_other_kernels(arch: str) -> None:
    import fastmask_kernels.cuda  # noqa: F401, fills FAMILIES
    from fastmask_kernels.cuda.runtime.kernel import FAMILIES

    seen = 0
    for name, (make, examples) in FAMILIES.items():
        if name.partition(".")[0] in compiling.OF_LAYERS:
            for example in examples:
                report = compile_report(make(*example), arch=arch)
                print(report)
                assert report.spills == report.stack == 0
                assert report.registers <= 128
                if DOUBLE not in example:
                    assert not report.doubles
                seen += 1
    assert seen >= 14


@pytest.mark.parametrize(
    ("cell", "part"), [("lstm", 0), ("gru_after", 0), ("gru_before", 0), ("gru_before", 1)]
)
def test_gates_that_are_computed_again(cell: str, part: int) -> None:
    from fastmask_kernels.cuda.rnn.emit import Kind
    from fastmask_kernels.cuda.rnn.gradients import _values

    kernel = _values(Kind(CELLS[cell], "tanh", "sigmoid"), FLOAT, part)
    for arch in ARCHITECTURES:
        report = compile_report(kernel, arch=arch)
        print(report)
        assert report.spills == report.stack == 0
        assert report.registers <= 128
        assert not report.doubles
