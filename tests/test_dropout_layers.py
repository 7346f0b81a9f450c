"""Layers that draw in training."""

from __future__ import annotations

import numpy as np
import pytest

import fastmask as fm


class TestDropoutInTraining:
    ONES = np.ones((50, 40, 6), np.float32)

    def test_drops_and_scales(self) -> None:
        layer = fm.layers.Dropout(0.25, seed=3)
        y, z = (layer(self.ONES, training=True) for _ in range(2))
        assert set(np.unique(y).tolist()) == {0.0, np.float32(1 / 0.75)}
        assert abs((y == 0).mean() - 0.25) < 0.02
        assert (y != z).any()
        again = fm.layers.Dropout(0.25, seed=3)(self.ONES, training=True)
        np.testing.assert_array_equal(again, y)
        assert y.dtype == np.float32

    def test_noise_shape(self) -> None:
        y = fm.layers.Dropout(0.5, noise_shape=(None, 1, None), seed=0)(self.ONES, training=True)
        np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))
        assert 0 < (y == 0).mean() < 1
        with pytest.raises(
            ValueError, match=r"'d' have shape \(50, 40, 6\).*noise of shape \(2,\)"
        ):
            fm.layers.Dropout(0.5, noise_shape=[2], name="d")(self.ONES, training=True)

    def test_spatial(self) -> None:
        y = fm.layers.SpatialDropout1D(0.5, seed=0)(
            fm.Masked(self.ONES, self.ONES[:, :, 0]), training=True
        )
        np.testing.assert_array_equal(y.data, np.broadcast_to(y.data[:, :1], y.shape))
        assert 0 < (y.data == 0).mean() < 1

    def test_gaussian(self) -> None:
        noise = fm.layers.GaussianNoise(0.5, seed=0)(self.ONES, training=True)
        times = fm.layers.GaussianDropout(0.2, seed=0)(self.ONES, training=True)
        for y in (noise, times):
            assert y.dtype == np.float32
            assert abs(y.mean() - 1) < 0.02
            assert abs(y.std() - 0.5) < 0.02

    def test_alpha_keeps_mean_and_variance(self) -> None:
        x = np.random.default_rng(0).normal(size=(300, 300)).astype(np.float32)
        y = fm.layers.AlphaDropout(0.3, seed=0)(x, training=True)
        assert abs(y.mean()) < 0.02
        assert abs(y.std() - 1) < 0.02
        assert y.dtype == np.float32
