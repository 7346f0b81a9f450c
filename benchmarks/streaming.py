"""One step in many live streams of which few have an event: only those, or all of them.

A library without masks can only step all streams; the states of those without an event would then
have to be restored, which is left out here in its favor. Gathering the rows that have an event,
stepping those and scattering them is what a careful user of PyTorch would write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.cases import Case, Floats, Problem
from benchmarks.cells import CELLS, Array
from benchmarks.peers import Contender, Peer, fastmask_layer, torch_weights

STREAMS, FEATURES, UNITS = 10_000, 64, 128
SHARE = 0.05  # of the streams have an event
MASKS = 16  # drawn in advance: with each call other streams have events


Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Streams(Contender):
    """Live streams: `step` advances those of a mask, or all; the result is their states."""

    step: Callable[[Mask], Any]
    everybody: bool  # whether `step` ignores the mask

    def error(self, problem: Problem) -> float:
        """Largest difference of the states after one step from the formula's, in float64."""
        cell, x = problem.cell, problem.x[:, 0].astype(np.float64)
        bias, recurrent_bias = cell.biases(problem.bias)
        before = [state.astype(np.float64) for state in self.result(None)]
        after = cell.formula(
            x @ problem.kernel + bias, before[0] @ problem.recurrent_kernel + recurrent_bias, before
        )
        mask = draw_masks(len(x))[0]
        stepped = (mask | self.everybody)[:, None]
        self.step(mask)
        return max(
            float(np.abs(found - np.where(stepped, new, old)).max())
            for found, new, old in zip(self.result(None), after, before, strict=True)
        )


def streams(
    step: Callable[[Mask], Any], states: Callable[[], list[Array]], everybody: bool
) -> Streams:
    """A contender that gets another mask with each call."""
    masks = cycle(draw_masks(len(states()[0])))
    return Streams(lambda: step(next(masks)), lambda _: states(), step, everybody)


def streaming_case(cell: str, streams: int = STREAMS) -> Case:
    """One step of many streams."""
    return Case(streams, 1, FEATURES, UNITS, cell=cell)


def streaming_cases() -> list[Case]:
    return [streaming_case(cell) for cell in CELLS]


def first_states(problem: Problem) -> list[Floats]:
    """Random states (B, H), the same ones each time."""
    rng = np.random.default_rng(2)
    size = problem.case.batch, problem.case.units
    return [rng.uniform(-1, 1, size).astype(np.float32) for _ in range(problem.cell.states)]


def draw_masks(streams: int) -> list[Mask]:
    """Masks that have the same number of events at different streams."""
    rng = np.random.default_rng(3)
    events = np.arange(streams) < round(SHARE * streams)
    return [rng.permutation(events) for _ in range(MASKS)]


def prepare_fastmask(problem: Problem, threads: int, everybody: bool) -> Streams:
    layer = fastmask_layer(problem, threads)
    x, states = problem.x[:, 0], first_states(problem)

    def step(mask: Mask) -> None:
        layer.step(x, states, mask=None if everybody else mask)

    return streams(step, lambda: states, everybody)


def prepare_torch(problem: Problem, threads: int, everybody: bool) -> Streams:
    """LSTMCell, GRUCell or RNNCell of torch.nn."""
    import torch

    torch.set_num_threads(threads)
    cell = getattr(torch.nn, problem.cell.torch + "Cell")(problem.case.features, problem.case.units)
    weights = torch_weights(problem)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in weights.items()})
    x = torch.from_numpy(problem.x[:, 0])
    states = [torch.from_numpy(state) for state in first_states(problem)]

    def after(x: Any, states: list[Any]) -> list[Any]:
        return list(cell(x, tuple(states))) if len(states) > 1 else [cell(x, *states)]

    @torch.inference_mode()
    def step(mask: Mask) -> None:
        if everybody:
            states[:] = after(x, states)
            return
        rows = torch.from_numpy(mask).nonzero().squeeze(1)
        for state, new in zip(states, after(x[rows], [s[rows] for s in states]), strict=True):
            state[rows] = new

    return streams(step, lambda: [state.numpy() for state in states], everybody)


def peer(name: str, module: str, prepare: Callable[..., Streams], everybody: bool) -> Peer:
    return Peer(name, (module,), True, partial(prepare, everybody=everybody))


EVENTS = peer("fastmask, events", "fastmask", prepare_fastmask, False)
ALL = (
    peer("fastmask, all", "fastmask", prepare_fastmask, True),
    peer("PyTorch, all", "torch", prepare_torch, True),
)
STEPPERS = (EVENTS, *ALL, peer("PyTorch, events gathered", "torch", prepare_torch, False))
