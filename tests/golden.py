"""The golden cases: what Keras computes for masked recurrent layers, without Keras.

`cases()` lists every stored case. A case knows its options, makes its inputs, mask, states and
weights (all seeded, so none of them is stored) and reads the expected outputs from
`data/keras_golden.npz`. `data/make_keras_golden.py` runs the same list of cases through Keras and
writes that file; `data/README.md` says with which versions, and how the file is laid out.

Sizes: B rows, T steps, F features, U units.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import golden_archive
from .golden_archive import FloatArray

BoolArray = npt.NDArray[np.bool_]
Kind = Literal["LSTM", "GRU", "SimpleRNN"]

PATH = Path(__file__).parent / "data" / "keras_golden.npz"
B, T, F, U = 5, 6, 3, 4
GATES: dict[Kind, int] = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}

_STEPS = np.arange(T)[None, :]
MASKS: dict[str, BoolArray | None] = {
    "none": None,
    "full": np.ones((B, T), bool),
    "right": np.array([6, 4, 3, 2, 1])[:, None] > _STEPS,
    "left": np.array([0, 1, 2, 4, 5])[:, None] <= _STEPS,
    "holed": np.array(
        [
            [1, 0, 1, 1, 0, 1],
            [0, 1, 0, 1, 0, 0],
            [1, 1, 0, 0, 1, 1],
            [0, 0, 1, 0, 1, 1],
            [1, 0, 0, 0, 0, 0],
        ],
        bool,
    ),
    "rowoff": np.array(
        [
            [1, 1, 1, 1, 1, 1],
            [0, 0, 0, 0, 0, 0],
            [1, 1, 0, 0, 0, 0],
            [0, 0, 0, 0, 1, 1],
            [0, 1, 0, 0, 1, 0],
        ],
        bool,
    ),
    "alloff": np.zeros((B, T), bool),
}


def _normal(seed: int, *shape: int) -> FloatArray:
    """A standard normal array from the legacy generator, whose stream NumPy keeps frozen."""
    return np.random.RandomState(seed).randn(*shape).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """One call of a Keras layer (two for `stateful`) and what came out.

    `kinds` and `units` have one entry, or one per cell where `layer` is "stack".
    """

    key: str
    layer: Literal["rnn", "bidirectional", "stack"]
    kinds: tuple[Kind, ...]
    mask_name: str
    units: tuple[int, ...] = (U,)
    reset_after: bool = True
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    use_bias: bool = True
    return_sequences: bool = False
    return_state: bool = True
    go_backwards: bool = False
    unroll: bool = False
    zero_output_for_mask: bool = False
    stateful: bool = False
    initial_state: bool = False
    merge_mode: str | None = None
    input_scale: float = 1.0

    def __str__(self) -> str:
        return self.key

    @property
    def kind(self) -> Kind:
        """The cell's kind, for a case that has only one."""
        (kind,) = self.kinds
        return kind

    @property
    def x(self) -> FloatArray:
        """The inputs, (B, T, F)."""
        return np.asarray(_normal(0, B, T, F) * np.float32(self.input_scale))

    @property
    def mask(self) -> BoolArray | None:
        """The mask, (B, T), True at valid steps; None if the layer is called without one."""
        mask = MASKS[self.mask_name]
        return None if mask is None else mask.copy()

    @property
    def states(self) -> list[FloatArray] | None:
        """The initial states, each (B, U): [h, c] for an LSTM, else [h]; None if not given."""
        if not self.initial_state:
            return None
        return [_normal(1, B, U), _normal(2, B, U)][: 2 if self.kind == "LSTM" else 1]

    @property
    def weight_shapes(self) -> list[tuple[int, ...]]:
        """The shapes of `weights`."""
        shapes: list[tuple[int, ...]] = []
        features = F
        for kind, units in zip(self.kinds, self.units, strict=True):
            columns = GATES[kind] * units
            shapes += [(features, columns), (units, columns)]
            if self.use_bias:
                shapes += [(2, columns) if kind == "GRU" and self.reset_after else (columns,)]
            features = units
        return shapes * (2 if self.layer == "bidirectional" else 1)

    @property
    def weights(self) -> list[FloatArray]:
        """The weights in the order of Keras's `get_weights`.

        For each cell: kernel, recurrent kernel and, with `use_bias`, bias; cells from the bottom
        up, the forward layer before the backward one.
        """
        random = np.random.RandomState(7)
        return [(random.randn(*s) * 0.5).astype(np.float32) for s in self.weight_shapes]

    @property
    def calls(self) -> int:
        """How often the layer is called with the same inputs."""
        return 2 if self.stateful else 1

    @property
    def outputs(self) -> list[FloatArray]:
        """What Keras returned: the output, then the states, (B, U) each; call after call."""
        return [a.copy() for a in _stored()[0][self.key]]

    @property
    def canonical(self) -> bool:
        """Whether the outputs follow the rule for masks rather than a bug of `unroll=True`.

        When Keras unrolls a reversed loop it zeroes the outputs by the mask in input order, not
        in processing order. With a mask that is not its own mirror image this zeroes the wrong
        steps; the same layer without `unroll` is right.
        """
        bidirectional = self.layer == "bidirectional"
        zeroes = self.return_sequences if bidirectional else self.zero_output_for_mask
        reverses = bidirectional or self.go_backwards
        if not (self.unroll and self.return_sequences and zeroes and reverses):
            return True
        mask = self.mask
        return mask is None or np.array_equal(mask, mask[:, ::-1])


