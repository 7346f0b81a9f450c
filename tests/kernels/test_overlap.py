"""Every kernel refuses an output that shares memory with another array of the call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmask_kernels.spec import KERNELS

from ..cases import LSTMCase, plan_of
from ..each import EACH_BACKEND
from .test_kernel_table import argument_for

# Every array has a multiple of eight bytes.
SIZES = {"B": 8, "T": 3, "F": 4, "H": 4, "P": 24, "W": 8, "N": 5, "V": 3}
SIZES |= {"S": 3, "X": 3, "K": 24, "L": 24, "E": 8}


def arguments_of(name: str) -> dict[str, Any]:
    return {a.name: argument_for(a, SIZES) for a in KERNELS[name].arguments}


def pairs_of(name: str) -> list[tuple[str, str]]:
    """Each output of a kernel with each of its other arrays."""
    kernel = KERNELS[name]
    return [
        (output.name, other.name)
        for output in kernel.outputs
        for other in kernel.arguments
        if other.shape is not None and other is not output
    ]


def over_each_other(first: Any, second: Any, foreign: bool) -> tuple[Any, Any]:
    """Two arrays of the same shapes and dtypes that overlap by eight bytes."""
    size = first.nbytes + second.nbytes - 8
    memory = np.frombuffer(bytearray(size), np.uint8) if foreign else np.zeros(size, np.uint8)
    parts = memory[: first.nbytes], memory[size - second.nbytes :]
    views = [p.view(a.dtype).reshape(a.shape) for p, a in zip(parts, (first, second), strict=True)]
    return views[0], views[1]


@EACH_BACKEND
@pytest.mark.parametrize("name", KERNELS)
def test_overlaps_are_refused(name: str, backend: Any) -> None:
    pairs = pairs_of(name)
    assert pairs
    for output, other in pairs:
        for foreign in (False, True):
            arguments = arguments_of(name)
            arguments[output], arguments[other] = over_each_other(
                arguments[output], arguments[other], foreign
            )
            with pytest.raises(ValueError, match="is an output and must not share memory") as info:
                getattr(backend, name)(**arguments)
            assert {output, other} <= set(str(info.value).split())


@EACH_BACKEND
def test_the_same_array_twice(backend: Any) -> None:
    x = np.zeros((2, 3, 4))
    with pytest.raises(ValueError, match="out is an output and must not share memory with x"):
        backend.masked_softmax(x, x, np.ones((2, 3), bool))
    valid = np.zeros((2, 3), bool)
    with pytest.raises(ValueError, match="valid is an output and must not share memory with ids"):
        backend.mask_not_equal(valid, valid, 0)


@EACH_BACKEND
def test_memory_that_others_own(backend: Any, tmp_path: Any) -> None:
    memory = np.memmap(tmp_path / "memory", np.float64, "w+", shape=(10, 2, 3, 4))
    backend.masked_softmax(memory[0], memory[1], np.ones((2, 3), bool))
    again = np.asarray(memory)[0]
    with pytest.raises(ValueError, match="out is an output and must not share memory with x"):
        backend.masked_softmax(memory[0], again, np.ones((2, 3), bool))


@EACH_BACKEND
def test_neighbors_in_one_block_of_memory_are_apart(backend: Any) -> None:
    block = np.zeros((2, 2, 3, 4))
    block[1] = 1
    backend.masked_softmax(block[0], block[1], np.ones((2, 3), bool))
    np.testing.assert_allclose(block[0], np.full((2, 3, 4), 1 / 3))


@EACH_BACKEND
def test_inputs_may_share_their_memory_and_nothing_is_no_overlap(backend: Any) -> None:
    case = LSTMCase(2, 3, 4, 4)
    offsets, steps, order = plan_of(case.valid)
    packed = np.empty(backend.lstm_packed_size(4, 4, np.dtype("float32")), np.float32)
    backend.lstm_pack(packed, *case.weights)
    nothing = np.empty((0, 4), np.float32)
    out, h, c = (np.zeros(s, np.float32) for s in ((2, 3, 4), (2, 4), (2, 4)))
    first = case.states[0]
    backend.lstm_fwd(
        *(out, h, c, nothing, nothing, np.empty((0, 16), np.float32), case.x),
        *(offsets, steps, order, packed, first, first, "tanh", "sigmoid", False, False, 1),
    )
    assert out.any()
