"""fastmask.torch's modules against torch's own, over the valid steps of each row."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import fastmask.torch as ft

from ...cases import MASK_KINDS, make_mask
from ...torch_cases import NAMES, as_tuple, by_rows, gradients, loss_of, twins
from ..cases import flag, pick, scaled
from ..problem import Array, Problem, Random, load
from .weights import beside

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def _modules(random: Random, **options: Any) -> tuple[str, Any, Any]:
    """Dtype, torch's module in double precision, and ours with the same weights."""
    dtype = pick(random, tuple(DTYPES))
    sizes = int(random.integers(1, 12)), int(random.integers(1, 40))
    options |= {"batch_first": True, "bias": flag(random), "bidirectional": flag(random)}
    theirs, ours = twins(
        pick(random, NAMES), *sizes, **options, dtype=DTYPES[dtype], recompute=flag(random)
    )
    generator = torch.Generator().manual_seed(int(random.integers(2**32)))
    with torch.no_grad():
        for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
            a.copy_(torch.empty_like(a).uniform_(-0.5, 0.5, generator=generator))
            b.copy_(a)
    return dtype, theirs.double(), ours


def _inputs(random: Random, dtype: str, ours: Any) -> tuple[Array, Array]:
    """x, with NaN at masked steps, and the mask."""
    batch, time = int(random.integers(1, 20)), int(random.integers(1, 12))
    valid = make_mask(pick(random, MASK_KINDS), batch, time, random)
    x = random.standard_normal((batch, time, ours.input_size)).astype(dtype)
    x[~valid] = np.nan
    return x, valid


def _arrays(tensors: Sequence[Any]) -> list[Array]:
    return [tensor.detach().numpy() for tensor in tensors]


@load
def torch_masks(random: Random) -> Problem:
    """Forward and backward of one layer with a mask."""
    dtype, theirs, ours = _modules(random)
    x, valid = _inputs(random, dtype, ours)
    mask = torch.from_numpy(valid)
    shape = (1 + ours.bidirectional, len(x), ours.hidden_size)
    states = [random.standard_normal(shape).astype(dtype) for _ in range(1 + (ours.mode == "LSTM"))]

    def hx(arrays: Sequence[Any], double: bool = False) -> list[Any]:
        found = [torch.tensor(a, dtype=torch.float64 if double else None) for a in arrays]
        return [one.requires_grad_() for one in found]

    def compute() -> Sequence[Any]:
        data, first = torch.tensor(x, requires_grad=True), hx(states)
        out, last = ours(data, tuple(first) if len(first) > 1 else first[0], mask=mask)
        loss = loss_of(out, *as_tuple(last))
        return _arrays([out, *as_tuple(last), *gradients(loss, data, *first, *ours.parameters())])

    def run(inputs: list[Array]) -> list[Array]:
        data = torch.tensor(inputs[0], dtype=torch.float64, requires_grad=True)
        first = hx(inputs[1:], double=True)
        out, last = by_rows(theirs, data, mask, tuple(first) if len(first) > 1 else first[0])
        found = gradients(loss_of(out, *last), data, *first, *theirs.parameters())
        return _arrays([out, *last, *found])

    seed = int(random.integers(2**32))
    return Problem(compute, *scaled(run, [x, *states], dtype, seed), repeats=False, forks=False)


@load
def torch_packed(random: Random) -> Problem:
    """Two layers and a PackedSequence, in a model that was converted."""
    dtype, theirs, _ = _modules(random, num_layers=2)
    model = ft.convert(copy.deepcopy(theirs).to(DTYPES[dtype]))
    batch, time = int(random.integers(1, 20)), int(random.integers(1, 12))
    x = random.standard_normal((batch, time, theirs.input_size)).astype(dtype)
    lengths = torch.from_numpy(random.integers(1, time + 1, batch))

    def through(module: Any, data: Any) -> list[Array]:
        rows = pack_padded_sequence(data, lengths, batch_first=True, enforce_sorted=False)
        out, last = module(rows)
        padded, _ = pad_packed_sequence(out, batch_first=True)
        loss = loss_of(padded, *as_tuple(last))
        found = gradients(loss, data, *module.parameters())
        return _arrays([padded, *as_tuple(last), *found])

    def run(inputs: list[Array]) -> list[Array]:
        return through(theirs, torch.tensor(inputs[0], dtype=torch.float64, requires_grad=True))

    return Problem(
        lambda: through(model, torch.tensor(x, requires_grad=True)),
        *scaled(run, [x], dtype, int(random.integers(2**32))),
        repeats=False,
        forks=False,
    )


@load
def torch_weights(random: Random) -> Problem:
    """After any kind of change of a weight, calls without gradients use the new one."""
    dtype, theirs, ours = _modules(random)
    x, valid = _inputs(random, dtype, ours)
    data, mask = torch.tensor(x), torch.from_numpy(valid)
    start = copy.deepcopy(ours.state_dict())
    names = [name for name, _ in ours.named_parameters()]
    changes = [(pick(random, names), pick(random, ("data", "in place", "load"))) for _ in range(3)]

    def call() -> Any:
        with torch.no_grad():
            return ours(data, mask=mask)[0]

    def compute() -> Sequence[Any]:
        ours.load_state_dict(start)
        return _arrays([beside(call, lambda one=one: _change(ours, *one)) for one in changes])

    def run(inputs: list[Array]) -> list[Array]:
        module = copy.deepcopy(theirs)
        found = []
        for change in changes:
            _change(module, *change)
            one = torch.tensor(inputs[0], dtype=torch.float64)
            zeros = torch.zeros(1 + module.bidirectional, len(one), module.hidden_size).double()
            hx = (zeros, zeros) if module.mode == "LSTM" else zeros
            with torch.no_grad():
                found.append(by_rows(module, one, mask, hx)[0])
        return _arrays(found)

    return Problem(
        compute,
        *scaled(run, [x], dtype, int(random.integers(2**32))),
        repeats=False,
        forks=False,
        signals=False,
    )


def _change(module: Any, name: str, how: str) -> None:
    weight = getattr(module, name)
    if how == "data":
        weight.data.mul_(0.75)
    elif how == "in place":
        with torch.no_grad():
            weight.mul_(0.75)
    else:
        state = {key: value.clone() for key, value in module.state_dict().items()}
        state[name] *= 0.75
        module.load_state_dict(state)