_NAMED_CELLS: dict[str, dict[str, Any]] = {
    "LSTM": {"kinds": ("LSTM",)},
    "GRU": {"kinds": ("GRU",)},
    "GRUv1": {"kinds": ("GRU",), "reset_after": False},
    "SRNN": {"kinds": ("SimpleRNN",)},
}
_STACKS: dict[str, tuple[Kind, Kind]] = {
    "LSTM": ("LSTM", "LSTM"),
    "GRU": ("GRU", "GRU"),
    "SRNN": ("SimpleRNN", "SimpleRNN"),
    "mixed": ("LSTM", "GRU"),
}
_BITS = (False, True)


def _plain() -> Iterator[Case]:
    options = itertools.product(_NAMED_CELLS, _BITS, _BITS, _BITS, _BITS, _BITS, MASKS)
    for name, rs, gb, un, zo, ini, mask in options:
        yield Case(
            f"{name}|rs{rs:d}|gb{gb:d}|un{un:d}|zo{zo:d}|ini{ini:d}|{mask}",
            "rnn",
            mask_name=mask,
            return_sequences=rs,
            go_backwards=gb,
            unroll=un,
            zero_output_for_mask=zo,
            initial_state=ini,
            **_NAMED_CELLS[name],
        )


def _bidirectional() -> Iterator[Case]:
    modes = ("concat", "sum", "mul", "ave", None)
    for name, mode, rs, un, mask in itertools.product(
        ("LSTM", "GRU", "SRNN"), modes, _BITS, _BITS, MASKS
    ):
        yield Case(
            f"Bi{name}|mm{mode}|rs{rs:d}|un{un:d}|{mask}",
            "bidirectional",
            mask_name=mask,
            merge_mode=mode,
            return_sequences=rs,
            unroll=un,
            **_NAMED_CELLS[name],
        )


def _stacked() -> Iterator[Case]:
    for (name, kinds), rs, zo, mask in itertools.product(_STACKS.items(), _BITS, _BITS, MASKS):
        yield Case(
            f"Stack{name}|rs{rs:d}|zo{zo:d}|{mask}",
            "stack",
            kinds,
            mask,
            units=(3, U),
            return_sequences=rs,
            return_state=False,
            zero_output_for_mask=zo,
        )


def _activations() -> Iterator[Case]:
    pairs = (
        ("relu", "hard_sigmoid"),
        ("linear", "sigmoid"),
        (None, "tanh"),
        ("tanh", "hard_sigmoid"),
    )
    for name, (act, rec), mask in itertools.product(
        ("LSTM", "GRU", "SRNN"), pairs, ("none", "holed")
    ):
        yield Case(
            f"Act{name}|{act}|{rec}|{mask}",
            "rnn",
            mask_name=mask,
            activation=act or "linear",
            recurrent_activation=rec,
            return_sequences=True,
            input_scale=0.3,
            **_NAMED_CELLS[name],
        )


def _without_bias() -> Iterator[Case]:
    for (name, cell), mask in itertools.product(_NAMED_CELLS.items(), ("none", "holed")):
        yield Case(
            f"NoBias{name}|{mask}",
            "rnn",
            mask_name=mask,
            use_bias=False,
            return_sequences=True,
            **cell,
        )


def _stateful() -> Iterator[Case]:
    for name, mask in itertools.product(
        ("LSTM", "GRU", "SRNN"), ("none", "left", "holed", "rowoff")
    ):
        yield Case(
            f"Stateful{name}|{mask}",
            "rnn",
            mask_name=mask,
            stateful=True,
            return_sequences=True,
            **_NAMED_CELLS[name],
        )


def all_cases() -> Iterator[Case]:
    """Every case that the generator runs, whether Keras could compute it or not."""
    families = (_plain, _bidirectional, _stacked, _activations, _without_bias, _stateful)
    return itertools.chain.from_iterable(family() for family in families)


def cases(where: Callable[[Case], bool] | None = None) -> list[Case]:
    """The stored cases that `where` accepts.

    Leave the cases that are not `canonical` out, or expect the outputs of their twin without
    `unroll`.
    """
    stored = _stored()[0]
    return [c for c in all_cases() if c.key in stored and (where is None or where(c))]


def under_all_masks(some: Sequence[Case]) -> dict[str, list[Case]]:
    """The cases in groups that differ only in the mask, by the name that they share.

    One test per group, not one per case, keeps collection and reporting quick.
    """
    groups: dict[str, list[Case]] = {}
    for case in some:
        groups.setdefault(case.key.rpartition("|")[0], []).append(case)
    return groups


def excluded() -> dict[str, str]:
    """The cases on which Keras raised an error: key to message. `cases` leaves them out."""
    return dict(_stored()[1])


def write(
    path: Path, outputs: Mapping[str, Sequence[FloatArray]], errors: Mapping[str, str]
) -> None:
    """Store the outputs of each case, and the error message of each case that failed."""
    arrays = {
        f"{key}|out{number}": array
        for key, results in outputs.items()
        for number, array in enumerate(results)
    }
    messages = np.array([f"{key}: {message}" for key, message in errors.items()], str)
    golden_archive.write(path, arrays, errors=messages)


@functools.cache
def _stored() -> tuple[dict[str, list[FloatArray]], dict[str, str]]:
    """The stored outputs and error messages, by case."""
    outputs: dict[str, list[FloatArray]] = {}
    for name, array in golden_archive.read(PATH).items():
        outputs.setdefault(name.rpartition("|")[0], []).append(array)
    with np.load(PATH, allow_pickle=False) as file:
        return outputs, dict(str(error).split(": ", 1) for error in file["errors"])
