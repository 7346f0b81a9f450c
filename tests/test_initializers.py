"""Initializers: Keras's names, distributions and configurations."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import initializers

NAMES = (
    *("zeros", "ones", "constant", "identity", "orthogonal", "random_uniform", "random_normal"),
    *("truncated_normal", "variance_scaling", "glorot_uniform", "glorot_normal", "he_uniform"),
    *("he_normal", "lecun_uniform", "lecun_normal"),
)
CUT = 0.87962566  # standard deviation of a standard normal that is cut off at 2
SHAPES = [(100, 60), (5, 40, 30), (2, 3, 20, 40), (6000,), (500, 12)]


def fans(shape: tuple[int, ...]) -> tuple[float, float]:
    """Fans of a shape (..., inputs, outputs), whose other axes are the receptive field."""
    if len(shape) == 1:
        return shape[0], shape[0]
    field = math.prod(shape[:-2])
    return field * shape[-2], field * shape[-1]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    ("name", "scale", "mode"),
    [
        ("glorot", 1, lambda i, o: (i + o) / 2),
        ("lecun", 1, lambda i, _: i),
        ("he", 2, lambda i, _: i),
    ],
)
def test_variance_of_the_fans(name: str, scale: float, mode: Any, shape: tuple[int, ...]) -> None:
    deviation = math.sqrt(scale / mode(*fans(shape)))
    uniform, normal = (
        initializers.get({"class": f"{name.title()}{kind}", "seed": 3})(shape, "float64")
        for kind in ("Uniform", "Normal")
    )
    limits = math.sqrt(3) * deviation, 2 * deviation / CUT
    for values, limit in zip((uniform, normal), limits, strict=True):
        assert values.shape == shape
        assert 0.98 * limit < np.abs(values).max() <= limit
        np.testing.assert_allclose(values.std(), deviation, rtol=0.03)
        np.testing.assert_allclose(values.mean(), 0, atol=0.05 * deviation)
    share = (np.abs(normal) < 0.5 * limits[1]).mean()  # within one deviation of the normal: 0.715
    np.testing.assert_allclose(share, 0.6827 / 0.9545, atol=0.02)


def test_truncated_normal() -> None:
    values = initializers.TruncatedNormal(3.0, 0.5, seed=1)((30_000,), "float64")
    assert 1.99 * 0.5 < np.abs(values - 3).max() <= 2 * 0.5
    np.testing.assert_allclose(values.std(), CUT * 0.5, rtol=0.02)
    np.testing.assert_allclose(values.mean(), 3, atol=0.02)


def test_variance_scaling() -> None:
    shape = (20, 30, 40)
    for mode, count in (("fan_in", 600), ("fan_out", 800), ("fan_avg", 700)):
        for kind in ("uniform", "untruncated_normal", "Normal"):
            make = initializers.VarianceScaling(0.5, mode, kind, seed=2)
            values = make(shape, "float64")
            np.testing.assert_allclose(values.std(), math.sqrt(0.5 / count), rtol=0.02)
            if kind == "untruncated_normal":
                assert np.abs(values).max() > 3 * values.std()
    make = initializers.VarianceScaling(
        1.0, "fan_in", "uniform", 2, input_axes=[0], output_axes=(1, 2)
    )
    np.testing.assert_allclose(make(shape, "float64").std(), math.sqrt(1 / 20), rtol=0.02)
    for bad, error, words in (
        ({"scale": 0.0}, ValueError, "scale must be positive"),
        ({"mode": "fan"}, ValueError, "mode must be one of"),
        ({"distribution": "beta"}, ValueError, "distribution must be one of"),
        ({"input_axes": 3}, TypeError, "input_axes must be a list of integers"),
    ):
        with pytest.raises(error, match=words):
            initializers.VarianceScaling(**bad)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(ValueError, match=r"must be axes of the weight, not \[5\]"):
        initializers.VarianceScaling(input_axes=[5], output_axes=[0])(shape)


def test_identity() -> None:
    make = initializers.Identity(2.0)
    np.testing.assert_array_equal(make((2, 3)), [[2, 0, 0], [0, 2, 0]])
    with pytest.raises(ValueError, match=r"two axes, not shape \(3,\)"):
        make((3,))


class TestConstant:
    def test_of_an_array(self) -> None:
        table = np.arange(6.0).reshape(2, 3)
        for given in (table, table.tolist()):
            make = initializers.Constant(given)
            np.testing.assert_array_equal(make((2, 3)), table)
            assert make((2, 3)).dtype == np.float32
        np.testing.assert_array_equal(initializers.Constant([1, 2])((2, 2)), [[1, 2], [1, 2]])
        with pytest.raises(ValueError, match=r"has shape \(2, 3\), but the weight \(3, 3\)"):
            initializers.Constant(table)((3, 3))
        with pytest.raises(TypeError, match="value must be a number or an array of numbers"):
            initializers.Constant(["a"])

    def test_is_a_copy(self) -> None:
        table = np.ones(3)
        make = initializers.Constant(table)
        table[:] = 7
        np.testing.assert_array_equal(make((3,)), 1)
        make((3,))[:] = 7
        np.testing.assert_array_equal(make((3,)), 1)

    def test_an_array_in_its_place(self) -> None:
        table = np.arange(8.0).reshape(4, 2)
        layer = fm.layers.Embedding(4, 2, embeddings_initializer=table)
        np.testing.assert_array_equal(layer([[3, 0]]), [[[6, 7], [0, 1]]])
        with pytest.raises(ValueError, match=r"the weight's shape \(4, 2\), not \(2,\)"):
            fm.layers.Embedding(4, 2, embeddings_initializer=table[0])([[3, 0]])

    def test_of_a_bias_that_starts_as_ones(self) -> None:
        layer = fm.layers.LSTM(3, bias_initializer=np.arange(12.0))
        with pytest.raises(ValueError, match="bias_initializer must not be an array"):
            layer.build((None, None, 4))
        layer = fm.layers.LSTM(3, bias_initializer=np.arange(12.0), unit_forget_bias=False)
        layer.build((None, None, 4))
        np.testing.assert_array_equal(layer.get_weights()[2], np.arange(12.0))

    @pytest.mark.parametrize("rows", [5, 200_000])
    def test_in_a_file(self, rows: int, tmp_path: Path) -> None:
        table = np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32)
        model = fm.Sequential(
            [fm.layers.Embedding(rows, 4, initializers.Constant(table)), fm.layers.LSTM(2)]
        )
        expected = model([[1, 2, 4]])
        fm.save_model(model, tmp_path / "a.npz")
        assert (tmp_path / "a.npz").stat().st_size < table.nbytes + 20_000
        again = fm.load_model(tmp_path / "a.npz")
        np.testing.assert_array_equal(again([[1, 2, 4]]), expected)


class TestDraws:
    @pytest.mark.parametrize(
        "initializer",
        [
            initializers.RandomUniform(seed=3),
            initializers.RandomNormal(stddev=2.0, seed=3),
            initializers.GlorotUniform(seed=3),
            initializers.Orthogonal(seed=3),
            initializers.Constant(0.5),
        ],
    )
    def test_repeats_and_survives_its_config(self, initializer: Any) -> None:
        first = initializer((4, 6), "float32")
        assert first.shape == (4, 6)
        assert first.dtype == np.float32
        again = initializers.get(initializer.get_config())
        np.testing.assert_array_equal(again((4, 6), "float32"), first)

    def test_without_a_seed_it_differs(self) -> None:
        make = initializers.get("glorot_uniform")
        assert (make((4, 4)) != make((4, 4))).any()

    @pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (2, 3, 4)])
    def test_orthogonal(self, shape: tuple[int, ...]) -> None:
        q = initializers.Orthogonal(seed=1)(shape, "float64").reshape(-1, shape[-1])
        product = q @ q.T if q.shape[0] < q.shape[1] else q.T @ q
        np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-12)

    def test_refuses(self) -> None:
        with pytest.raises(ValueError, match="initializer must be one of zeros, ones"):
            initializers.get("glorot")
        with pytest.raises(ValueError, match="not 'Evil'"):
            initializers.get({"class": "Evil"})
        with pytest.raises(TypeError, match="initializer must be a name or a function, not 3"):
            initializers.get(3)  # type: ignore[arg-type]  # on purpose
        with pytest.raises(ValueError, match="two axes or more"):
            initializers.Orthogonal()((3,))


class TestGet:
    @pytest.mark.parametrize("name", NAMES)
    def test_ways_to_say_it(self, name: str) -> None:
        cls = type(initializers.get(name))
        made = initializers.get(cls.__name__)
        assert type(made) is cls
        assert getattr(initializers, name) is cls is getattr(initializers, cls.__name__)
        assert type(initializers.get(cls)) is cls
        config = {"class_name": cls.__name__, "config": {}, "module": "keras.initializers"}
        assert type(initializers.get(config)) is cls
        assert type(initializers.get(made.get_config())) is cls
        layer = fm.layers.LSTM(3, kernel_initializer=name if name != "identity" else "zeros")
        layer(np.ones((1, 2, 2)))
        again = initializers.get(
            {**made.get_config(), **({"seed": 3} if "seed" in vars(made) else {})}
        )
        np.testing.assert_array_equal(again((6, 5)), again((6, 5)))

    def test_seeds_of_keras(self) -> None:
        seed = {"class_name": "SeedGenerator", "config": {"name": "s", "seed": 5}}
        made: Any = initializers.get({"class_name": "he_normal", "config": {"seed": seed}})
        assert made.seed == 5

    def test_nothing_is_glorot_uniform(self) -> None:
        assert isinstance(initializers.get(None), initializers.GlorotUniform)

    def test_refuses(self) -> None:
        for bad in ("glorot", "STFT", "__class__", ""):
            with pytest.raises(ValueError, match="initializer must be one of zeros, ones"):
                initializers.get(bad)
        with pytest.raises(TypeError, match="config of initializer must be a dictionary"):
            initializers.get({"class_name": "Ones", "config": 3})
        with pytest.raises(ValueError, match="kernel_initializer must be one of"):
            fm.layers.Dense(3, kernel_initializer={"class_name": ["Ones"], "config": {}})
        with pytest.raises(AttributeError, match="no attribute 'he'"):
            initializers.he  # noqa: B018 - it raises


@pytest.mark.optional
@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")
class TestBesideKeras:
    @pytest.fixture
    def keras(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setenv("KERAS_BACKEND", "torch")
        pytest.importorskip("torch", reason="torch is not installed")
        return pytest.importorskip("keras", reason="keras is not installed")

    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    @pytest.mark.parametrize("name", NAMES)
    def test_same_distribution(self, name: str, shape: tuple[int, ...], keras: Any) -> None:
        ours, theirs = initializers.get(name), getattr(keras.initializers, name)()
        if (name == "identity" and len(shape) != 2) or (name == "orthogonal" and len(shape) < 2):
            for make in (ours, theirs):
                with pytest.raises(ValueError, match=r"two|2D"):
                    make(shape)
            return
        if "seed" in vars(ours):
            options = {"class_name": type(theirs).__name__, "config": {"seed": 4}}
            ours, theirs = initializers.get(options), keras.initializers.get(options)
        one, other = np.sort(ours(shape).ravel()), np.sort(np.asarray(theirs(shape)).ravel())
        spread = max(other.std(), 1e-6)
        middle = slice(len(one) // 50, -len(one) // 50)  # outermost values vary more
        np.testing.assert_allclose(one[middle], other[middle], atol=0.15 * spread)

    @pytest.mark.parametrize("name", NAMES)
    def test_its_configurations(self, name: str, keras: Any) -> None:
        theirs = getattr(keras.initializers, name)()
        for config in (
            keras.initializers.serialize(theirs),
            {"class_name": name, "config": theirs.get_config()},
        ):
            made: Any = initializers.get(config)
            assert type(made).__name__ == type(theirs).__name__
            for key, value in theirs.get_config().items():
                assert getattr(made, key) == value

    def test_a_described_array(self, keras: Any) -> None:
        table = np.arange(6.0, dtype="float32").reshape(2, 3)
        config = keras.initializers.serialize(keras.initializers.Constant(table))
        np.testing.assert_array_equal(initializers.get(config)((2, 3)), table)

    def test_its_objects(self, keras: Any) -> None:
        layer = fm.layers.Dense(3, kernel_initializer=keras.initializers.HeNormal(seed=1))
        layer(np.ones((2, 5)))
        expected = np.asarray(keras.initializers.HeNormal(seed=1)((5, 3)))
        np.testing.assert_array_equal(layer.get_weights()[0], expected)
