"""Random cases of masked recurrent layers: sizes, masks of every kind, weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastmask_kernels import cells
from fastmask_kernels.cells import Cell
from fastmask_kernels.cells.table import CellKernels

MASK_KINDS = ("full", "empty", "right", "left", "holes", "single", "row_off")


def make_mask(kind: str, batch: int, time: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A mask (batch, time) of one kind."""
    steps = np.arange(time)
    lengths = rng.integers(0, time + 1, batch)[:, np.newaxis]
    if kind == "full":
        return np.ones((batch, time), bool)
    if kind == "empty":
        return np.zeros((batch, time), bool)
    if kind == "right":
        return steps < lengths
    if kind == "left":
        return steps >= time - lengths
    if kind == "single":
        return steps == lengths
    valid = rng.random((batch, time)) < rng.uniform(0.1, 0.9)
    if kind == "row_off":
        valid[::2] = False
    return valid


def plan_of(valid: NDArray[np.bool_]) -> tuple[NDArray[np.int64], ...]:
    """offsets, steps and order of a mask, in three obvious lines."""
    counts = valid.sum(axis=1)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return offsets, np.flatnonzero(valid), np.argsort(-counts, kind="stable")


SAVING = ("nothing", "states", "gates")


@dataclass
class RecurrentCase:
    """All arguments of a cell's kernels, in either direction."""

    batch: int
    time: int
    features: int
    units: int
    kind: str = "full"
    seed: int = 0
    dtype: str = "float32"
    sequences: bool = True
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    reverse: bool = False
    zero_masked: bool = False
    spare: int = 0  # entries of `steps` behind the last valid step
    x: NDArray[Any] = field(init=False)

    cell: ClassVar[str]
    gates: ClassVar[int]  # in the weights
    bias_rows: ClassVar[tuple[int, ...]] = ()
    states_saved: ClassVar[int] = 1
    gates_saved: ClassVar[int] = 4

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.valid = make_mask(self.kind, self.batch, self.time, rng)
        scale = 1 / np.sqrt(max(self.features + self.units, 1))

        def normal(*shape: int) -> NDArray[Any]:
            return rng.standard_normal(shape).astype(self.dtype)

        self.x = normal(self.batch, self.time, self.features)
        self.x[~self.valid] = np.nan  # no kernel may read a masked step
        kernel, recurrent, *others = self.weight_shapes
        self.weights = [
            (normal(*kernel) * scale).astype(self.dtype),
            (normal(*recurrent) * scale).astype(self.dtype),
            *(normal(*shape) for shape in others),
        ]
        self.states = [normal(self.batch, self.units) for _ in range(self.states_saved)]
        steps = self.time if self.sequences else 0
        self.dout = normal(self.batch, steps, self.units)
        self.dout[~self.counted[:, :steps]] = np.nan  # nor the gradients of their outputs
        self.dlast = [normal(self.batch, self.units) for _ in range(self.states_saved)]

    @property
    def weight_shapes(self) -> list[tuple[int, ...]]:
        """The shapes of kernel, recurrent kernel, bias, and further weights of a cell."""
        gates = self.gates * self.units
        return [(self.features, gates), (self.units, gates), (*self.bias_rows, gates)]

    @property
    def width(self) -> int:
        """The number of blocks of H columns in `gates`, backward."""
        return max(self.gates_saved, 1)

    def kernels(self, backend: Any) -> CellKernels:
        """The kernels of a backend."""
        names = (f"{self.cell}_{name}" for name in CellKernels._fields)
        return CellKernels(*(getattr(backend, name) for name in names))

    @property
    def counted(self) -> NDArray[np.bool_]:
        """(B, T) in the order of processing: where the output depends on anything."""
        valid = self.valid[:, ::-1] if self.reverse else self.valid
        return valid if self.zero_masked else np.logical_or.accumulate(valid, axis=1)

    @property
    def options(self) -> tuple[Any, ...]:
        """The arguments of the forward kernel between the states and the direction."""
        return self.activation, self.recurrent_activation

    @property
    def pack_options(self) -> tuple[Any, ...]:
        """The arguments of the packing kernel after the weights."""
        return ()

    @property
    def plan(self) -> tuple[NDArray[np.int64], ...]:
        """offsets, steps, order; spare entries of `steps` are invalid."""
        offsets, steps, order = plan_of(self.valid)
        return offsets, np.append(steps, np.full(self.spare, -(2**40))), order

    @property
    def inputs(self) -> list[NDArray[Any]]:
        """All inputs with gradients: x, the weights, the initial states."""
        return [self.x, *self.weights, *self.states]

    def with_inputs(self, inputs: list[NDArray[Any]]) -> RecurrentCase:
        """The same case with other numbers."""
        other = copy.copy(self)
        other.x, *rest = inputs
        count = len(self.weights)
        other.weights, other.states = rest[:count], rest[count:]
        return other

    def run(
        self, backend: Any, threads: int = 1, dtype: str | None = None, save: str = "nothing"
    ) -> list[NDArray[Any]]:
        """out and last states from a backend's kernels, on outputs full of NaN.

        With `save` "states" or "gates" also what is saved for the backward pass; gates that are
        not saved are empty.
        """
        to, kernels = self._converter(dtype), self.kernels(backend)
        size = kernels.packed_size(self.features, self.units, np.dtype(dtype or self.dtype))
        packed = self._nan(dtype, size)
        kernels.pack(packed, *map(to, self.weights), *self.pack_options)
        steps = self.time if self.sequences else 0
        out = self._nan(dtype, self.batch, steps, self.units)
        last = [self._nan(dtype, self.batch, self.units) for _ in self.states]
        offsets, valid_steps, order = self.plan
        kept = 0 if save == "nothing" else len(valid_steps)
        saved = [self._nan(dtype, kept, self.units) for _ in self.states]
        if self.gates_saved:
            kept = len(valid_steps) if save == "gates" else 0
            saved.append(self._nan(dtype, kept, self.gates_saved * self.units))
        kernels.fwd(
            *(out, *last, *saved, to(self.x), offsets, valid_steps, order, packed),
            *map(to, self.states),
            *(*self.options, self.reverse, self.zero_masked, threads),
        )
        return [out, *last, *(saved if save != "nothing" else [])]

    def run_backward(
        self,
        backend: Any,
        threads: int = 1,
        dtype: str | None = None,
        save: str = "gates",
        want_dx: bool = True,
    ) -> list[NDArray[Any]]:
        """Gradients of x (empty if not wanted), weights and initial states, and `gates`.

        They are the gradients of sum(dout * out) + sum(dlast * last). The forward kernel of the
        same backend saves its values first; all outputs start full of NaN.
        """
        to = self._converter(dtype)
        saved = self.run(backend, threads, dtype, save)[1 + self.states_saved :]
        states, kept = saved[: self.states_saved], saved[self.states_saved :]
        gates = self._nan(dtype, len(self.plan[1]), self.width * self.units)
        if save == "gates" and kept:
            gates[:, : kept[0].shape[1]] = kept[0]
        dx = self._nan(dtype, self.batch, self.time if want_dx else 0, self.features)
        results = [dx, *(np.full_like(to(a), np.nan) for a in (*self.weights, *self.states))]
        gates_saved = (save == "gates",) if self.gates_saved else ()
        self.kernels(backend).bwd(
            *(*results, gates, to(self.dout), *map(to, self.dlast), to(self.x)),
            *(*self.plan, *map(to, self.weights), *map(to, self.states), *states),
            *(*self.options[:2], *gates_saved, *self.options[2:]),
            *(self.reverse, self.zero_masked, threads),
        )
        return [*results, gates]

    def _nan(self, dtype: str | None, *shape: int) -> NDArray[Any]:
        return np.full(shape, np.nan, dtype or self.dtype)

    def _converter(self, dtype: str | None) -> Callable[[NDArray[Any]], NDArray[Any]]:
        return lambda array: np.ascontiguousarray(array, dtype or self.dtype)


