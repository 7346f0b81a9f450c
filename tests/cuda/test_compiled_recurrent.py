"""What the recurrent kernels compile to: no spills, no doubles, budgets of registers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from . import compiling
from .compiling import ARCHITECTURES, Report, compile_report, doubles

REASON = compiling.missing()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

CELLS = ("lstm", "gru_after", "gru_before", "rnn")
FLOAT, DOUBLE = np.dtype("f4"), np.dtype("f8")
MULTIPROCESSORS = 132  # of an H100; an A100 has 108


def loop_of(cell: str, units: int, dtype: Any, backward: bool) -> tuple[Any, Any]:
    """The time loop of a layer, and how its weights are spread."""
    from fastmask_kernels.cuda import backward as alone
    from fastmask_kernels.cuda import forward, grid
    from fastmask_kernels.cuda.cells import Kind
    from fastmask_kernels.cuda.gradients import spread_of
    from fastmask_kernels.cuda.layout import layout

    kind = Kind(cell, "tanh", "sigmoid")
    if backward:
        spread = spread_of(kind, units, dtype)
        make = grid.backward if spread.blocks else alone.gradient_loop
        return make(kind, spread.tiles, dtype, True), spread
    spread = layout(kind, 16, units, dtype).spread
    make = grid.forward if spread.blocks else forward.time_loop
    return make(kind, spread.tiles, dtype, (True, cell == "lstm", cell != "rnn")), spread


def assert_fits(report: Report, threads: int, dtype: Any) -> None:
    """What every time loop must keep to."""
    print(report)
    assert report.spills == 0
    assert report.stack == 0
    assert report.registers * threads <= 65536
    if dtype == FLOAT:
        assert not doubles(report)


@pytest.fixture(autouse=True)
def _device(monkeypatch: pytest.MonkeyPatch) -> None:
    if REASON is None:
        from fastmask_kernels.cuda import resident

        monkeypatch.setattr(resident, "multiprocessors", lambda: MULTIPROCESSORS)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("cell", CELLS)
def test_weights_of_a_block_do_not_spill(cell: str, backward: bool) -> None:
    for units, dtype, arch in (
        (32, FLOAT, "sm_90"),
        (64, FLOAT, "sm_80"),
        (96, FLOAT, "sm_90"),
        (128, FLOAT, "sm_80"),
        (128, FLOAT, "sm_90"),
        (64, DOUBLE, "sm_90"),
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
        assert report.count("RED") + report.count("ATOM") >= 1  # the barrier


def test_products_read_sixteen_bytes_at_a_time() -> None:
    kernel, _ = loop_of("lstm", 64, FLOAT, False)
    report = compile_report(kernel)
    step = max(report.loops(), key=lambda loop: loop["FFMA"])
    assert step["FFMA"] >= 4 * 64 * 4 * 4 // 16  # gates, units, vectors; shared by 4 threads of 16
    assert "LDS.128" in report.sass
    assert step["LDL"] == step["STL"] == 0


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_other_kernels(arch: str) -> None:
    import fastmask_kernels.cuda  # noqa: F401, fills FAMILIES
    from fastmask_kernels.cuda._kernel import FAMILIES

    seen = 0
    for name, (make, examples) in FAMILIES.items():
        if name.partition(".")[0] in {"gemm", "products", "steps", "packing", "resident"}:
            for example in examples:
                report = compile_report(make(*example), arch=arch)
                print(report)
                assert report.spills == report.stack == 0
                assert report.registers <= 128
                if DOUBLE not in example:
                    assert not doubles(report)
                seen += 1
    assert seen >= 14
