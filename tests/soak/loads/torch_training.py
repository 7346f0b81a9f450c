"""Training of a model with fastmask.torch's modules, as torch itself trains it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch

import fastmask.torch as ft

from ...torch_cases import FLOAT64
from ..cases import pick
from ..problem import Array, Problem, Random, load

STEPS = 3
TOLERANCE = 1e-9  # of parameters in double precision, of size 1


class Tagger(torch.nn.Module):
    """A recurrent layer and a linear one."""

    def __init__(self, kind: str, features: int, units: int) -> None:
        super().__init__()
        self.reader = getattr(torch.nn, kind)(features, units, batch_first=True, dtype=FLOAT64)
        self.out = torch.nn.Linear(units, 2, dtype=FLOAT64)

    def forward(self, x: Any) -> Any:
        return self.out(self.reader(x)[0])


@load
def torch_training(random: Random) -> Problem:
    sizes = int(random.integers(1, 10)), int(random.integers(1, 30))
    theirs = Tagger(pick(random, ("LSTM", "GRU", "RNN")), *sizes)
    generator = torch.Generator().manual_seed(int(random.integers(2**32)))
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.uniform_(-0.5, 0.5, generator=generator)
    batch, time = int(random.integers(1, 30)), int(random.integers(1, 15))
    x, y = (torch.from_numpy(random.standard_normal((batch, time, n))) for n in (sizes[0], 2))
    optimizer = pick(random, (torch.optim.SGD, torch.optim.Adagrad))

    def trained(model: Any) -> list[Array]:
        descent = optimizer(model.parameters(), lr=0.05)
        for _ in range(STEPS):
            descent.zero_grad()
            (model(x) - y).square().mean().backward()
            descent.step()
        with torch.no_grad():
            return [model(x).numpy(), *(p.detach().numpy() for p in model.parameters())]

    def compute() -> Sequence[Any]:
        return trained(ft.convert(copy.deepcopy(theirs)))

    expected = trained(copy.deepcopy(theirs))
    return Problem(compute, expected, [TOLERANCE] * len(expected), repeats=False, forks=False)
