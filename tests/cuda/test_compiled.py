"""What the kernels compile to, without a driver: register budgets, no doubles, instructions."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from . import compiling
from .compiling import ARCHITECTURES, compile_report

REASON = compiling.missing()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

REGISTERS = {
    "softmax": 64,
    "pad_rows": 64,
    "place": 64,
    "copy_rows": 48,
}  # of a thread; others get by with
USUAL_REGISTERS = 40


def variants() -> list[Any]:
    """Every kernel of every family that has no test elsewhere, with example parameters."""
    if REASON is not None or os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
        return []
    import fastmask_kernels.cuda  # noqa: F401, fills FAMILIES
    from fastmask_kernels.cuda.runtime.kernel import FAMILIES

    return [
        pytest.param(make, example, id=f"{name}-{'-'.join(map(str, example)) or 'only'}")
        for name, (make, examples) in FAMILIES.items()
        if name.partition(".")[0] not in compiling.OF_LAYERS
        for example in examples
    ]


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize(("make", "example"), variants())
def test_kernel_within_its_budget(make: Any, example: tuple[Any, ...], arch: str) -> None:
    report = compile_report(make(*example), arch=arch)
    print(report)
    assert report.spills == 0
    assert report.stack == 0
    assert report.registers <= REGISTERS.get(report.name.partition("(")[0], USUAL_REGISTERS)
    if np.dtype("f8") not in example:
        assert not report.doubles


def test_every_family_is_compiled() -> None:
    """Those without parameters of their own are compiled in test_compiled_recurrent.py."""
    import fastmask_kernels.cuda  # noqa: F401, fills FAMILIES
    from fastmask_kernels.cuda.runtime.kernel import FAMILIES

    bare = {name for name, (_, examples) in FAMILIES.items() if not examples}
    assert bare == {"forward.time_loop", "backward.gradient_loop", "gradients._values"}


def test_a_double_is_found() -> None:
    from fastmask_kernels.cuda.runtime.kernel import float32, pointer

    def twice(x: Any) -> None:
        x[0] = x[0] * 0.1

    report = compile_report(twice, (pointer(float32),))
    assert report.doubles == report.stray_doubles != []


def test_spills_loops_and_instructions_are_found() -> None:
    from numba import cuda

    from fastmask_kernels.cuda.runtime.kernel import float32, int32, pointer

    def rotate(x: Any, count: int) -> None:
        held = cuda.local.array(64, float32)
        mine = 64 * cuda.threadIdx.x  # otherwise one copy would serve all threads of a warp
        for i in range(64):
            held[i] = x[mine + i]
        for k in range(count):
            for i in range(63):
                held[i] = held[i] * held[i + 1] + x[k]
        for i in range(64):
            x[mine + i] = held[i]

    roomy = compile_report(rotate, (pointer(float32), int32))
    assert roomy.spills == 0
    assert roomy.count("FFMA") >= 63
    assert max(loop["FFMA"] for loop in roomy.loops()) >= 63
    tight = compile_report(rotate, (pointer(float32), int32), launch_bounds=(1024, 2))
    assert tight.spills > 0


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize(
    ("name", "instructions"),
    [
        ("multiply_tf32", ("HMMA.1688.F32.TF32",)),
        ("multiply_bf16", ("HMMA.16816.F32.BF16",)),
        ("fragments", ("LDSM",)),
        ("approximate", ("MUFU.EX2", "MUFU.RCP")),
        ("neighbors", ("RED", "LD")),
    ],
)
def test_instructions_of_the_projects_ptx(
    name: str, instructions: tuple[str, ...], arch: str
) -> None:
    from . import test_ptx

    report = compile_report(getattr(test_ptx, name), arch=arch)
    for instruction in instructions:
        assert report.count(instruction), f"{instruction} in {report.sass}"
