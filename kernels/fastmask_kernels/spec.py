"""The kernel table: every kernel's name, arguments, shapes and dtypes, and what it writes.

`fastmask_kernels.reference`, `fastmask_kernels.cpu` and `fastmask_kernels.cuda` export one function
for each entry, under the same name and with the same arguments; tests and signatures are derived
from here.

Shapes are words; each letter is a size that must be the same wherever it appears in a call:
B sequences, T time steps, F input features, H units; N, P, V and W fit any size. Five more
are optional, either the size in brackets or 0 if an array is not wanted: S (T) sequence
output, X (T) gradient of the input, K (P) states and L (P) gates saved for the backward pass,
E (B) flags of rows with an event.
Outputs come first; kernels allocate no result. An output shares no memory with any other array of
its call, output or input; inputs may share theirs. Two kinds of outputs are read before they are
written: the states of step kernels, which are changed in place, and `gates` of backward kernels.

A plan says which steps of a batch exist (see `plan_steps`):
    offsets (B+1)   row b owns entries offsets[b] to offsets[b + 1] of `steps`
    steps   (P)     flat positions b * T + t of the valid steps, ascending
    order   (B)     rows, most valid steps first

Forward kernels of recurrent layers save these for the backward ones. Row p belongs to the step at
steps[p], whatever `reverse` is; rows past offsets[B] are not touched:
    h_steps (K H)   h after the step
    c_steps (K H)   c after the step (LSTM); likewise of any other state
    gates   (L 4H)  activated gates: LSTM i, f, g, o; GRU n, z, r, q, where n is the candidate
                    and q = h U_h + b_h with `reset_after`, else r * h (h before the step); for
                    other cells see `cells.Cell.saved`, where a block of None may
                    hold anything
Where gates were not saved (`gates_saved` is False) the backward kernel computes them again.

Backward kernels write gradients; they do not add to them. `dout` has the layout of `out`: its
rows at masked steps count for the output that is repeated there, or for nothing with
`zero_masked` and before the first valid step. dx is 0 at masked steps. `gates` is needed even if
nothing was saved, and may be wider than what was, which is in its first columns, row by row:
    gates[:, : saved.shape[1]] = saved
It is overwritten with the gradient of each gate before its activation:
LSTM di, df, dg, do; GRU dn, dz, dr, and in place of q its gradient with `reset_after`,
else r * h; SimpleRNN the gradient of its one sum. Other cells write the gradients of their sums,
the values that sums are called on, and the gradients of their vectors, step by step.

Step kernels advance one time step where `valid` is True, or everywhere if it has no entries.
They write the states after the step over those before it; rows that are not valid are neither
read, in x or in the states, nor written.

The gates of the weights are in Keras's order: LSTM i, f, g, o, where g is the candidate, which
Keras calls c; GRU z, r, h, where h is the candidate. A GRU's bias has two rows: row 0 belongs to
the input, row 1 to the state. Without `reset_after` the two rows are simply added.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from operator import itemgetter
from typing import Any, NamedTuple

from . import cells
from .activations import ACTIVATIONS as ACTIVATIONS
from .cells import Cell

REAL = "real"  # float32 or float64, the same in all REAL arguments of a call
ANY = "any"  # any fixed-size NumPy dtype, the same in all ANY arguments of a call

SIZES = {
    "B": "sequences",
    "T": "time steps",
    "F": "input features",
    "H": "units",
    "P": "entries of `steps`",
    "W": "entries of `packed`",
}
OPTIONAL = {"S": "T", "X": "T", "K": "P", "L": "P", "E": "B"}  # sizes that may be 0 instead

_PLAN = (("offsets", "int64", "B+1"), ("steps", "int64", "P"), ("order", "int64", "B"))
_WALK = (("reverse", "flag"), ("zero_masked", "flag"), ("threads", "number"))
_EVENTS = (("x", REAL, "B F"), ("valid", "bool", "E"), ("packed", REAL, "W"))
_GRU_WEIGHTS = (
    ("kernel", REAL, "F 3H"),
    ("recurrent_kernel", REAL, "H 3H"),
    ("bias", REAL, "2 3H"),
)


@dataclass(frozen=True)
class Argument:
    """One argument: `shape` is None for a plain number or string."""

    name: str
    dtype: str
    shape: tuple[str, ...] | None = None
    output: bool = False


@dataclass(frozen=True)
class Kernel:
    """One row of the table."""

    name: str
    summary: str
    arguments: tuple[Argument, ...]

    @property
    def outputs(self) -> tuple[Argument, ...]:
        """The arguments that the kernel writes."""
        return tuple(a for a in self.arguments if a.output)

    @cached_property
    def call(self) -> Any:
        """The type of a named tuple of the arguments."""
        return namedtuple(self.name, [a.name for a in self.arguments])

    def getter(self, *fields: str) -> Callable[[Any], tuple[Any, ...]]:
        """A function that returns several fields of a call at once, faster than one by one.

        Args:
            fields: "name", or "name|other" where the kernel may have no `name`.
        """
        names = self.call._fields
        found = (next(n for n in field.split("|") if n in names) for field in fields)
        return itemgetter(*map(names.index, found))


_Rows = tuple[tuple[str, ...], ...]


def _arguments(rows: _Rows, output: bool) -> tuple[Argument, ...]:
    return tuple(
        Argument(row[0], row[1], tuple(row[2].split()) if len(row) > 2 else None, output)
        for row in rows
    )


def _kernel(
    name: str,
    summary: str,
    outputs: _Rows,
    inputs: _Rows,
) -> Kernel:
    return Kernel(name, summary, _arguments(outputs, True) + _arguments(inputs, False))


class CellRows(NamedTuple):
    """The kernels of a cell, see `cell_kernels`."""

    pack: Kernel
    fwd: Kernel
    bwd: Kernel
    step: Kernel


@cache
def cell_kernels(cell: Cell) -> CellRows:
    """The rows of the table that follow from a cell's formula.

    With {s} for each state, and {v} for each vector:
        pack   packed | kernel, recurrent_kernel, bias, {v}
        fwd    out, {s}_last, {s}_steps, gates | x, plan, packed, {s}_first, activations,
               reverse, zero_masked, threads
        bwd    dx, dkernel, drecurrent_kernel, dbias, d{v}, d{s}_first, gates | dout, d{s}_last,
               x, plan, kernel, recurrent_kernel, bias, {v}, {s}_first, {s}_steps, activations,
               gates_saved, reverse, zero_masked, threads
        step   {s} | x, valid, packed, activations, threads
    A cell that saves nothing but its states has no `gates` in fwd, and no `gates_saved`; a cell
    without a part of h in its sums has a `recurrent_kernel` (H, 0). `activations` are those that
    the formula leaves to the layer.

    Raises:
        TypeError: it is no cell.
    """
    cells.require_cell(cell)
    name, title = _TITLES.get(cell, (cell.name, f"the cell {cell.name}"))
    like = "" if name == "lstm" else "; masked steps and `reverse` as in lstm_fwd"
    gates = f"; gate order {', '.join(cell.sums)}" if len(cell.sums) > 1 else ""
    return CellRows(
        _kernel(
            f"{name}_pack",
            f"Weights in the layout that this backend's {name}_fwd reads{gates}",
            (("packed", REAL, "W"),),
            _weights(cell),
        ),
        _kernel(
            f"{name}_fwd",
            f"{title[0].upper()}{title[1:]} over the valid steps{like or _MASKED}",
            *_forward(cell),
        ),
        _kernel(
            f"{name}_bwd",
            f"Gradients of {name}_fwd from those of its outputs and from what it saved"
            + _GATES * cell.keeps_gates,
            *_backward(cell),
        ),
        _kernel(
            f"{name}_step",
            f"One step of {title}, in place, for the rows that are valid",
            _reals(cell.states, "B H"),
            (*_EVENTS, *_activations(cell), ("threads", "number")),
        ),
    )


_TITLES = {cells.lstm: ("lstm", "the LSTM"), cells.simple_rnn: ("rnn", "the SimpleRNN")}
_GATES = ". `gates` is needed even if none were saved; those that were are in its first columns"
_MASKED = (
    ". Masked steps repeat the previous output (zeros before the first valid step), or are zeros "
    "with `zero_masked`; `reverse` walks the rows from the end and writes in that order"
)


def _forward(cell: Cell) -> tuple[_Rows, _Rows]:
    """Outputs and inputs of a cell's forward kernel."""
    saved = (("gates", REAL, f"L {_blocks(len(cell.saved))}"),) if cell.keeps_gates else ()
    return (
        ("out", REAL, "B S H"),
        *_reals([f"{s}_last" for s in cell.states], "B H"),
        *_reals([f"{s}_steps" for s in cell.states], "K H"),
        *saved,
    ), (
        ("x", REAL, "B T F"),
        *_PLAN,
        ("packed", REAL, "W"),
        *_reals([f"{s}_first" for s in cell.states], "B H"),
        *_activations(cell),
        *_WALK,
    )


