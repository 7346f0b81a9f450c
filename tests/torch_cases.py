"""Pairs of modules with the same weights, torch.nn's and ours, and slow references with torch."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import fastmask.torch as ft
from tests.cases import make_mask

NAMES = ("LSTM", "GRU", "RNN")
FLOAT64 = torch.float64
OPTIONS = [
    {"num_layers": layers, "bidirectional": both, "bias": bias}
    for layers, both, bias in itertools.product((1, 2), (False, True), (True, False))
]
each_module = pytest.mark.parametrize("name", NAMES)
each_option = pytest.mark.parametrize(
    "options", OPTIONS, ids=lambda o: "-".join(str(int(v)) for v in o.values())
)


def twins(name: str, *sizes: int, **options: Any) -> tuple[Any, Any]:
    """A module of torch.nn and one of ours with the same weights, float64 by default."""
    ours = {
        key: options.pop(key) for key in ("recompute", "zero_output_for_mask") if key in options
    }
    options.setdefault("dtype", FLOAT64)
    theirs = getattr(torch.nn, name)(*sizes, **options)
    fast = getattr(ft, name)(*sizes, **options, **ours)
    fast.load_state_dict(theirs.state_dict())
    return theirs, fast


def as_tuple(states: Any) -> tuple[Any, ...]:
    """The states that a module returned, as a tuple in every case."""
    return states if isinstance(states, tuple) else (states,)


def random_states(module: Any, batch: int | None) -> Any:
    """Random hx, each tensor a leaf, in the form that the module takes."""
    rows = module.num_layers * (1 + module.bidirectional)
    shape = (rows, module.hidden_size) if batch is None else (rows, batch, module.hidden_size)
    count = 2 if module.mode == "LSTM" else 1
    weight = next(module.parameters())
    states = [weight.new_empty(shape).normal_().requires_grad_() for _ in range(count)]
    return tuple(states) if count > 1 else states[0]


def random_mask(kind: str, batch: int, time: int, seed: int = 0) -> Any:
    """A bool tensor (batch, time)."""
    return torch.from_numpy(make_mask(kind, batch, time, np.random.default_rng(seed)))


def loss_of(*results: Any) -> Any:
    """A weighted sum of all elements of the results, each with its own weight."""
    total: Any = 0.0
    for result in results:
        weights = torch.linspace(
            -1, 1, result.numel(), dtype=result.dtype, device=result.device
        ).view(result.shape)
        total = total + (weights * result.sin()).sum()
    return total


def gradients(loss: Any, *leaves: Any) -> list[Any]:
    """Gradients of the loss with respect to all leaves; zeros if it does not depend on one."""
    return list(torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True))


def assert_all_close(actual: Any, expected: Any, tolerance: float = 1e-10) -> None:
    """Assert pairwise equality, up to rounding."""
    assert len(actual) == len(expected)
    for a, b in zip(actual, expected, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        np.testing.assert_allclose(
            a.detach().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance
        )


def by_rows(module: Any, x: Any, valid: Any, hx: Any = None) -> tuple[Any, tuple[Any, ...]]:
    """A batch_first module of torch.nn, row by row over the valid steps; zeros elsewhere."""
    outputs, ends = [], []
    width = module.hidden_size * (1 + module.bidirectional)
    hx = random_states(module, len(x)) if hx is None else hx
    for b in range(len(x)):
        first = tuple(state[:, b] for state in as_tuple(hx))
        out, last = x.new_zeros(x.shape[1], width), first
        if valid[b].any():
            found, last = module(x[b, valid[b]], first if module.mode == "LSTM" else first[0])
            out = out.index_copy(0, valid[b].nonzero()[:, 0], found)
        outputs.append(out)
        ends.append(as_tuple(last))
    states = tuple(torch.stack(state, 1) for state in zip(*ends, strict=True))
    return torch.stack(outputs), states


def in_place(module: Any) -> None:
    """Change weights in a way that torch's version counter sees."""
    with torch.no_grad():
        module.weight_hh_l0.mul_(0.5)


def through_data(module: Any) -> None:
    """Change them in a way that it does not see."""
    module.weight_ih_l0.data.mul_(0.5)


def through_numpy(module: Any) -> None:
    """Change them through a NumPy view, which torch does not see; impossible on a GPU."""
    bias = module.bias_hh_l0.data
    (bias.numpy() if bias.device.type == "cpu" else bias)[...] += 0.5


def by_new_data(module: Any) -> None:
    """Give a parameter new memory."""
    module.bias_hh_l0_reverse.data = torch.randn_like(module.bias_hh_l0)


def by_new_parameter(module: Any) -> None:
    """Replace a parameter."""
    module.weight_hh_l0 = torch.nn.Parameter(torch.randn_like(module.weight_hh_l0))


def by_loading(module: Any) -> None:
    """Load a state_dict."""
    module.load_state_dict({name: 0.5 * value for name, value in module.state_dict().items()})


def by_training(module: Any) -> None:
    """One step of a fused optimizer, which the version counter does not see."""
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5, fused=True)
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    optimizer.zero_grad()


def by_foreach(module: Any) -> None:
    """One step of a foreach optimizer, which changes all weights at once."""
    optimizer = torch.optim.Adam(module.parameters(), lr=0.5, foreach=True)
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    optimizer.zero_grad()


CHANGES = (
    *(in_place, through_data, through_numpy, by_new_data, by_new_parameter),
    *(by_loading, by_training, by_foreach),
)
"""Ways to change weights of a bidirectional module."""


def run(module: Any, x: Any, hx: Any = None, **mask: Any) -> list[Any]:
    """Output, states and all gradients."""
    x = x.clone().requires_grad_()
    out, last = module(x, hx, **mask)
    leaves = [x, *module.parameters(), *([] if hx is None else as_tuple(hx))]
    return [out, *as_tuple(last), *gradients(loss_of(out, *as_tuple(last)), *leaves)]


def everything(module: Any, x: Any, valid: Any, hx: Any, *, fast: bool) -> list[Any]:
    """Output, states and all gradients; by torch.nn row by row unless `fast`."""
    x = x.clone()
    x[~valid] = torch.nan if fast else 0.0  # masked steps must not be read
    x.requires_grad_()
    out, last = module(x, hx, mask=valid) if fast else by_rows(module, x, valid, hx)
    leaves = [x, *as_tuple(hx), *module.parameters()]
    found = [out, *as_tuple(last), *gradients(loss_of(out, *as_tuple(last)), *leaves)]
    return [tensor.cpu() for tensor in found]
