"""A cell's formula by torch's own operators, where kernels cannot run: slow, on every device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fastmask_kernels.cells.values import Known, step_values
from fastmask_kernels.formula import Symbol
from fastmask_kernels.formula.symbols import EPSILON

from ._cells import FormulaTorchCell


def by_formula(
    cell: FormulaTorchCell,
    x: Tensor,
    states: Sequence[Tensor],
    weights: Sequence[Sequence[Tensor]],
    valid: Tensor | None,
    zero_masked: bool,
) -> tuple[Tensor, list[Tensor]]:
    """Run a layer, with the arguments and the results of `_layer.forward`.

    Args:
        cell: the cell.
        x: (B, T, F).
        states: the initial states, (D, B, H) each.
        weights: of each direction, as the module has them.
        valid: (B, T), or None if all steps are valid.
        zero_masked: whether masked steps give zeros instead of the previous output.
    """
    halves, ends = [], []
    for d, own in enumerate(weights):
        step = _step(cell, own)
        now, outputs = [state[d] for state in states], []
        output = torch.zeros_like(now[0])
        for t in reversed(range(x.shape[1])) if d else range(x.shape[1]):
            if valid is None:
                now = step(x[:, t], now)
                output = now[0]
            else:
                here = valid[:, t, None]
                after = step(torch.where(here, x[:, t], 0), now)
                now = [torch.where(here, *pair) for pair in zip(after, now, strict=True)]
                output = torch.where(here, now[0], 0 if zero_masked else output)
            outputs.append(output)
        outputs = outputs[::-1] if d else outputs
        halves.append(
            torch.stack(outputs, 1) if outputs else x.new_zeros(len(x), 0, now[0].shape[1])
        )
        ends.append(now)
    return torch.cat(halves, -1), [torch.stack(each) for each in zip(*ends, strict=True)]


def _step(
    cell: FormulaTorchCell, weights: Sequence[Tensor]
) -> Callable[[Tensor, Sequence[Tensor]], list[Tensor]]:
    formula = cell.formula
    units = cell.sizes(weights)[1]
    kernel, recurrent, bias, *vectors = cell.named(weights)

    def columns(weight: Any, names: tuple[str, ...], name: str) -> Any:
        begin = names.index(name) * units
        return weight[..., begin : begin + units]

    def step(x: Tensor, states: Sequence[Tensor]) -> list[Tensor]:
        def part_of_x(name: str) -> Any:
            own = 0 if bias is None else columns(bias, formula.sums, name)
            with_x = name in formula.inputs
            return own + (x @ columns(kernel, formula.inputs, name) if with_x else 0)

        def product(name: str, value: Any) -> Any:
            return value @ columns(recurrent, formula.recurrents, name)

        def evaluate(symbols: Sequence[Symbol], known: Known) -> list[Any]:
            return _evaluate(cell, symbols, known)

        known = step_values(formula, states, vectors, part_of_x, product, evaluate)
        new = evaluate(formula.formula.new, known)
        return [torch.as_tensor(one, device=x.device).expand_as(states[0]) for one in new]

    return step


def _evaluate(cell: FormulaTorchCell, symbols: Sequence[Symbol], known: Known) -> list[Any]:
    got = {id(symbol): value for symbol, value in known.items()}
    chosen: dict[str, str] = dict(
        zip(cell.formula.activations, map(str, cell.settings), strict=True)
    )

    def value(symbol: Symbol) -> Any:
        if id(symbol) not in got:
            args = list(map(value, symbol.operands))
            op = chosen.get(symbol.op, symbol.op)
            got[id(symbol)] = symbol.args[0] if op == "constant" else _OPERATIONS[op](*args)
        return got[id(symbol)]

    return list(map(value, symbols))


def _extreme(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Any, Any], Tensor]:
    def applied(a: Any, b: Any) -> Tensor:
        like = a if isinstance(a, Tensor) else b
        return function(
            *(torch.as_tensor(one, dtype=like.dtype, device=like.device) for one in (a, b))
        )

    return applied


def _moments(*values: Tensor) -> tuple[Tensor, Tensor]:
    together = torch.cat(torch.broadcast_tensors(*values), -1)
    variance, mean = torch.var_mean(together, -1, correction=0, keepdim=True)
    return mean, torch.rsqrt(variance + EPSILON)


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "maximum": _extreme(torch.maximum),
    "minimum": _extreme(torch.minimum),
    "exp": torch.exp,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "hard_sigmoid": torch.nn.functional.hardsigmoid,
    "hard_sigmoid_keras2": lambda x: torch.clamp(0.2 * x + 0.5, 0, 1),
    "moments": _moments,
    "normalized": lambda moments, x: (x - moments[0]) * moments[1],
}
