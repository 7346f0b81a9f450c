"""NaN at masked steps reaches no output of any layer."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import fastmask as fm

from . import golden, layer_zoo
from .built_layers import built

HOLED = golden.MASKS["holed"]
ROWOFF = golden.MASKS["rowoff"]
assert HOLED is not None
assert ROWOFF is not None
X = np.random.default_rng(0).normal(size=(golden.B, golden.T, golden.F)).astype(np.float32)
NAN = np.where(ROWOFF[:, :, None], X, np.float32(np.nan))


class TestNanAtMaskedSteps:
    """A layer that uses the mask does not read the values at masked steps."""

    def test_average_pooling(self) -> None:
        y = fm.layers.GlobalAveragePooling1D()(fm.Masked(NAN, ROWOFF))
        expected = np.where(ROWOFF[:, :, None], X, 0).sum(1) / np.maximum(ROWOFF.sum(1), 1)[:, None]
        np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)
        assert (y[1] == 0).all()

    @pytest.mark.parametrize("axis", [1, -1, [1, 2]])
    def test_softmax(self, axis: Any) -> None:
        layer = fm.layers.Softmax(axis)
        y = layer(fm.Masked(NAN, ROWOFF)).data
        np.testing.assert_array_equal(y, layer(fm.Masked(X, ROWOFF)).data)
        assert (y[~ROWOFF] == 0).all()
        if axis == 1:
            valid_rows = ROWOFF.any(1)
            np.testing.assert_allclose(y.sum(1)[valid_rows], 1, rtol=1e-6)

    @pytest.mark.parametrize("shape", [(4, 5, 6, 6), (1, 1, 6, 6), (4, 1, 1, 6), (6, 1), (6,)])
    @pytest.mark.parametrize("axis", [-1, [2, 3]])
    def test_softmax_with_a_mask_of_numbers(self, shape: tuple[int, ...], axis: Any) -> None:
        random = np.random.default_rng(3)
        x = random.normal(size=(4, 5, 6, 6)).astype(np.float32)
        mask = random.random(shape) < 0.6
        layer = fm.layers.Softmax(axis)
        full = np.broadcast_to(mask, x.shape)
        y = layer(np.where(full, x, np.nan), mask=mask)
        powers = np.where(full, np.exp(x), 0)
        axes = tuple(np.atleast_1d(axis).tolist())
        total = powers.sum(axis=axes, keepdims=True)
        expected = np.divide(powers, total, out=np.zeros_like(powers), where=total > 0)
        np.testing.assert_allclose(y.data, expected, atol=1e-6)
        np.testing.assert_array_equal(y.mask.valid, full.any((2, 3)))
        np.testing.assert_array_equal(layer(x, mask=mask.astype(np.float32)).data, y.data)

    def test_softmax_with_a_mask_of_numbers_in_a_graph(self) -> None:
        x, mask = fm.Input((2, 4, 4)), fm.Input((1, 4, 4), "bool")
        model = fm.Model([x, mask], fm.layers.Softmax()(x, mask=mask))
        data = np.random.default_rng(0).normal(size=(3, 2, 4, 4)).astype(np.float32)
        causal = np.broadcast_to(np.tril(np.ones((4, 4), np.bool_)), (3, 1, 4, 4))
        y = model([data, causal])
        np.testing.assert_array_equal(y.data, fm.layers.Softmax()(data, mask=causal).data)
        assert [row.did for row in fm.trace_masks(model, [data, causal])] == ["used, changed"]
        with pytest.raises(ValueError, match="mask has shape"):
            fm.layers.Softmax()(x, mask=fm.Input((3, 4, 4)))
        constant = fm.Model(x, fm.layers.Softmax()(x, mask=causal[0]))
        np.testing.assert_array_equal(constant(data).data, y.data)

    def test_softmax_without_a_mask_shows_nan(self) -> None:
        assert np.isnan(fm.layers.Softmax(axis=1)(NAN)).any()

    def test_softmax_of_large_numbers(self) -> None:
        y = fm.layers.Softmax(axis=1)(fm.Masked([[[900.0], [900.0], [1e30]]], [[1, 1, 0]]))
        np.testing.assert_array_equal(y.data[0, :, 0], [0.5, 0.5, 0])

    def test_batch_normalization(self) -> None:
        clean, dirty = (fm.layers.BatchNormalization() for _ in range(2))
        y = dirty(fm.Masked(NAN, ROWOFF), training=True).data
        expected = clean(fm.Masked(X, ROWOFF), training=True).data
        np.testing.assert_array_equal(y[ROWOFF], expected[ROWOFF])
        for one, other in zip(dirty.get_weights(), clean.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize("kind", ["Multiply", "Maximum", "Minimum"])
    def test_merges_that_ignore_masked_values(self, kind: str) -> None:
        layer = getattr(fm.layers, kind)()
        other = fm.Masked(X[::-1], HOLED)
        y = layer([fm.Masked(NAN, ROWOFF), other])
        union = ROWOFF | HOLED
        np.testing.assert_array_equal(y.mask.valid, union)
        expected = layer([fm.Masked(X, ROWOFF), other]).data
        np.testing.assert_array_equal(y.data[union], expected[union])
        assert np.isfinite(y.data[union]).all()

    def test_time_distributed_batch_normalization(self) -> None:
        layers = [fm.layers.TimeDistributed(fm.layers.BatchNormalization()) for _ in range(2)]
        results = [
            layer(fm.Masked(x, ROWOFF), training=True).data[ROWOFF]
            for layer, x in zip(layers, (X, NAN), strict=True)
        ]
        np.testing.assert_array_equal(*results)

    @pytest.mark.parametrize("name", layer_zoo.CASES)
    def test_no_valid_step_of_any_layer_without_a_warning(self, name: str) -> None:
        """A layer warns that it drops the mask, or NaN stays at masked steps, as the README says.

        A `Masking` layer has no need of the mask, as it makes one.
        """
        layer, mask = built(name), golden.MASKS["left"]
        assert mask is not None
        inputs = [
            fm.Masked(np.where(mask.reshape(*x.shape[:2], *(1,) * (x.ndim - 2)), x, np.nan), mask)
            for x in layer_zoo.inputs(name)
        ]
        if name == "masking":
            inputs = [fm.Masked(np.where(mask[:, :, None], inputs[0].data, 0), mask)]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            y = layer(inputs if len(inputs) > 1 else inputs[0])
        if isinstance(y, fm.Masked):
            assert np.isfinite(y.data[y.mask.valid]).all()
        else:
            dropped = [one for one in caught if "destroy the mask" in str(one.message)]
            assert dropped or np.isfinite(y).all()
