"""The contenders of the training benchmark: a forward and a backward call of one layer.

All are PyTorch modules with the same state_dict. A call drops the gradients of the previous one,
runs the layer on a padded batch and sends the same random gradient back through its padded
output, zero at masked steps; the inputs need a gradient too, as in a stack of layers.
Packing, unpacking, and the plan of a new mask belong to the call. Every gradient is compared with
that of `torch.nn` in float64 before it is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from benchmarks.cases import Case, Floats, Problem, make_problem
from benchmarks.cells import Array
from benchmarks.limit import limit_numpy_threads
from benchmarks.peers import FASTMASK, Contender, Peer, pack_run_unpack, torch_module

Gradients = dict[str, Array]


@dataclass(frozen=True)
class Step(Contender):
    """A forward and backward call, whose result is the gradients by name."""

    def error(self, problem: Problem) -> float:
        """Largest difference from the float64 gradients, in units of the largest gradient."""
        found, wanted = self.result(self.call()), expected_gradients(problem.case)
        return max(
            float(np.abs(found[name] - wanted[name]).max() / np.abs(wanted[name]).max())
            for name in wanted
        )


def upstream(problem: Problem) -> Floats:
    """The gradient of the output (B, T, H): random, zero at masked steps."""
    batch, time, _, units = problem.case.shape
    gradient = np.random.default_rng(1).standard_normal((batch, time, units), np.float32)
    return gradient * problem.valid[:, :, None]


@lru_cache(maxsize=1)
def expected_gradients(case: Case) -> Gradients:
    """What `torch.nn` computes in float64; right padding, so it needs no mask."""
    problem = make_problem(case)
    module = torch_module(problem, threads=1).double()
    step = training_step(problem, module, lambda x: module(x)[0])
    gradients: Gradients = step.result(step.call())
    return gradients


def training_step(problem: Problem, module: Any, forward: Callable[[Any], Any]) -> Step:
    """`forward`, from x (B, T, F) to the output (B, T, H), and back."""
    import torch

    dtype = next(module.parameters()).dtype
    x = torch.tensor(problem.x, dtype=dtype, requires_grad=True)
    gradient = torch.tensor(upstream(problem), dtype=dtype)

    def call() -> None:
        module.zero_grad(set_to_none=True)
        x.grad = None
        forward(x).backward(gradient)

    def gradients(_: None) -> Gradients:
        tensors = {"x": x, **dict(module.named_parameters())}
        return {name: tensor.grad.numpy() for name, tensor in tensors.items()}

    return Step(call, gradients)


def fastmask_training(problem: Problem, threads: int, recompute: bool) -> Step:
    """A new mask with every call, so that planning is part of the time."""
    import torch

    import fastmask as fm
    import fastmask.torch

    limit_numpy_threads(threads)
    fm.set_num_threads(threads)
    module = torch_module(problem, threads, fastmask.torch)
    module.recompute = recompute
    valid = torch.from_numpy(problem.valid)
    return training_step(problem, module, lambda x: module(x, mask=valid.clone())[0])


def prepare_fastmask(problem: Problem, threads: int) -> Step:
    return fastmask_training(problem, threads, recompute=False)


def prepare_fastmask_recompute(problem: Problem, threads: int) -> Step:
    return fastmask_training(problem, threads, recompute=True)


def prepare_torch_padded(problem: Problem, threads: int) -> Step:
    module = torch_module(problem, threads)
    return training_step(problem, module, lambda x: module(x)[0])


def prepare_torch_packed(problem: Problem, threads: int) -> Step:
    module = torch_module(problem, threads)
    return training_step(problem, module, pack_run_unpack(problem, module))


MODULES = ("fastmask", "torch")
RECOMPUTE = Peer("fastmask recompute", MODULES, True, prepare_fastmask_recompute)
PACKED = Peer("PyTorch packed", ("torch",), False, prepare_torch_packed)
TRAINERS = (
    Peer(FASTMASK.name, MODULES, True, prepare_fastmask),
    RECOMPUTE,
    Peer("PyTorch padded", ("torch",), False, prepare_torch_padded),
    PACKED,
)
