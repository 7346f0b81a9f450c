"""What loaded models say of masks that they drop, as they did when they were trained."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L
from fastmask.layers._operation import Operation

from .keras_files import MODELS

ROWS = [[3, 1], [2]]


def built() -> Any:
    words = L.Embedding(9, 4, mask_zero=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fm.Sequential([fm.Input((None,), "int32"), words, L.GlobalMaxPooling1D(name="most")])


def loaded(folder: Path) -> Any:
    fm.save_model(built(), folder / "m.npz")
    return fm.load_model(folder / "m.npz")


def test_loading_and_ragged_rows_lose_nothing_and_do_not_warn(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fm.load_model(MODELS / "conv_lstm.keras")
        model = loaded(tmp_path)
        model(fm.ragged(ROWS))
        assert model.summary()[-1].mask == "dropped"
    with pytest.warns(UserWarning, match="Layer 'most' .* will therefore destroy the mask"):
        model(np.array([[3, 1], [2, 0]]))


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
def test_no_advice_that_would_change_what_was_trained(tmp_path: Path) -> None:
    model = loaded(tmp_path)
    trace = fm.trace_masks(model, [[3, 1], [2, 0]])
    assert (trace[-1].did, trace[-1].fix) == ("dropped", "")
    assert "most dropped the mask, as Keras does: padding counts from here on" in str(trace)
    trace = fm.trace_masks(built(), [[3, 1], [2, 0]])
    assert "GlobalAveragePooling1D()(x)  # in place of most" in trace[-1].fix
    assert "most dropped the mask; use:\n" in str(trace)


def test_no_advice_for_rows_without_padding() -> None:
    trace = fm.trace_masks(built(), fm.ragged(ROWS))
    assert (trace[-1].did, trace[-1].fix) == ("dropped", "")
    assert "a Ragged has no padding" in str(trace)


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
def test_layers_that_pad_rows_get_advice() -> None:
    class Own(L.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs

    trace = fm.trace_masks(
        fm.Sequential([L.Embedding(9, 4, mask_zero=True), Own()]), fm.ragged(ROWS)
    )
    assert trace[-1].fix.startswith("self.supports_masking = True")


FIRST, SECOND = {"input": 0}, {"input": 1}
EVERY = {"slice": [None, None, None]}
LAST_TWO = {"slice": [-2, None, None]}
MASK = np.array([[1, 1, 0, 0], [1, 1, 1, 1]], bool)
COUNT: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("softmax", [FIRST], {"axis": 1}),
    ("multiply", [FIRST, 2.0], {}),
    ("add", [FIRST, FIRST], {}),
    ("get_item", [FIRST, [EVERY, LAST_TWO]], {}),
    ("get_item", [FIRST, [EVERY, -1]], {}),
    ("mean", [FIRST], {"axis": [1]}),
    ("transpose", [FIRST], {"axes": [0, 2, 1]}),
    ("split", [FIRST, 2], {"axis": 1}),
    ("cast", [FIRST, "float64"], {}),
    ("take", [{"array": [[1.0], [2.0]], "dtype": "float32"}, FIRST], {"axis": 0}),
    ("take", [FIRST, FIRST], {"axis": 2}),
]
DO_NOT_COUNT = [
    ("get_item", [FIRST, [EVERY, 0]], {}),
    ("get_item", [FIRST, [EVERY, {"slice": [None, 2, None]}]], {}),
    ("not_equal", [FIRST, 0.0], {}),
    ("zeros_like", [FIRST], {}),
    *((name, [FIRST], {}) for name in ("reversed_mask", "reversed_steps")),
]


def numbers() -> Any:
    return np.random.default_rng(5).normal(size=(2, 4, 3)).astype(np.float32)


@pytest.mark.parametrize(("operation", "arguments", "options"), COUNT)
def test_operations_that_count_masked_steps_say_so_once(
    operation: str, arguments: list[Any], options: dict[str, Any]
) -> None:
    x, layer = numbers(), Operation(operation, arguments, options, name="op")
    if operation == "take":
        x = np.ones((2, 4, 3), np.int32)
    with pytest.warns(UserWarning, match="^Layer 'op' ") as caught:
        found = layer(fm.Masked(x, MASK))
    (message,) = (str(one.message) for one in caught)
    assert f"As in Keras, its operation '{operation}' drops the mask" in message
    assert "Ragged" in message
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(fm.Masked(x, MASK))
        fresh = Operation(operation, arguments, options)
        plain = fresh(x)
        fresh(fm.Masked(x, np.ones((2, 4))))
        if operation not in ("transpose", "take"):
            fresh(fm.Masked(x, MASK).to_ragged())
    for one, other in zip(*map(np.atleast_1d, (found, plain)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("operation", "arguments", "options"), DO_NOT_COUNT)
def test_operations_on_masks_and_on_valid_steps_do_not_warn(
    operation: str, arguments: list[Any], options: dict[str, Any]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Operation(operation, arguments, options)(fm.Masked(numbers(), MASK))


def test_operations_with_which_a_model_masks_by_itself() -> None:
    x, flags = fm.Masked(numbers(), MASK), MASK[:, :, None]
    last = np.array([[[1]], [[3]]])
    others: list[tuple[str, list[Any], Any]] = [
        ("multiply", [FIRST, SECOND], flags.astype(np.float32)),
        ("add", [FIRST, SECOND], np.where(flags, 0, -1e9).astype(np.float32)),
        ("where", [SECOND, FIRST, -1e9], flags),
        ("matmul", [SECOND, FIRST], MASK[:, None].astype(np.float32)),
        ("take_along_axis", [FIRST, SECOND, 1], last),
    ]
    for operation, arguments, other in others:
        wrong = np.roll(other, 1, axis=0)  # for the other row
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Operation(operation, arguments)([x, other])
        with pytest.warns(UserWarning, match=f"operation '{operation}' drops the mask"):
            Operation(operation, arguments)([x, wrong])
    for operation, other in (("add", others[0][2]), ("concatenate", flags.astype(np.float32))):
        arguments = [[FIRST, SECOND]] if operation == "concatenate" else [FIRST, SECOND]
        with pytest.warns(UserWarning, match=f"operation '{operation}' drops the mask"):
            Operation(operation, arguments)([x, other])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a recurrent layer repeats its last output
        h = L.GRU(3, return_sequences=True)(x)
        Operation("get_item", [FIRST, [EVERY, -1]])(h)
    with pytest.warns(UserWarning, match="drops the mask"):
        Operation("get_item", [FIRST, [EVERY, LAST_TWO]])(h)


def test_an_operation_that_has_counted_no_masked_step_is_no_longer_watched() -> None:
    """The answer seldom depends on the batch, and checking takes longer than the operation."""
    x, layer = numbers(), Operation("get_item", [FIRST, [EVERY, 0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(20):
            layer(fm.Masked(x, np.ones((2, 4))))  # says nothing of masked steps
    with pytest.warns(UserWarning, match="drops the mask"):
        layer(fm.Masked(x, MASK[:, ::-1].copy()))
    watched = Operation("get_item", [FIRST, [EVERY, 0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(20):
            watched(fm.Masked(x, MASK))
        watched(fm.Masked(x, MASK[:, ::-1].copy()))
