"""Keras's recurrent layers, described by a string and computed on the host, forward and backward.

For frameworks that bring their own differentiation and allocate the memory for the results.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .._typing import Array, Bools
from .cell import GRU, LSTM, SIMPLE_RNN, Cell
from .host import HOST
from .plan import Plan, full_plan, plan_of
from .recurrent import Settings, pack, run_backward, run_forward

FORWARD, BACKWARD = "forward", "backward"
_CELLS = {"LSTM": LSTM, "GRU": GRU, "SimpleRNN": SIMPLE_RNN}
_MOST_STEPS = 1 << 16  # of a mask whose plan is cached
_FLAGS = ("reset_after", "go_backwards", "zero_masked", "return_sequences")


class Layer(NamedTuple):
    """What a recurrent layer computes, besides its arrays; hashable.

    Attributes:
        kind: "LSTM", "GRU" or "SimpleRNN".
        activations: names, the recurrent one second where there is one.
        reset_after: of a GRU.
        go_backwards: whether to go from the last step to the first; outputs come in that order.
        zero_masked: whether masked steps give zeros instead of the previous output.
        return_sequences: whether the outputs of all steps are wanted instead of the last one.
    """

    kind: str
    activations: tuple[str, ...]
    reset_after: bool
    go_backwards: bool
    zero_masked: bool
    return_sequences: bool

    @property
    def cell(self) -> Cell:
        """The cell as kernels see it."""
        return _CELLS[self.kind]

    @property
    def settings(self) -> Settings:
        """See `recurrent.Settings`."""
        return (*self.activations, self.reset_after) if self.kind == "GRU" else self.activations

    @property
    def words(self) -> str:
        """The layer as a string, such as "LSTM tanh sigmoid go_backwards", for `layer_of`."""
        flags = [name for name in _FLAGS if getattr(self, name)]
        return " ".join([self.kind, *self.activations, *flags])

    def bias_shape(self, columns: int) -> tuple[int, ...]:
        """The shape of a bias for kernels with this many columns."""
        return (2, columns) if self.reset_after else (columns,)

    def saved(self, rows: int, units: int) -> list[tuple[int, int]]:
        """The shapes of what forward saves for backward, with room for `rows` steps."""
        return [(rows, width * units) for width in self.cell.saved]


@lru_cache(maxsize=256)
def layer_of(words: str) -> Layer:
    """The layer described by `Layer.words`."""
    kind, *others = words.split()
    activations = tuple(word for word in others if word not in _FLAGS)
    return Layer(kind, activations, *(flag in others for flag in _FLAGS))


def compute(words: str, outputs: Sequence[Array], inputs: Sequence[Array]) -> None:
    """Run a layer that is described by a string, forward or backward.

    Args:
        words: `FORWARD` or `BACKWARD`, a space, and `Layer.words`.
        outputs: see `forward_into` and `backward_into`.
        inputs: x, a mask, with shape (0, 0) for none, states and weights; for backward also what
            was saved, and the gradients of the results.
    """
    way, _, spelled = words.partition(" ")
    layer = layer_of(spelled)
    count, saved = layer.cell.states, len(layer.cell.saved)
    x, mask, *others = inputs
    states, weights, others = others[:count], others[count : count + 3], others[count + 3 :]
    known: Bools | None = mask if mask.shape == x.shape[:2] else None
    if way == FORWARD:
        forward_into(layer, outputs, x, known, states, weights)
        return
    kept, (dout, *dlast) = others[:saved], others[saved:]
    backward_into(layer, outputs, x, known, states, weights, kept, dout, dlast)


def forward_into(
    layer: Layer,
    outputs: Sequence[Array],
    x: Array,
    mask: Bools | None,
    states: Sequence[Array],
    weights: Sequence[Array],
    packed: Array | None = None,
) -> None:
    """Run a layer forward.

    Args:
        layer: the layer.
        outputs: arrays to write: the outputs (B, T, H), or the last one (B, H); the last states,
            (B, H) each; and, optionally, what is saved, see `Layer.saved`. Its rows beyond the
            valid steps are not touched.
        x: (B, T, F).
        mask: (B, T), or None if all steps are valid.
        states: the initial ones, (B, H) each.
        weights: kernel, recurrent kernel and bias, as Keras has them.
        packed: the result of `pack`, if it is there already.
    """
    cell, count = layer.cell, len(states)
    out, last, saved = outputs[0], outputs[1 : 1 + count], outputs[1 + count :]
    (batch, time, _), units = x.shape, states[0].shape[1]
    plan = _plan(mask, batch, time)
    if not saved:
        saved = [np.empty(shape, x.dtype) for shape in layer.saved(0, units)]
    run_forward(
        HOST,
        cell,
        (
            out if layer.return_sequences else np.empty((batch, 0, units), x.dtype),
            *last,
            *(room[: len(plan.steps)] for room in saved),
        ),
        x,
        plan,
        pack(HOST, cell, weights, layer.settings) if packed is None else packed,
        states,
        layer.settings,
        layer.go_backwards,
        layer.zero_masked,
    )
    if not layer.return_sequences:
        out[...] = last[0]
        gone = _gone(layer, mask, plan)
        if gone.any():
            out[gone] = 0


def backward_into(
    layer: Layer,
    outputs: Sequence[Array],
    x: Array,
    mask: Bools | None,
    states: Sequence[Array],
    weights: Sequence[Array],
    saved: Sequence[Array],
    dout: Array,
    dlast: Sequence[Array],
) -> None:
    """Run a layer backward.

    Args:
        layer: the layer.
        outputs: arrays to write: the gradients of x, of the states and of the weights; and,
            optionally, memory for the gates, which may be the last of `saved`.
        x: as for `forward_into`, like `mask`, `states` and `weights`.
        mask: see x.
        states: see x.
        weights: see x.
        saved: what `forward_into` saved; left as it is, unless the last output is the same memory.
        dout: the gradient of the outputs, or of the last one.
        dlast: the gradients of the last states.
    """
    cell, count = layer.cell, len(states)
    dx, dstates, (*dweights, dbias) = outputs[0], outputs[1 : 1 + count], outputs[1 + count :][:3]
    (batch, time, _), units = x.shape, states[0].shape[1]
    plan = _plan(mask, batch, time)
    valid = len(plan.steps)
    if not layer.return_sequences:
        dh = dlast[0] + dout
        gone = _gone(layer, mask, plan)
        if gone.any():
            dh[gone] = dlast[0][gone]
        dlast, dout = [dh, *dlast[1:]], np.empty((batch, 0, units), x.dtype)
    if len(outputs) > 4 + count:
        gates = outputs[4 + count][:valid]
    else:
        gates = np.empty((valid, cell.width * units), x.dtype)
    if cell.keeps_gates and not np.may_share_memory(gates, saved[-1]):
        gates[:] = saved[-1][:valid]
    bias, dfull = weights[2], dbias
    if cell.bias_rows > bias.ndim:  # no row for the state's bias
        bias, dfull = HOST.full_bias(bias, (2, bias.size), x), np.empty((2, bias.size), x.dtype)
    run_backward(
        HOST,
        cell,
        (dx, *dweights, dfull, *dstates, gates),
        dout,
        dlast,
        x,
        plan,
        (*weights[:2], bias),
        states,
        [room[:valid] for room in saved[:count]],
        cell.keeps_gates,
        layer.settings,
        layer.go_backwards,
        layer.zero_masked,
    )
    if dfull is not dbias:
        dbias[...] = dfull[0]


def _plan(mask: Bools | None, batch: int, time: int) -> Plan:
    if mask is None:
        return full_plan(batch, time)
    if mask.size > _MOST_STEPS:
        return plan_of(np.ascontiguousarray(mask))
    return _kept_plan(mask.tobytes(), mask.shape)


@lru_cache(maxsize=8)
def _kept_plan(valid: bytes, shape: tuple[int, int]) -> Plan:
    """The plan of a mask, cached for the other direction, the next layer, and backward."""
    return plan_of(np.frombuffer(bytearray(valid), np.bool_).reshape(shape))


def _gone(layer: Layer, mask: Bools | None, plan: Plan) -> Bools:
    """Rows whose last output is zero: no step is valid, or with `zero_masked` the last is not."""
    if layer.zero_masked and mask is not None and mask.shape[1]:
        gone: Bools = ~mask[:, 0 if layer.go_backwards else -1]
    else:
        gone = plan.offsets[1:] == plan.offsets[:-1]
    return gone
