"""Errors name the wrong argument and its value, in the same words on every backend."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from fastmask_kernels import spec
from fastmask_kernels.spec import KERNELS

from ..each import EACH_BACKEND
from .plans import OFFSETS, ORDER, STEPS

FLAGS = [(name, a.name) for name, k in KERNELS.items() for a in k.arguments if a.dtype == "flag"]

DISAGREE = (
    r"^recurrent_kernel must have shape \(H, 4H\) with H=3 of kernel \(2, 12\), not \(4, 16\) "
    "with H=4: one of these arrays is wrong$"
)


@EACH_BACKEND
@pytest.mark.parametrize(
    ("kernel", "recurrent", "bias", "words"),
    [
        ((2, 14), (4, 16), (16,), r"kernel must have shape \(F, 4H\), not \(2, 14\): 14 is not a"),
        ((2, 12), (4, 16), (16,), DISAGREE),
        ((2, 16), (4, 12), (16,), r"recurrent_kernel .* with H=4 of kernel .*, not \(4, 12\)$"),
        ((2, 16), (4, 16), (15,), r"bias .* with H=4 of kernel .*\(15,\): 15 is not a multiple"),
        ((2, 16), (4, 16), (2, 16), r"bias must have shape \(4H\) with H=4 .*, not \(2, 16\)$"),
    ],
)
def test_shapes_that_disagree(
    backend: Any,
    kernel: tuple[int, ...],
    recurrent: tuple[int, ...],
    bias: tuple[int, ...],
    words: str,
) -> None:
    with pytest.raises(ValueError, match=words):
        backend.lstm_pack(np.empty(7), *map(np.ones, (kernel, recurrent, bias)))


@EACH_BACKEND
def test_backward_without_room_for_gates(backend: Any) -> None:
    weights, h = [np.ones((2, 16)), np.ones((4, 16)), np.ones(16)], np.zeros((3, 4))
    x, saved = np.zeros((3, 5, 2)), np.zeros((6, 4))
    written = [x.copy(), *map(np.copy, weights), h.copy(), h.copy(), np.empty((0, 16))]
    plan = [np.array(a) for a in (OFFSETS, STEPS, ORDER)]
    words = r"steps must have shape \(P\) with P=0 of gates \(0, 16\), not \(6,\) with P=6"
    with pytest.raises(ValueError, match=words):
        backend.lstm_bwd(
            *(*written, np.zeros((3, 0, 4)), h, h, x, *plan, *weights, h, h, saved, saved),
            *("tanh", "sigmoid", False, False, False, 1),
        )


@EACH_BACKEND
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_packed_weights_of_another_size(backend: Any, cell: str) -> None:
    """`packed` with one element too few, in pack and fwd."""
    size = getattr(backend, f"{cell}_packed_size")(2, 3, np.dtype("f8"))
    gates, after = {"lstm": (4, ()), "gru": (3, (True,)), "rnn": (1, ())}[cell]
    bias = np.ones((2, 9) if cell == "gru" else gates * 3)
    weights = np.ones((2, gates * 3)), np.ones((3, gates * 3)), bias
    with pytest.raises(ValueError, match=f"packed must have {size} elements .*, not {size - 1}"):
        getattr(backend, f"{cell}_pack")(np.empty(size - 1), *weights, *after)
    words = f"from {cell}_pack for 2 features, 3 units: it must have {size} elements, not "
    states = 2 if cell == "lstm" else 1
    step = [np.zeros((1, 3)) for _ in range(states)]
    chosen = ("tanh",) if cell == "rnn" else ("tanh", "sigmoid")
    with pytest.raises(ValueError, match=words):
        getattr(backend, f"{cell}_step")(
            *(*step, np.zeros((1, 2)), np.ones(1, bool), np.empty(size - 1), *chosen, *after, 1)
        )


@EACH_BACKEND
@pytest.mark.parametrize(("name", "flag"), FLAGS)
def test_flags_are_bools(backend: Any, name: str, flag: str) -> None:
    kinds = {"activation": "tanh", "number": 1, "flag": True}
    arguments = {a.name: kinds.get(a.dtype) for a in KERNELS[name].arguments}
    for came in ("yes", 1, None, np.int64(0), np.array(True)):
        with pytest.raises(TypeError, match=rf"^{flag} must be True or False, not "):
            getattr(backend, name)(**{**arguments, flag: came})


@EACH_BACKEND
@pytest.mark.parametrize(("came", "error"), [("2", TypeError), (1.0, TypeError), (0, ValueError)])
def test_threads(backend: Any, came: Any, error: type[Exception]) -> None:
    names = inspect.signature(backend.rnn_step).parameters
    with pytest.raises(error, match=f"^threads must be .*, not {came!r}$"):
        backend.rnn_step(**{**dict.fromkeys(names), "activation": "tanh", "threads": came})


@EACH_BACKEND
def test_numpy_counts_and_flags(backend: Any) -> None:
    valid = np.zeros((1, 3), bool)
    backend.mask_from_lengths(valid, np.array([2]), np.True_)
    assert valid.tolist() == [[False, True, True]]
    h, packed = np.zeros((0, 3)), np.empty(backend.rnn_packed_size(2, 3, np.dtype("f8")))
    backend.rnn_step(h, np.zeros((0, 2)), np.ones(0, bool), packed, "tanh", np.int64(1))


@EACH_BACKEND
def test_help_says_where_saved_gates_are(backend: Any) -> None:
    """In the kernels that can recompute gates; those of a SimpleRNN save none."""
    found = {cell for cell in ("lstm", "gru", "rnn") if _says_where(backend, cell)}
    assert found == {"lstm", "gru"}
    assert "gates[:, : saved.shape[1]] = saved" in str(spec.__doc__)


def _says_where(backend: Any, cell: str) -> bool:
    return "are in its first columns" in getattr(backend, f"{cell}_bwd").__doc__
