"""What `fastmask_kernels.machine_code` needs of CUDA's tools, and makes of what they say."""

from __future__ import annotations

from typing import Any

import pytest

from fastmask import cli
from fastmask_kernels.machine_code import explained, report, tools

NUMBA = 'pip install "numba-cuda[cu13]"'


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        (["numba_cuda"], f"needs numba-cuda: {NUMBA}\n"),
        (
            ["compilers"],
            f"needs CUDA's compilers, NVVM and NVRTC: {NUMBA}, or set CUDA_HOME to a toolkit\n",
        ),
        (["ptxas"], "needs ptxas: pip install nvidia-cuda-nvcc\n"),
        (["nvdisasm"], "needs nvdisasm: pip install nvidia-cuda-nvdisasm\n"),
        (
            ["numba_cuda", "compilers", "ptxas", "nvdisasm"],
            f"needs numba-cuda, ptxas, nvdisasm: {NUMBA} nvidia-cuda-nvcc nvidia-cuda-nvdisasm\n",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_all_that_is_missing_is_named(
    absent: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def found(name: str) -> str | None:
        return None if name in absent else name

    monkeypatch.setattr(tools, "find_spec", found)
    monkeypatch.setattr(tools, "tool", found)
    monkeypatch.setattr(tools, "_has_compiler", lambda: "compilers" not in absent)
    assert cli.main(["compile", "lstm_fwd"]) == 2
    assert capsys.readouterr().err.endswith(message)


ABORTED = "Ptx assembly aborted due to errors"
OLDER = f"""\
ptxas /tmp/kernel.ptx, line 9; fatal   : Unsupported .version 9.5; current version is '9.0'
ptxas fatal   : {ABORTED}
"""


def test_a_ptxas_that_is_too_old() -> None:
    told = tools.refusal("/old/ptxas", OLDER, "scale")
    assert told.startswith(
        "Unsupported .version 9.5; current version is '9.0': /old/ptxas is older"
    )
    assert "aborted" not in told
    assert told.endswith(": pip install --upgrade nvidia-cuda-nvcc")


@pytest.mark.parametrize(
    ("told", "known"),
    [
        (
            "ptxas fatal   : Ptx assembly aborted due to errors",
            "Ptx assembly aborted due to errors",
        ),
        ("ptxas k.ptx, line 3; error   : Not a name", "Not a name"),
        ("Killed", "Killed"),
    ],
)
def test_what_else_ptxas_says(told: str, known: str) -> None:
    assert tools.refusal("ptxas", f"{told}\n", "scale") == known


def test_doubles_without_a_line() -> None:
    file, double = '.file 1 "mine.py"\n', "cvt.f64.f32 %fd2, %f1;\n"
    moved, placed = f"{file}.loc 1 0 1\n{double}", ".loc 1 7 1\nmul.f64 %fd1, %fd2, %fd2;\n"
    assert report._first_double(moved) == ""
    assert report._first_double(moved + placed) == "mul.f64 at mine.py:7"


@pytest.mark.parametrize(
    ("arch", "threads", "registers", "shared", "many"),
    [
        ("sm_90a", 256, 88, 8192, 2),  # 20 warps have registers
        ("sm_90a", 1024, 32, 0, 2),  # threads
        ("sm_86", (16, 2), 16, 0, 16),  # blocks
        ("sm_80", 128, 32, 100 * 1024, 1),  # shared memory
        ("sm_80", 128, 32, 81 * 1024, 2),  # of 164 KiB, with 1 KiB more for each block
        ("sm_89", 32, 32, 100 * 1024, 0),
        ("sm_120a", 1024, 128, 0, 0),
    ],
)
def test_blocks_of_a_multiprocessor(
    arch: str, threads: int, registers: int, shared: int, many: int
) -> None:
    pytest.importorskip("numba_cuda")
    from fastmask_kernels.machine_code.occupancy import blocks_at_once

    assert blocks_at_once(arch, threads, registers, shared) == many


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("sm_87", 32, 32), "arch must be one of sm_80, sm_86, .*, not 'sm_87'"),
        (("sm_80a", 32, 32), "arch must be one of sm_80, .*, not 'sm_80a'"),
        ((90, 32, 32), "arch must be one of sm_80, .*, not 90"),
        ((["sm_90"], 32, 32), r"arch must be one of sm_80, .*, not \['sm_90'\]"),
        (("sm_90", 0, 32), "threads must be 1 or more, not 0"),
        (("sm_90", (32, 0), 32), "threads must be 1 or more, not 0"),
        (("sm_90", (64, 32), 32), r"threads must be at most 1024 in a block, not \(64, 32\)"),
        (("sm_90", "32", 32), "threads must be an integer, not '32'"),
        (("sm_90", 32, -1), "registers must be 0 or more, not -1"),
        (("sm_90", 32, 32, 0.5), r"shared must be an integer, not 0\.5"),
    ],
)
def test_wrong_arguments_of_blocks_at_once(given: Any, message: str) -> None:
    pytest.importorskip("numba_cuda")
    from fastmask_kernels.machine_code.occupancy import blocks_at_once

    with pytest.raises((TypeError, ValueError), match=message):
        blocks_at_once(*given)


SIZES = {"B": 2, "T": 3, "F": 4, "H": 5}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("lstm", SIZES, "float32"), "name must be one of gather_rows, gru_bwd, .*, not 'lstm'"),
        (("kernels_of", SIZES, "float32"), "name must be one of .*, not 'kernels_of'"),
        (("lstm_fwd", {"B": 2}, "float32"), "sizes must have B, T, F and H, but .* has no F"),
        (("lstm_fwd", SIZES, "float16"), "dtype must be float32 or float64, not 'float16'"),
    ],
)
def test_wrong_arguments_of_a_call(given: Any, message: str) -> None:
    pytest.importorskip("numba_cuda")
    from fastmask_kernels.cells import lstm
    from fastmask_kernels.machine_code import launches

    functions = [launches.call, launches.arguments]
    if given[0] == "lstm_fwd":
        functions.append(lambda _, *rest: launches.call_cell(lstm, *rest))
    for function in functions:
        with pytest.raises(ValueError, match=message):
            function(*given)


def test_what_each_architecture_holds() -> None:
    pytest.importorskip("numba_cuda")
    from fastmask_kernels.machine_code.occupancy import DEVICES, blocks_at_once

    assert all(blocks_at_once(arch, 32, 32) > 1 for arch in DEVICES)


def test_a_shape_without_sizes_has_no_size_that_varies() -> None:
    told = """No implementation of function Function(<function shared.array at 0x7f>) found for
signature: >>> array(Tuple(), Literal[str](foo))"""
    assert explained(TypeError(told)) is None
