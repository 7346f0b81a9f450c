"""Global pooling of inputs whose channels come first."""

from __future__ import annotations

import numpy as np
import pytest

import fastmask as fm

from . import golden

X = np.random.default_rng(0).normal(size=(golden.B, golden.T, golden.F)).astype(np.float32)


class TestChannelsFirst:
    """Global pooling of (B, F, T) under a mask (B, T)."""

    X = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    MASK = np.array([[1, 1, 0, 0], [0, 0, 0, 0]], bool)

    def test_means(self) -> None:
        layer = fm.layers.GlobalAveragePooling1D(data_format="channels_first")
        x = np.where(self.MASK[:, None, :], self.X, np.nan)
        np.testing.assert_array_equal(layer(x, mask=self.MASK), [[0.5, 4.5, 8.5], [0, 0, 0]])
        wide = fm.layers.GlobalAveragePooling1D("channels_first", keepdims=True)
        assert wide(x, mask=self.MASK).shape == (2, 3, 1)
        last = fm.layers.GlobalAveragePooling1D(keepdims=True)(x.swapaxes(1, 2), mask=self.MASK)
        np.testing.assert_array_equal(wide(x, mask=self.MASK), last.swapaxes(1, 2))
        symbol = layer(fm.Input((3, 4)), mask=self.MASK)
        assert symbol.shape == (None, 3)
        inputs = [fm.Input((3, 4)), fm.Input((4,), "bool")]
        model = fm.Model(inputs, layer(inputs[0], mask=inputs[1]))
        np.testing.assert_array_equal(model([x, self.MASK]), layer(x, mask=self.MASK))

    def test_means_of_no_step(self) -> None:
        layer = fm.layers.GlobalAveragePooling1D("channels_first")
        np.testing.assert_array_equal(layer(self.X[:, :, :0]), np.zeros((2, 3)))
        assert layer(self.X[:, :0]).shape == (2, 0)
        no_step = layer(self.X[:, :, :0], mask=self.MASK[:, :0])
        np.testing.assert_array_equal(no_step, np.zeros((2, 3)))

    def test_masks_that_do_not_fit(self) -> None:
        layer = fm.layers.GlobalAveragePooling1D("channels_first")
        for mask in (self.MASK[:, :3], self.MASK.T):
            with pytest.raises(ValueError, match=r"mask has shape .* \(2, 4\)"):
                layer(self.X, mask=mask)
        with pytest.raises(ValueError, match=r"mask has shape \(2, 3\)"):
            layer(fm.Masked(self.X, self.MASK[:, :3]))

    def test_maxima_drop_masks(self) -> None:
        layer = fm.layers.GlobalMaxPooling1D(data_format="channels_first")
        with pytest.warns(UserWarning, match="destroy the mask"):
            y = layer(self.X, mask=self.MASK)
        np.testing.assert_array_equal(y, self.X.max(axis=2))

    @pytest.mark.optional
    @pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")
    def test_equals_keras(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KERAS_BACKEND", "torch")
        pytest.importorskip("torch", reason="torch is not installed")
        keras = pytest.importorskip("keras", reason="keras is not installed")
        mask = np.array([[1, 1, 0, 1], [0, 1, 0, 0]], bool)
        ours, theirs = (
            package.layers.GlobalAveragePooling1D(data_format="channels_first")(self.X, mask=mask)
            for package in (fm, keras)
        )
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)