def _backward(cell: Cell) -> tuple[_Rows, _Rows]:
    """Outputs and inputs of a cell's backward kernel."""
    weights = _weights(cell)
    return (
        ("dx", REAL, "B X F"),
        *((f"d{name}", dtype, shape) for name, dtype, shape in weights),
        *_reals([f"d{s}_first" for s in cell.states], "B H"),
        ("gates", REAL, f"P {_blocks(cell.width)}"),
    ), (
        ("dout", REAL, "B S H"),
        *_reals([f"d{s}_last" for s in cell.states], "B H"),
        ("x", REAL, "B T F"),
        *_PLAN,
        *weights,
        *_reals([f"{s}_first" for s in cell.states], "B H"),
        *_reals([f"{s}_steps" for s in cell.states], "P H"),
        *_activations(cell),
        *((("gates_saved", "flag"),) if cell.keeps_gates else ()),
        *_WALK,
    )


def _weights(cell: Cell) -> tuple[tuple[str, str, str], ...]:
    return (
        ("kernel", REAL, f"F {_blocks(len(cell.inputs))}"),
        ("recurrent_kernel", REAL, f"H {_blocks(len(cell.recurrents))}"),
        ("bias", REAL, _blocks(len(cell.sums))),
        *_reals(cell.vectors, "H"),
    )