class LSTMCase(RecurrentCase):
    """All arguments of the LSTM's kernels."""

    cell = "lstm"
    gates = 4
    states_saved = 2


@dataclass
class GRUCase(RecurrentCase):
    """All arguments of the GRU's kernels."""

    reset_after: bool = True

    cell = "gru"
    gates = 3
    bias_rows = (2,)

    @property
    def options(self) -> tuple[Any, ...]:
        """Including `reset_after`."""
        return self.activation, self.recurrent_activation, self.reset_after

    @property
    def pack_options(self) -> tuple[Any, ...]:
        """`reset_after`."""
        return (self.reset_after,)


class RNNCase(RecurrentCase):
    """All arguments of the SimpleRNN's kernels."""

    cell = "rnn"
    gates = 1
    gates_saved = 0

    @property
    def options(self) -> tuple[Any, ...]:
        """The one activation."""
        return (self.activation,)


@dataclass
class CellCase(RecurrentCase):
    """All arguments of the kernels of a cell made from a formula."""

    own: Cell = cells.simple_rnn

    def __post_init__(self) -> None:
        self.states_saved = len(self.own.states)  # type: ignore[misc]  # of the case, not the class
        self.gates_saved = len(self.own.saved) if self.own.keeps_gates else 0  # type: ignore[misc]  # likewise
        super().__post_init__()

    @property
    def weight_shapes(self) -> list[tuple[int, ...]]:
        """With the vectors."""
        own, units = self.own, self.units
        inputs, recurrents, sums = (len(n) * units for n in (own.inputs, own.recurrents, own.sums))
        vectors = [(units,)] * len(own.vectors)
        return [(self.features, inputs), (units, recurrents), (sums,), *vectors]

    @property
    def width(self) -> int:
        """With the vectors' gradients."""
        return self.own.width

    def kernels(self, backend: Any) -> CellKernels:
        """The kernels that a backend makes for the cell."""
        made: CellKernels = backend.kernels_of(self.own)
        return made

    @property
    def options(self) -> tuple[Any, ...]:
        """The activations that the formula leaves open."""
        return tuple(getattr(self, name) for name in self.own.activations)


