"""`fastmask compile`: kernels of the table and of a user's file, without a driver."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from fastmask import cli
from fastmask_kernels.machine_code import compile_report

from .. import cuda_page
from . import compiling

REASON = compiling.missing()
needs_compiler = pytest.mark.skipif(REASON is not None, reason=str(REASON))

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "own_cuda_kernel.py"
SIMULATED_EXAMPLE = ROOT / "examples" / "test_in_the_simulator.py"
OWN = """
import fastmask as fm
import numpy as np
from fastmask.cells import normalize, sigmoid, tanh
from numba import cuda
from fastmask_kernels.cuda.runtime.kernel import family, int64, kernel, number, pointer

@cuda.jit(max_registers=32)
def jitted(x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] = 2 * x[i]

@cuda.jit(device=True)
def device(x):
    return x

def plain(x, count):
    i = cuda.grid(1)
    while i < count:
        x[i] += 1
        i += cuda.gridsize(1)

def doubled(x):
    x[0] *= 0.1

def time_loop(x):
    x[0] += x[1]

def mean(x, count):
    total = x[0] + x[1]
    x[2] = total / count

def hoisted(out, x, total, count):
    i = cuda.grid(1)
    while i < count:
        if x[i] > total:
            out[i] = x[i] * (1.0 / total)
        else:
            out[i] = total
        i += cuda.gridsize(1)

def together(x):
    grid = cuda.cg.this_grid()
    x[cuda.grid(1)] = 1
    grid.sync()

def sorted_out(x):
    own = cuda.local.array(300, "float32")
    for i in range(300):
        own[i] = x[i]
    x[0] = own[cuda.threadIdx.x * 7 % 300]

@fm.cell
def leaky(k, s, h, *, rate=0.3):
    k = sigmoid(k + rate * h)
    return k * h + (1 - k) * tanh(s)

@fm.cell
def normal(s, h):
    return tanh(normalize(s))

def large(x):
    shared = cuda.shared.array(1000000, "float32")
    shared[cuda.threadIdx.x] = x[0]
    cuda.syncthreads()
    x[1] = shared[3]

def wrong(x):
    x.no_such_thing()

def flat(x):
    x[0, 0] = 1

@family("f4", "f8")
def _scale(dtype):
    half = dtype.type(0.5)

    @kernel(pointer(number(dtype)), int64)
    def scale(x, count):
        i = cuda.grid(1)
        while i < count:
            x[i] *= half
            i += cuda.gridsize(1)

    return scale

scale = _scale(np.dtype("f4"))
three = 3
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A user's file."""
    file = tmp_path / "kernels_of_mine.py"
    file.write_text(OWN)
    return file