def _activations(cell: Cell) -> _Rows:
    return tuple((name, "activation") for name in cell.activations)


def _reals(names: Iterable[str], shape: str) -> tuple[tuple[str, str, str], ...]:
    return tuple((name, REAL, shape) for name in names)


def _blocks(count: int) -> str:
    """The word for `count` blocks of H."""
    return {0: "0", 1: "H"}.get(count, f"{count}H")


KERNELS: dict[str, Kernel] = {
    kernel.name: kernel
    for kernel in (
        _kernel(
            "mask_not_equal",
            "valid = ids != value; the value NaN equals NaN",
            (("valid", "bool", "B T"),),
            (("ids", ANY, "B T"), ("value", "number")),
        ),
        _kernel(
            "mask_any_not_equal",
            "valid = any(x != value, axis=-1); the value NaN equals NaN, which no other value does",
            (("valid", "bool", "B T"),),
            (("x", ANY, "B T F"), ("value", "number")),
        ),
        _kernel(
            "mask_from_lengths",
            "The first, or with `pre` the last, lengths[b] steps of row b are valid",
            (("valid", "bool", "B T"),),
            (("lengths", "int64", "B"), ("pre", "flag")),
        ),
        _kernel(
            "plan_steps",
            "The plan of a mask; `steps` has room for B * T, of which offsets[B] are written",
            (("offsets", "int64", "B+1"), ("steps", "int64", "P"), ("order", "int64", "B")),
            (("valid", "bool", "B T"),),
        ),
        _kernel(
            "pad_rows",
            "Row b gets values[offsets[b]:offsets[b+1]], padded with `value` or truncated to T; "
            "`pre_pad` and `pre_truncate` choose the start instead of the end",
            (("out", ANY, "B T F"),),
            (
                ("values", ANY, "N F"),
                ("offsets", "int64", "B+1"),
                ("value", ANY, "1"),
                ("pre_pad", "flag"),
                ("pre_truncate", "flag"),
            ),
        ),
        _kernel(
            "unpad_rows",
            "values[i] = padded.reshape(B * T, F)[steps[i]]",
            (("values", ANY, "P F"),),
            (("padded", ANY, "B T F"), ("steps", "int64", "P")),
        ),
        _kernel(
            "gather_rows",
            "out[i] = table[ids[i]], the embedding look-up",
            (("out", ANY, "N F"),),
            (("table", ANY, "V F"), ("ids", "int64", "N")),
        ),
        _kernel(
            "masked_softmax",
            "Softmax over the valid steps of each row, feature by feature; zeros at masked steps",
            (("out", REAL, "B T F"),),
            (("x", REAL, "B T F"), ("valid", "bool", "B T")),
        ),
        _kernel(
            "gru_pack",
            "Weights in the layout that this backend's gru_fwd reads; gate order z, r, h",
            (("packed", REAL, "W"),),
            (*_GRU_WEIGHTS, ("reset_after", "flag")),
        ),
        _kernel(
            "gru_fwd",
            "GRU over the valid steps; masked steps and `reverse` as in lstm_fwd. `reset_after` "
            "must be what gru_pack got",
            (
                ("out", REAL, "B S H"),
                ("h_last", REAL, "B H"),
                ("h_steps", REAL, "K H"),
                ("gates", REAL, "L 4H"),
            ),
            (
                ("x", REAL, "B T F"),
                *_PLAN,
                ("packed", REAL, "W"),
                ("h_first", REAL, "B H"),
                ("activation", "activation"),
                ("recurrent_activation", "activation"),
                ("reset_after", "flag"),
                *_WALK,
            ),
        ),
        _kernel(
            "gru_step",
            "One step of a GRU, in place, for the rows that are valid. `reset_after` must be what "
            "gru_pack got",
            (("h", REAL, "B H"),),
            (
                *_EVENTS,
                ("activation", "activation"),
                ("recurrent_activation", "activation"),
                ("reset_after", "flag"),
                ("threads", "number"),
            ),
        ),
        _kernel(
            "gru_bwd",
            f"Gradients of gru_fwd from those of its outputs and from what it saved{_GATES}",
            (
                ("dx", REAL, "B X F"),
                ("dkernel", REAL, "F 3H"),
                ("drecurrent_kernel", REAL, "H 3H"),
                ("dbias", REAL, "2 3H"),
                ("dh_first", REAL, "B H"),
                ("gates", REAL, "P 4H"),
            ),
            (
                ("dout", REAL, "B S H"),
                ("dh_last", REAL, "B H"),
                ("x", REAL, "B T F"),
                *_PLAN,
                *_GRU_WEIGHTS,
                ("h_first", REAL, "B H"),
                ("h_steps", REAL, "P H"),
                ("activation", "activation"),
                ("recurrent_activation", "activation"),
                ("gates_saved", "flag"),
                ("reset_after", "flag"),
                *_WALK,
            ),
        ),
        *cell_kernels(cells.lstm),
        *cell_kernels(cells.simple_rnn),
    )
}
