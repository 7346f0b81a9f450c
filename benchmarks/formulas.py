"""Cells made from formulas, beside LSTM and beside the same formula as a loop in torch.

    python -m benchmarks.formulas [--threads 2] [--seconds 2] [--write]

prints a table, and with --write puts it into docs/cells.md: the time of each, forward alone and
with gradients, as a multiple of LSTM's. Half of the steps are masked; results are compared with the
loop's.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from tests.plain_cells import Called, function_of

import fastmask as fm
from benchmarks.blocks import show
from benchmarks.machine import this_processor
from benchmarks.markdown import table
from benchmarks.timing import side_by_side
from fastmask.cells import CELLS, Cell
from fastmask.torch import Recurrent

BATCH, TIME, FEATURES, UNITS = 32, 100, 128, 128
NAMES = ("lstm", "peephole_lstm", "coupled_lstm", "layer_norm_lstm", "gru", "minimal_gated_unit")
TOLERANCE = 1e-4
HEAD = (
    *("cell", "forward", "with gradients", "forward / LSTM", "with gradients / LSTM"),
    *("torch loop / cell, forward", "with gradients"),
)


def loop(cell: Cell, module: Recurrent, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The outputs (B, T, H) of the cell's formula, step by step, zeros at masked steps."""
    kernel, recurrent, bias = module.kernel, module.recurrent_kernel, module.bias
    formula = function_of(cell, torch, "tanh", "sigmoid")
    vectors = {name: getattr(module, name) for name in cell.vectors}
    states = [x.new_zeros(len(x), UNITS) for _ in cell.states]
    of_input = list((x @ kernel).split(UNITS, dim=-1))
    columns = dict(zip(cell.inputs, of_input, strict=True))
    weights = dict(zip(cell.recurrents, recurrent.split(UNITS, dim=1), strict=True))
    biases = dict(zip(cell.sums, bias.split(UNITS), strict=True))
    outputs = []
    for t in range(x.shape[1]):
        sums: list[Any] = []
        for name in cell.sums:
            total = biases[name] + (columns[name][:, t] if name in columns else 0)
            if name in cell.formula.second:
                sums.append(Called(total, weights[name]))
            else:
                sums.append(total + states[0] @ weights[name] if name in weights else total)
        new = formula(*sums, *states, **vectors)
        new = new if isinstance(new, tuple) else (new,)
        valid = mask[:, t, None]
        states = [
            torch.where(valid, after, before) for after, before in zip(new, states, strict=True)
        ]
        outputs.append(torch.where(valid, states[0], 0.0))
    return torch.stack(outputs, dim=1)


def rows(threads: int, seconds: float, sizes: tuple[int, int] = (BATCH, TIME)) -> list[list[str]]:
    """A row for each cell."""
    fm.set_num_threads(threads)
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    x = torch.randn(*sizes, FEATURES)
    mask = torch.rand(*sizes) < 0.5
    found: dict[str, dict[str, float]] = {}
    for name in NAMES:
        cell = CELLS[name]
        module = Recurrent(cell, FEATURES, UNITS, batch_first=True, zero_output_for_mask=True)
        check(name, module(x, mask=mask)[0], loop(cell, module, x, mask))
        found[name] = times(cell, module, x, mask, seconds)
    base = found["lstm"]
    return [
        [
            f"`{name}`",
            *(f"{1e3 * own[what]:.2f} ms" for what in ("forward", "step")),
            *(f"{own[what] / base[what]:.2f}" for what in ("forward", "step")),
            *(f"{own[f'loop {what}'] / own[what]:.0f}" for what in ("forward", "step")),
        ]
        for name, own in found.items()
    ]


def check(name: str, found: torch.Tensor, expected: torch.Tensor) -> None:
    """Check that both compute the same."""
    error = float((found - expected).detach().abs().max())
    if not error < TOLERANCE:
        raise AssertionError(f"{name}: off by {error}")


def times(
    cell: Cell, module: Recurrent, x: torch.Tensor, mask: torch.Tensor, seconds: float
) -> dict[str, float]:
    """The median seconds of each call."""

    def forward() -> None:
        with torch.no_grad():
            module(x, mask=mask)

    def step() -> None:
        module(x, mask=mask)[0].sum().backward()

    def loop_forward() -> None:
        with torch.no_grad():
            loop(cell, module, x, mask)

    def loop_step() -> None:
        loop(cell, module, x, mask).sum().backward()

    calls = {
        "forward": forward,
        "step": step,
        "loop forward": loop_forward,
        "loop step": loop_step,
    }
    return {name: timing.median for name, timing in side_by_side(calls, seconds).items()}


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.formulas", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each cell")
    parser.add_argument("--write", action="store_true", help="into docs/cells.md")
    options = parser.parse_args(arguments)
    found = table(HEAD, rows(options.threads, options.seconds))
    text = (
        f"{found}\n\n{this_processor()}, {options.threads} threads, {BATCH} x {TIME} steps of "
        f"which half are masked, {FEATURES} features, {UNITS} units, float32.\n"
    )
    show(text, "cells.md", "formulas", options.write)


if __name__ == "__main__":
    main()
