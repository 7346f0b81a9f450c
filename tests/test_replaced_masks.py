"""Layers that replace a mask by their own, as in Keras, warn if masked steps count again."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import layers as L

LENGTHS = 2, 6
MASK = np.arange(6) < np.array(LENGTHS)[:, None]
IDS = np.where(MASK, np.arange(12).reshape(2, 6) % 7 + 1, 5)
ROWS = [np.full((n, 4), n, np.float32) for n in LENGTHS]


class Wrapper(L.Layer):
    """Its mask is made by a layer inside it."""

    def __init__(self, **layer_args: Any) -> None:
        super().__init__(**layer_args)
        self.inner = L.Masking(-1.0)

    def call(self, inputs: Any) -> Any:
        return self.inner(inputs)


class Passing(Wrapper):
    supports_masking = True


class Own(L.Layer):
    def call(self, inputs: Any) -> Any:
        return inputs

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002 - Keras's form
        return inputs[..., 0] != -1


class Words(L.Layer):
    """A mask of words within sentences, from inputs with a mask of sentences."""

    def call(self, inputs: Any) -> Any:
        return inputs

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002 - Keras's form
        return inputs != -1


def sequential() -> Any:
    return fm.Sequential([L.Masking(-1.0, name="own"), L.GRU(3)])


def graph() -> Any:
    x = fm.Input((None, 4))
    return fm.Model(x, L.GRU(3)(L.Masking(-1.0, name="own")(x)))


MAKERS: list[Callable[[], Any]] = [
    lambda: L.Masking(-1.0, name="own"),
    lambda: L.Masking(np.nan, name="own"),
    *(lambda cls=cls: cls(name="own") for cls in (Wrapper, Passing, Own, Words)),
    sequential,
    graph,
]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("how", ["Masked", "mask=", "Ragged"])
def test_steps_that_come_back(make: Callable[[], Any], how: str) -> None:
    """A `Ragged` may have masked steps as well."""
    x, layer = np.ones((2, 6, 4), np.float32), make()
    if how == "Ragged" and isinstance(layer, Wrapper):
        layer.step_by_step = True
    rows = fm.Ragged(x.reshape(12, 4), [0, 6, 12], valid=MASK.ravel())

    def call() -> Any:
        if how == "mask=":
            return layer(x, mask=MASK)
        return layer(rows if how == "Ragged" else fm.Masked(x, MASK))

    with pytest.warns(UserWarning, match=r"^Layer 'own' .* makes a mask of its own") as caught:
        y = call()
    (message,) = (str(one.message) for one in caught)
    assert "4 of 12 steps, masked in its inputs, count as valid from here on; " in message
    assert "in a list or a Ragged" in message
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once is enough
        call()
        plain = layer(rows.values.reshape(2, 6, 4))  # as in Keras, the mask given has no effect
    found = y.to_masked() if isinstance(y, fm.Ragged) else y
    np.testing.assert_array_equal(*(getattr(one, "data", one) for one in (found, plain)))


def test_what_to_do_about_it() -> None:
    for value, words in ((-1.0, r"value=-1\.0\)"), (np.nan, r"value=np\.nan\)")):
        with pytest.warns(UserWarning, match=rf"as fm\.pad\(rows, {words} does"):
            L.Masking(value)(fm.pad(ROWS))
    with pytest.warns(UserWarning, match=r"pad with 0, .* value=0\)"):
        L.Embedding(9, 2, mask_zero=True)(fm.Masked(IDS, MASK))
    model = sequential()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = model(fm.ragged(ROWS))
        for x in (fm.pad(ROWS, value=-1.0), ROWS, fm.pad(ROWS).to_ragged()):
            np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-6)


@pytest.mark.parametrize("make", [*MAKERS, lambda: L.Embedding(9, 2, mask_zero=True)])
def test_no_warning_where_no_step_comes_back(make: Callable[[], Any]) -> None:
    layer = make()
    value = 0 if isinstance(layer, L.Embedding) else getattr(layer, "mask_value", -1.0)
    x = IDS if isinstance(layer, L.Embedding) else np.repeat(IDS[..., None], 4, -1).astype("f4")
    x[~MASK] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(x)
        layer(fm.Masked(x, MASK))
        layer(fm.Masked(x, np.ones((2, 6))))  # the layer masks more
        layer(np.abs(x), mask=np.ones((2, 6)))


def test_layers_that_change_masks_do_not_make_them() -> None:
    class Next(L.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs

        def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002 - Keras's signature
            return None if mask is None else np.roll(mask, 1, axis=1)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = fm.pad(ROWS)
        Next()(x)
        L.GRU(3, return_sequences=True, go_backwards=True)(x)
        L.Concatenate()([x, fm.Masked(x.data, MASK[::-1].copy())])
        fm.Model(one := fm.Input((6, 4)), Own()(L.Masking()(one)))  # tries it on zeros


def test_trace_tells() -> None:
    with pytest.warns(UserWarning, match="makes a mask of its own"):
        trace = fm.trace_masks(sequential(), fm.pad(ROWS))
    assert [row.did for row in trace] == ["made", "used"]
    assert "own made its own mask: 4 of 12 steps, masked in its inputs, count" in str(trace)
    assert "fm.pad(rows, value=-1.0)" in trace[0].note
    with pytest.warns(UserWarning, match="makes a mask of its own"):
        (row, _) = fm.trace_masks(Wrapper(), fm.pad(ROWS))
    assert (row.did, row.fix) == ("made", "")
    assert "4 of 12 steps" in row.note
    assert not fm.trace_masks(sequential(), fm.pad(ROWS, value=-1.0))[0].note