def said(*words: str, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The command's output: the rows of its table, then all other lines, as words."""
    assert cli.main(["compile", *words]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    return lines[3:]


@needs_compiler
def test_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its first command prints the output shown there, except numbers that depend on versions."""
    section = cuda_page.section("See what a kernel compiles to")
    command = section.split("fastmask compile ")[1].split("\n")[0].split()
    shown = section.split("```text\n")[1].split("```")[0].splitlines()
    folder = tmp_path / "new" / "code"
    assert cli.main(["compile", *command, "--output", str(folder)]) == 0
    found = capsys.readouterr().out.splitlines()
    assert found[:2] == shown[:2]
    assert found[7:-1] == shown[7:-1], "what the columns are"
    first_words = [[line.split()[0] for line in lines[3:7]] for lines in (found, shown)]
    assert first_words[0] == first_words[1]
    assert found[-1].startswith("a step of time_loop: FFMA ")
    assert len(list(folder.iterdir())) == 8
    assert ".target sm_90a" in (folder / "03-time_loop.ptx").read_text()
    assert "FFMA" in (folder / "03-time_loop.sass").read_text()


@needs_compiler
def test_a_kernel_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    words = "rnn_fwd --units 16 --batch 9 --weights bfloat16 --arch sm_80"
    rows = said(*words.split(), capsys=capsys)
    name, blocks, at_once, threads, registers, spills, _, shared, instructions, step = rows[2]
    assert (name, blocks, threads) == ("time_loop", "2", "32"), "of eight sequences, of 16 units"
    assert 1 < int(at_once) <= 32
    assert 32 < int(registers) <= 255
    assert int(spills) == 0
    assert int(shared) >= 2 * 8 * 16 * 2, "two planes of eight vectors"
    assert 50 < int(step) < int(instructions)
    assert "HMMA" in rows[-1]


@needs_compiler
def test_kernels_of_a_file(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def row(name: str, *options: str) -> list[str]:
        return said(f"{own}:{name}", *options, capsys=capsys)[0]

    from fastmask_kernels.cuda.runtime.kernel import float32, int64, pointer

    assert row("scale") == row("_scale")
    names = [line[0] for line in said(f"{own}:_scale", capsys=capsys)[:2]]
    assert names == ["scale(float32)", "scale(float64)"]
    spec = spec_from_file_location("kernels_of_mine_again", own)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(module := module_from_spec(spec))
    expected = compile_report(module.plain, (pointer(float32), int64))
    _, registers, spills, local, shared, instructions, step = row(
        "plain", "--signature", "CPointer(float32), int64"
    )
    found = int(registers), int(spills), int(local), int(shared), int(instructions)
    assert found == (expected.registers, 0, 0, 0, len(expected.instructions))
    assert expected.step is not None
    assert int(step) == expected.step.total()
    jitted = row("jitted", "--signature", "void(float32[:], float32[:])", "--arch", "sm_80")
    assert int(jitted[1]) <= 32
    assert jitted[6:] == ["no", "loop"]


@needs_compiler
def test_a_kernel_of_a_file_has_no_steps(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its loops are not fastmask's time loops, whatever it is called."""
    assert cli.main(["compile", f"{own}:time_loop", "--signature", "float32[::1]"]) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[1].endswith("instructions  inner loop")
    assert "step" not in told


@needs_compiler
def test_a_kernel_of_a_file_of_tests(capsys: pytest.CaptureFixture[str]) -> None:
    """The file imports the simulator's `launch` and does not call it."""
    words = f"{SIMULATED_EXAMPLE}:row_sums", "--signature", "float32[:], float32[:, :]"
    assert cli.main(["compile", *words]) == 0
    _, headings, _, row, *_ = capsys.readouterr().out.splitlines()
    assert headings.split()[:3] == ["kernel", "registers", "spills"]
    assert row.split()[0] == "row_sums"
    assert int(row.split()[1]) > 0, "registers"


@needs_compiler
def test_doubles_of_a_kernel_without_them(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for types, stray in (("float32[::1]", True), ("float64[::1]", False)):
        assert cli.main(["compile", f"{own}:doubled", "--signature", types]) == 0
        assert ("doubled computes in float64" in capsys.readouterr().out) == stray


@needs_compiler
def test_where_a_kernel_begins_to_compute_in_doubles(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["compile", f"{own}:mean", "--signature", "float32[::1], int64"]) == 0
    line = OWN.splitlines().index("    x[2] = total / count") + 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert f" at {own}:{line}, though" in last
    assert "float32(n)" in last


@needs_compiler
def test_where_doubles_are_that_were_moved_out_of_a_loop(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first one has line 0; a later one has a line."""
    types = "float32[::1], float32[::1], float32, int64"
    assert cli.main(["compile", f"{own}:hoisted", "--signature", types]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    line = OWN.splitlines().index("            out[i] = x[i] * (1.0 / total)") + 1
    assert f" at {own}:{line}, though" in last


@needs_compiler
def test_local_memory(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = said(f"{own}:sorted_out", "--signature", "float32[::1]", capsys=capsys)[0]
    assert int(row[3]) == 300 * 4


@needs_compiler
def test_a_kernel_that_is_linked_before_its_launch(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = said(f"{own}:together", "--signature", "float32[::1]", capsys=capsys)
    assert rows[0][0] == "together"
    assert int(rows[0][1]) > 0, "registers"
    assert " ".join(rows[-1]).startswith("together calls cudaCGGetIntrinsicHandle, cudaCGSync")


@needs_compiler
@pytest.mark.slow
def test_a_cell_of_ones_own(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"{own}:leaky --units 16 --arch sm_80 --weights bfloat16"
    rows = {row[0]: row for row in said(*words.split(), capsys=capsys)}
    for loop in ("time_loop", "gradient_loop"):
        assert 16 < int(rows[loop][4]) <= 255, "registers"


@needs_compiler
def test_what_ptxas_refuses(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compile", f"{own}:large", "--signature", "float32[::1]"]) == 2
    told = capsys.readouterr().err
    known = "Entry function large uses too much shared data (4000000 bytes, 232448 max)"
    assert f"ptxas refuses large for sm_90a: {known}" in told
    assert len(told) < 300


@needs_compiler
def test_a_function_needs_its_signature() -> None:
    from numba import cuda, float32, int64

    @cuda.jit
    def scale(x, count):  # type: ignore[no-untyped-def]  # as users write kernels
        i = cuda.grid(1)
        if i < count:
            x[i] *= 2

    for function in (scale, scale.py_func):
        with pytest.raises(ValueError, match="scale needs its signature, such as"):
            compile_report(function)
        assert compile_report(function, (float32[:], int64)).name == "scale"


@needs_compiler
def test_the_example() -> None:
    """Simulated, compiled, and not launched."""
    command = [sys.executable, "-W", "error", str(EXAMPLE)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    first, *table, last = run.stdout.splitlines()
    assert first == "in the simulator: as NumPy"
    assert [line.partition(" ")[0] for line in table[3:5]] == ["mean(float32)", "mean(float64)"]
    assert last in ("not launched: there is no GPU", "on the GPU: as NumPy")


@needs_compiler
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lstm"], "one of gather_rows, gru_bwd, "),
        (["lstm_fwd", "--arch", "sm_75"], "--arch must be one of sm_80, "),
        (["lstm_fwd", "--units", "90000"], "units"),
        (["lstm_fwd", "--dtype", "float64", "--weights", "tf32"], "need arrays of float32"),
        (["lstm_fwd", "--signature", "int64"], "--signature is for functions in a file"),
        (["OWN:nothing"], "has no nothing"),
        (["OWN:scale", "--signature", "int64"], "scale has its signature: leave out"),
        (["OWN:_scale", "--signature", "int64"], "_scale has its signature: leave out"),
        (["OWN:three"], "three must be a kernel, a function or a cell made by fm.cell, not int"),
        (["OWN:leaky", "--signature", "int64"], "--signature is for functions in a file"),
        (["OWN:leaky", "--arch", "sm_75"], "--arch must be one of sm_80, "),
        (["OWN:normal"], "the cell normal uses normalize"),
        (["OWN:device"], "device must be a kernel, not a device function"),
        (["OWN:plain"], 'plain needs its signature, such as --signature "float32[::1], int64"'),
        (["OWN:plain", "--signature", "flaot32"], "--signature must be a signature such as"),
        (["OWN:plain", "--signature", "int64(int64)"], "--signature must be a signature such as"),
        (["OWN:wrong", "--signature", "float32[:]"], "does not compile: "),
        (["OWN:flat", "--signature", "float32[:]"], "cannot index array(float32, 1d, A) with 2"),
        (["OWN:scale", "--arch", "hopper"], "arch must be one of sm_75, sm_80, "),
        (["OWN:plain", "--arch", "sm_99", "--signature", "int64"], "for, not 'sm_99'"),
        (["/nowhere/there.py:x"], "there is no Python file /nowhere/there.py"),
    ],
)
def test_what_is_refused(
    words: list[str], message: str, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["compile", *[word.replace("OWN", str(own)) for word in words]]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.startswith("fastmask: ")


@needs_compiler
def test_a_file_that_cannot_be_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "no_module.py"
    for text, error in (("x = 1 / 0", "ZeroDivisionError"), ("x = (", "SyntaxError")):
        file.write_text(text)
        assert cli.main(["compile", f"{file}:x"]) == 2
        assert f"no_module.py cannot be run: {error}: " in capsys.readouterr().err


def test_the_page_explains_every_row() -> None:
    """Those of kernels that launch several; others are named after their kernel."""
    pytest.importorskip("numba_cuda")
    from fastmask.commands.compile import short
    from fastmask_kernels import cuda
    from fastmask_kernels.machine_code import launches

    several = [name for name in launches.NAMES if name[:4] in ("lstm", "gru_", "rnn_", "plan")]
    names = {"values"}  # of cells of one's own
    for units, weights in ((64, "float32"), (512, "float32"), (64, "bfloat16")):
        for name in several:
            device = launches.recorded(launches.DEVICES["sm_90a"])
            with device as found, cuda.use_weights(weights):
                launches.call(name, {"B": 64, "T": 256, "F": 32, "H": units}, "float32")
            names |= {short(one.kernel.name) for one in found}
    table = cuda_page.section("See what a kernel compiles to").split("| row |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table)) == names


def test_help_names_the_architectures(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("numba_cuda")
    from fastmask_kernels.machine_code.launches import DEVICES

    with pytest.raises(SystemExit):
        cli.main(["compile", "--help"])
    told = capsys.readouterr().out
    assert set(re.findall(r"sm_\d+a?", told)) == set(DEVICES)
    assert "float32[::1]" in told


def test_sizes_are_positive(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["compile", "lstm_fwd", "--units", "0"])
    assert "argument --units: must be 1 or more, not 0" in capsys.readouterr().err


def test_launch_explains_itself_without_the_simulator() -> None:
    pytest.importorskip("numba_cuda")
    from fastmask_kernels.cuda.simulator import launch

    assert "NUMBA_ENABLE_CUDASIM=1" in str(launch.__doc__)
    assert "seed: " in str(launch.__doc__)
    with pytest.raises(RuntimeError, match="the simulator needs NUMBA_ENABLE_CUDASIM=1"):
        launch(print, 1, 1)


def test_nothing_is_compiled_in_the_simulator(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    assert cli.main(["compile", "lstm_fwd"]) == 2
    assert "unset NUMBA_ENABLE_CUDASIM" in capsys.readouterr().err
