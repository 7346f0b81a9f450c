"""The backends export what the table lists, and work with other compilation settings."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastmask_kernels import cells, cpu, reference
from fastmask_kernels.checks import checked
from fastmask_kernels.shapes import parse
from fastmask_kernels.spec import ANY, KERNELS, OPTIONAL, REAL, Argument, Kernel, cell_kernels

from .. import formulas
from ..each import EACH_BACKEND

KERNEL_TESTS = (
    *("cpu_forward", "backward", "cpu_backward"),
    *("simd", "masks", "padding", "gather", "softmax"),
)

OF_CELLS = "lstm", "gru_", "rnn_"


@EACH_BACKEND
def test_backend_is_complete(backend: object) -> None:
    exported = set(backend.__all__)  # type: ignore[attr-defined]  # on purpose
    assert exported >= set(KERNELS)


def test_backends_export_the_same_names() -> None:
    assert reference.__all__ == cpu.__all__


def test_the_pages_list_every_kernel() -> None:
    docs = Path(__file__).parents[2] / "docs"
    for page, title, names in (
        ("kernels.md", "## The kernels", set(KERNELS)),
        ("cuda.md", "### The other kernels", {n for n in KERNELS if n[:4] not in OF_CELLS}),
    ):
        section = (docs / page).read_text("utf-8").split(f"{title}\n")[1].split("\n#")[0]
        first = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
        found = set(re.findall(r"`(\w+)`", " ".join(first)))
        assert found == names, f"kernels in the table of docs/{page} under {title!r}"


def argument_for(argument: Argument, sizes: dict[str, int]) -> Any:
    """A value of the right type and shape."""
    if argument.shape is None:
        return {"activation": "tanh", "flag": False, "number": 1}[argument.dtype]
    words = [parse(word) for word in argument.shape]
    shape = [factor * sizes.get(letter, 0) + more for factor, letter, more in words]
    return np.zeros(shape, "f8" if argument.dtype in (REAL, ANY) else argument.dtype)


@pytest.mark.parametrize("name", KERNELS)
@EACH_BACKEND
def test_functions_are_what_the_table_says(backend: Any, name: str) -> None:
    function, kernel = getattr(backend, name), KERNELS[name]
    names = [argument.name for argument in kernel.arguments]
    assert function.__name__ == name
    assert list(inspect.signature(function).parameters) == names
    assert function.__doc__.startswith(f"{kernel.summary}.\n\nArgs:\n    {names[0]}: ")
    with pytest.raises(TypeError, match=f"'{names[0]}'"):
        function()
    with pytest.raises(TypeError, match="too many positional arguments"):
        function(*range(len(names) + 1))
    with pytest.raises(TypeError, match="unexpected keyword argument 'color'"):
        function(*range(len(names)), color=0)


def test_the_help_of_a_kernel_explains_its_sizes() -> None:
    spec = "See `help(fastmask_kernels.spec)`"
    assert (cpu.masked_softmax.__doc__ or "").endswith(
        f"\n\nSizes: B sequences, T time steps, F input features. {spec}."
    )
    assert (reference.rnn_fwd.__doc__ or "").endswith(
        "\n\nSizes: B sequences, T time steps, F input features, H units, P entries of `steps`, "
        f"W entries of `packed`, S is T or 0, K is P or 0. {spec}."
    )


@EACH_BACKEND
def test_the_help_of_every_kernel_explains_its_sizes(backend: Any) -> None:
    kernels = {name: getattr(backend, name) for name in KERNELS}
    kernels |= backend.kernels_of(cells.Cell(formulas.peephole))._asdict()
    del kernels["packed_size"]  # which has no arrays
    for name, kernel in kernels.items():
        assert "\n\nSizes: " in kernel.__doc__, name
        assert kernel.__doc__.count("See `help(fastmask_kernels.spec)`") == 1, name


@EACH_BACKEND
@pytest.mark.parametrize("wrong", ["lstm", formulas.peephole, cells.Cell])
def test_kernels_of_what_is_no_cell(backend: Any, wrong: object) -> None:
    with pytest.raises(TypeError) as raised:
        backend.kernels_of(wrong)
    told = "cell must be a cell made by fm.cell or one of fastmask_kernels.cells, such as lstm, not"
    assert str(raised.value) == f"{told} {wrong!r}"


def test_arguments_by_name() -> None:
    sizes = {"B": 2, "T": 5, "F": 2, "H": 2, "P": 7, "S": 5, "X": 5, "E": 2}
    of_rnn = {a.name: argument_for(a, sizes) for a in KERNELS["rnn_step"].arguments}
    of_rnn["packed"] = np.ones(cpu.rnn_packed_size(2, 2, np.dtype("f8")))
    of_rnn["x"], of_rnn["valid"] = np.ones((2, 2)), np.ones(2, bool)
    cpu.rnn_step(**of_rnn)
    np.testing.assert_allclose(of_rnn["h"], np.tanh(3))


def test_a_function_with_other_arguments_is_refused() -> None:
    def gather_rows(out: Any, table: Any) -> None: ...

    with pytest.raises(TypeError, match="gather_rows must take"):
        checked(gather_rows)


def test_a_function_of_no_kernel_of_the_table_is_refused() -> None:
    def scale_rows(out: Any, x: Any) -> None: ...

    def scale_columns(call: Any) -> None: ...

    for function in (scale_rows, scale_columns):
        told = f"{function.__name__} is not in the table of fastmask_kernels.spec: give `checked`"
        with pytest.raises(ValueError, match=told):
            checked(function)


def described(kernel: Kernel) -> list[str]:
    return [f"{a.name} {' '.join(a.shape)}" if a.shape else a.name for a in kernel.arguments]


def test_kernels_of_a_cell() -> None:
    pack, fwd, bwd, step = cell_kernels(cells.Cell(formulas.peephole))
    plan = ["offsets B+1", "steps P", "order B"]
    weights = ["kernel F 4H", "recurrent_kernel H 4H", "bias 4H", "p_i H", "p_f H", "p_o H"]
    walk = ["reverse", "zero_masked", "threads"]
    assert [k.name for k in (pack, fwd, bwd, step)] == [
        *("peephole_pack", "peephole_fwd", "peephole_bwd", "peephole_step")
    ]
    assert described(pack) == ["packed W", *weights]
    assert described(fwd) == [
        *("out B S H", "h_last B H", "c_last B H", "h_steps K H", "c_steps K H", "gates L 4H"),
        *("x B T F", *plan, "packed W", "h_first B H", "c_first B H", *walk),
    ]
    assert described(bwd) == [
        *("dx B X F", *[f"d{w}" for w in weights], "dh_first B H", "dc_first B H", "gates P 7H"),
        *("dout B S H", "dh_last B H", "dc_last B H", "x B T F", *plan, *weights),
        *("h_first B H", "c_first B H", "h_steps P H", "c_steps P H", "gates_saved", *walk),
    ]
    assert described(step) == ["h B H", "c B H", "x B F", "valid E", "packed W", "threads"]


def test_kernels_of_a_cell_that_saves_nothing_and_has_no_product_with_h() -> None:
    _, fwd, bwd, _ = cell_kernels(cells.Cell(formulas.independent, x_only=("s",)))
    assert "gates" not in fwd.call._fields
    assert "gates_saved" not in bwd.call._fields
    assert "drecurrent_kernel H 0" in described(bwd)


def test_a_kernel_that_is_not_in_the_table() -> None:
    kernel = cell_kernels(cells.Cell(formulas.simple_rnn)).step
    seen = []

    def step(call: Any) -> None:
        seen.append(call)

    function = checked(step, kernel=kernel)
    h, x = np.ones((2, 3)), np.ones((2, 4))
    function(h, x, np.ones(2, bool), np.ones(5), threads=1)
    assert function.__name__ == "simple_rnn_step"
    assert seen[0].x is x
    with pytest.raises(ValueError, match="x must have shape"):
        function(h, x[:1], np.ones(2, bool), np.ones(5), 1)


@pytest.mark.parametrize(
    ("name", "letter"),
    [
        (kernel.name, letter)
        for kernel in KERNELS.values()
        for letter in OPTIONAL
        if any(letter in (a.shape or ()) for a in kernel.arguments)
    ],
)
def test_optional_sizes_are_nothing_or_all(name: str, letter: str) -> None:
    sizes = {"B": 2, "T": 5, "F": 2, "H": 2, "P": 7, "W": 3, **dict.fromkeys(OPTIONAL, 0)}
    whole = OPTIONAL[letter]
    arguments = [argument_for(a, sizes | {letter: 3}) for a in KERNELS[name].arguments]
    with pytest.raises(
        ValueError, match=f"{letter} is {whole}={sizes[whole]} or 0, not {letter}=3"
    ):
        getattr(reference, name)(*arguments)


def kernel_tests(selection: str, **environment: str) -> pytest.MarkDecorator:
    """Mark a test that checks a run of kernel tests with other compilation settings."""
    files = [str(Path(__file__).parent / f"test_{name}.py") for name in KERNEL_TESTS]
    return pytest.mark.own_process("-x", *files, "-k", selection, **environment)


def _checked(cells: str) -> pytest.MarkDecorator:
    selection = f"(equals_reference or not_change_a_bit) and {cells}"
    return kernel_tests(selection, NUMBA_BOUNDSCHECK="1")


@pytest.mark.parametrize(
    "cells",
    [
        pytest.param("none", marks=_checked("not gru and not lstm and not rnn")),
        pytest.param("rnn", marks=[_checked("rnn"), pytest.mark.slow]),
        pytest.param("lstm and gru", marks=[_checked("(lstm or gru)"), pytest.mark.slow]),
    ],
)
def test_with_bounds_checking(cells: str, own_process: str) -> None:
    """Every index of the compiled loops is within its array."""
    assert " passed" in own_process, cells
