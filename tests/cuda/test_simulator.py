"""The simulator as users see it: arrays of `to_device`, layers and the documentation's kernels."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import cuda

import fastmask as fm
from fastmask_kernels import cells
from fastmask_kernels import cuda as kernels
from fastmask_kernels.cuda import ops
from fastmask_kernels.cuda.rnn.listing import forward_round
from fastmask_kernels.cuda.runtime import device as _device

if not _device.SIMULATED:
    pytest.skip("tests the simulator", allow_module_level=True)
from fastmask_kernels.cuda.simulator import _module, as_numba

from .. import cuda_page

pytestmark = pytest.mark.usefixtures("reference_on_the_host")

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "own_cuda_kernel.py"
L = fm.layers
HOLES = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 0]], bool)


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("f4")


def put(value: Any) -> Any:
    """The same on the simulated device."""
    if isinstance(value, fm.Masked):
        return fm.Masked(cuda.to_device(value.data), value.mask)
    if isinstance(value, list):
        return [put(one) for one in value]
    return cuda.to_device(np.ascontiguousarray(value))


def same(found: Any, expected: Any) -> None:
    if isinstance(expected, (list, tuple)):
        for pair in zip(found, expected, strict=True):
            same(*pair)
    elif isinstance(expected, fm.Masked):
        np.testing.assert_array_equal(np.asarray(found.mask), expected.mask.valid)
        same(found.data, expected.data)
    else:
        assert type(found) is type(cuda.to_device(np.zeros(1)))
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found.copy_to_host(), expected, atol=2e-6)


@pytest.mark.parametrize("turned", [False, True], ids=["", "in another order and dtype"])
def test_operations(turned: bool) -> None:
    arrays = [normal(0, 3, 4, 2), normal(1, 2, 12), normal(2, 3, 12), normal(3, 12)]
    given = [np.asfortranarray(one.astype("f8")) for one in arrays] if turned else arrays
    found = fm.ops.lstm(*map(cuda.to_device, given), mask=cuda.to_device(HOLES))
    same(found, fm.ops.lstm(*given, mask=HOLES))


def test_masks() -> None:
    mask = fm.Mask(cuda.to_device(HOLES))
    assert type(mask.valid) is type(cuda.to_device(HOLES))
    assert mask.lengths.tolist() == [3, 0, 2]
    np.testing.assert_array_equal(np.asarray(mask), HOLES)


LAYERS: dict[str, Callable[[], Any]] = {
    "lstm": lambda: L.LSTM(3, return_sequences=True),
    "gru": lambda: L.GRU(3, return_state=True),
    "both ways": lambda: L.Bidirectional(L.SimpleRNN(3)),
    "masking": lambda: L.Masking(0.0),
    "dense": lambda: L.Dense(4, activation="softmax"),
    "mean": L.GlobalAveragePooling1D,
    "normalized": L.LayerNormalization,
    "shared": lambda: L.TimeDistributed(L.Dense(2)),
    "model": lambda: fm.Sequential([L.GRU(2, return_sequences=True), L.Dense(3)]),
}


@pytest.mark.filterwarnings("ignore:Layer 'masking")  # which counts masked steps again
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    """Layers that run kernels, and layers of NumPy code."""
    layer, x = LAYERS[name](), fm.Masked(normal(4, 3, 4, 2), HOLES)
    expected = layer(x)
    same(layer(put(x)), expected)


def test_ids_and_lists_of_inputs() -> None:
    ids, parts = np.array([[1, 2, 0], [3, 0, 0]]), [normal(5, 2, 3), normal(6, 2, 3)]
    embedding, joined = L.Embedding(5, 3, mask_zero=True), L.Concatenate()
    same(embedding(put(ids)), embedding(ids))
    same(joined(put(parts)), joined(parts))
    with pytest.raises(TypeError, match="array on a CUDA device"):
        joined([put(parts[0]), parts[1]])


def test_kernels_of_the_table() -> None:
    valid, ids = put(np.zeros((1, 3), bool)), put(np.array([[0, 7, 8]]))
    kernels.mask_not_equal(valid, ids, 0)
    assert valid.copy_to_host().tolist() == [[False, True, True]]
    kernels.mask_not_equal(valid, ids[:, ::1], 7)
    assert valid.copy_to_host().tolist() == [[True, False, True]]
    with pytest.raises(ValueError, match="C-contiguous"):
        kernels.mask_not_equal(valid, put(np.arange(6)[np.newaxis])[:, ::2], 0)


def test_the_page_of_the_documentation() -> None:
    for block in cuda_page.blocks("Run a kernel in the simulator"):
        exec(compile(block, str(cuda_page.PAGE), "exec"), {"__name__": "documentation"})


def test_the_page_shows_the_generated_lines_of_a_round() -> None:
    section = cuda_page.section("How the kernels work")
    shown = section.split("print(forward_round())")[1].split("```text\n")[1]
    assert shown.split("```")[0] == forward_round()
    assert forward_round(cells.gru).count("def run(t, c, k):\n") == 1
    assert forward_round(cells.gru_reset_before).count("def run(t, c, k):\n") == 2, "two products"


def test_what_has_no_generated_lines() -> None:
    for given, came in ((fm.cells.ind_rnn(8), "<ind_rnn '.*'>"), ("lstm", "'lstm'")):
        message = f"cell must be a cell made by fm.cell or .*, not {came}$"
        with pytest.raises(TypeError, match=message):
            forward_round(given)


def test_tracebacks_show_generated_lines() -> None:
    divided = ops.of_lines(("x",), ("y = x - x", "return x / y"), {})
    with pytest.raises(ZeroDivisionError) as raised:
        divided(1)
    assert traceback.extract_tb(raised.tb)[-1].line == "return x / y"


@pytest.mark.parametrize("shape", [(2, 3), (0, 3)])
def test_arrays_of_others_as_those_of_numba(shape: tuple[int, ...]) -> None:
    turned = put(normal(7, *shape[::-1])).T
    array = as_numba(_device.view_of(put(normal(8, *shape)), "array"))
    assert array.shape == turned.shape == shape


def test_calls_of_several_threads() -> None:
    x = normal(11, 3, 4, 2)
    layer = L.LSTM(3)
    expected, found = layer(x), {}

    def call(number: int) -> None:
        found[number] = layer(put(x)).copy_to_host()

    threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        np.testing.assert_allclose(found[number], expected, atol=2e-6)


def test_the_example_of_a_kernel_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right with its barriers, wrong without."""
    spec = spec_from_file_location("own_cuda_kernel", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(example := module_from_spec(spec))
    example.check()
    monkeypatch.setattr(_module.Module, "syncthreads", lambda _: None)
    with pytest.raises(AssertionError):
        example.check()
