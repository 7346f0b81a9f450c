"""What `fastmask compile` says of an array in a kernel whose size the compiler does not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastmask import cli

from . import compiling

REASON = compiling.missing()
needs_compiler = pytest.mark.skipif(REASON is not None, reason=str(REASON))

OWN = """
from numba import cuda, float32, int32

UNITS = 32

def argument(x, count):
    own = cuda.local.array(4, float32)
    shared = cuda.shared.array((count, 4),
                               float32)
    x[0] = shared[0, 0] + own[0]

def variable(x, count):
    half = count // 2
    own = cuda.local.array(dtype=float32, shape=half)
    x[0] = own[0]

def expression(x, count):
    shared = cuda.shared.array((UNITS, 3 * UNITS), float32)
    x[0] = shared[0, 0]

def several(x, count):
    shared = cuda.shared.array((2 * UNITS, UNITS, len(x)), float32)
    x[0] = shared[0, 0, 0]

def equal(x, count):
    shared = cuda.shared.array((2 * UNITS, 3 * UNITS), float32)
    x[0] = shared[0, 0]

def in_a_tuple(x, count):
    shape = UNITS, 3 * UNITS
    own = cuda.local.array(shape, float32)
    x[0] = own[0, 0]

def of_another(x, count):
    own = cuda.local.array(x.shape, float32)
    x[0] = own[0]

def fraction(x, count):
    shared = cuda.shared.array(UNITS / 2, float32)
    x[0] = shared[0]

def two(x, count):
    a, b = cuda.shared.array(UNITS, float32), cuda.shared.array(3 * UNITS, int32)
    x[0] = a[0] + b[0]

@cuda.jit(device=True)
def called(count):
    shared = cuda.shared.array(UNITS + count, float32)
    return shared[0]

def calling(x, count):
    x[0] = called(count)

def constants(x, count):
    half = 16
    a, b = cuda.shared.array((half, UNITS), float32), cuda.local.array(2 * 4, float32)
    x[0] = a[0, 0] + b[0]
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A user's file."""
    file = tmp_path / "sizes_of_mine.py"
    file.write_text(OWN)
    return file


def compiled(own: Path, name: str) -> int:
    return cli.main(["compile", f"{own}:{name}", "--signature", "float32[::1], int64"])


@needs_compiler
@pytest.mark.parametrize(
    ("name", "line", "kind", "named"),
    [
        ("argument", "    shared = cuda.shared.array((count, 4),", "shared", "count"),
        ("variable", "    own = cuda.local.array(dtype=float32, shape=half)", "local", "half"),
        ("expression", "(UNITS, 3 * UNITS), float32", "shared", "3 * UNITS"),
        ("several", "(2 * UNITS, UNITS, len(x))", "shared", "2 * UNITS and len(x)"),
        ("equal", "(2 * UNITS, 3 * UNITS)", "shared", "2 * UNITS and 3 * UNITS"),
        ("in_a_tuple", "array(shape, float32)", "local", "shape[1]"),
        ("of_another", "array(x.shape, float32)", "local", "x.shape[0]"),
        ("fraction", "array(UNITS / 2, float32)", "shared", "UNITS / 2"),
        ("two", "a, b = cuda.shared.array(UNITS, float32)", "shared", None),
        ("calling", "array(UNITS + count, float32)", "shared", "UNITS + count"),
    ],
)
def test_sizes_that_are_not_constant_are_named(
    name: str,
    line: str,
    kind: str,
    named: str | None,
    own: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert compiled(own, name) == 2
    (number,) = (i for i, text in enumerate(OWN.splitlines(), 1) if line in text)
    known = f"a {kind} array must be a constant integer, as in cuda.{kind}.array(64, float32)"
    those = f", not {named}" if named else ""
    told = capsys.readouterr().err
    assert f"compile: {own}:{number}: the size of {known}{those}: an expression" in told
    assert ("known only at the launch" in told) == (kind == "shared")


@needs_compiler
def test_sizes_that_are_constant(own: Path) -> None:
    assert compiled(own, "constants") == 0