CASES: dict[str, type[RecurrentCase]] = {"lstm": LSTMCase, "gru": GRUCase, "rnn": RNNCase}


def cases_of(cell: str, **strategies: Any) -> st.SearchStrategy[Any]:
    """Random cases of a cell; `strategies` replace those given here."""
    chosen = {
        "batch": st.integers(0, 40),
        "time": st.integers(0, 9),
        "features": st.integers(0, 20),
        "units": st.integers(1, 70),
        "kind": st.sampled_from(MASK_KINDS),
        "seed": st.integers(0, 2**32 - 1),
        "dtype": st.sampled_from(("float32", "float64")),
        "sequences": st.booleans(),
        "activation": st.sampled_from(("tanh", "tanh", "tanh", "hard_sigmoid", "relu", "linear")),
        "recurrent_activation": st.sampled_from(("sigmoid", "sigmoid", "hard_sigmoid")),
        "reverse": st.booleans(),
        "zero_masked": st.booleans(),
        "spare": st.sampled_from((0, 0, 3)),
    }
    if cell == "gru":
        chosen["reset_after"] = st.booleans()
    return st.builds(CASES[cell], **chosen | strategies)


lstm_cases = cases_of("lstm")


def activation_of(name: str) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """An activation, implemented independently."""
    return {
        "linear": lambda x: x,
        "relu": lambda x: x * (x > 0),
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "hard_sigmoid": lambda x: np.minimum(np.maximum(x / 6 + 0.5, 0), 1),
        "hard_sigmoid_keras2": lambda x: np.minimum(np.maximum(x / 5 + 0.5, 0), 1),
        "tanh": np.tanh,
    }[name]


def assert_close(actual: NDArray[Any], expected: NDArray[Any], dtype: str) -> None:
    """Equal to a few units of rounding of the dtype, NaN where NaN is expected."""
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)
