"""Data in batches, for `predict` and `Normalization.adapt`: generators, loaders, datasets."""

from __future__ import annotations

import itertools
import sys
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.layers import LSTM, Dense, Masking, Normalization
from fastmask.models import progress as _progress

X = np.random.default_rng(5).normal(size=(11, 4, 3)).astype(np.float32)
PARTS = [X[:4], X[4:8], X[8:]]


class Indexed:
    """Like a `keras.utils.PyDataset`: no index is out of range, so its length must end a pass."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, number: int) -> Any:
        return PARTS[number % 3], np.zeros(4)


class Numbered(Indexed):
    num_batches = 2

    def __len__(self) -> int:
        raise NotImplementedError


class Loader:
    """Like a `torch.utils.data.DataLoader`, which yields lists."""

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[Any]:
        return ([part, np.zeros(len(part))] for part in PARTS)


FORMS: dict[str, Any] = {
    "arrays": lambda: iter(PARTS),
    "tuples of one": lambda: ((part,) for part in PARTS),
    "with targets": lambda: ((part, np.zeros(len(part))) for part in PARTS),
    "with weights": lambda: ((part, None, None) for part in PARTS),
    "nested lists": lambda: (part.tolist() for part in PARTS),
    "map": lambda: map(np.array, PARTS),
    "indexed": Indexed,
    "loader": Loader,
}


class TestPredict:
    @pytest.mark.parametrize("form", FORMS)
    def test_as_all_at_once(self, form: str) -> None:
        model = fm.Sequential([LSTM(4), Dense(2)])
        got = model.predict(FORMS[form](), verbose=0)
        np.testing.assert_allclose(got, model.predict(X, verbose=0), atol=1e-6)

    def test_steps(self) -> None:
        model = fm.Sequential([Dense(2)])
        endless = itertools.cycle(PARTS)
        assert model.predict(endless, steps=4, verbose="auto").shape == (15, 4, 2)
        assert model.predict(Indexed(), steps=2).shape == (8, 4, 2)
        assert model.predict(Numbered()).shape == (8, 4, 2)
        np.testing.assert_array_equal(model.predict(X, batch_size=2, steps=3), model(X[:6]))
        masked = fm.Masked(X, np.ones((11, 4)))
        assert model.predict(masked, batch_size=None, steps=1).shape == (11, 4, 2)
        with pytest.raises(ValueError, match="steps must be at least 1"):
            model.predict(X, steps=0)

    def test_masks_and_lengths_that_differ(self) -> None:
        model = fm.Sequential([Masking(), LSTM(2, return_sequences=True)])
        rows = [X[0, :2], X[1, :1], X[2], X[3, :3]]
        y = model.predict((rows[i : i + 2] for i in (0, 2)), verbose=0)
        assert y.shape == (4, 4, 2)
        np.testing.assert_array_equal(y.mask.lengths, [2, 1, 4, 3])
        for i, row in enumerate(rows):
            np.testing.assert_allclose(y.data[i, : len(row)], model(row[None]).data[0], atol=1e-6)
        plain = fm.Sequential([Dense(2)])
        with pytest.raises(ValueError, match=r"must have one shape for all batches.*masks"):
            plain.predict(iter([X[:2], X[2:4, :3]]))

    def test_several_inputs_and_outputs(self) -> None:
        a, b = fm.Input((4, 3)), fm.Input((3,))
        model = fm.Model([a, b], [LSTM(2)(a), Dense(1)(b)])
        other = X[:, 0]
        batches = (([X[i : i + 4], other[i : i + 4]], None) for i in (0, 4, 8))
        for got, expected in zip(model.predict(batches), model.predict([X, other]), strict=True):
            np.testing.assert_allclose(got, expected, atol=1e-6)
        with pytest.raises(ValueError, match=r"batches of x must be \(\[2 inputs\],\), or such"):
            model.predict(iter([(X, other)]))

    def test_one_batch_at_a_time(self) -> None:
        seen: list[weakref.ref[Any]] = []

        class Traced(np.ndarray):
            pass

        def batches() -> Iterator[Any]:
            for _ in range(6):
                batch = np.ones((3, 2), np.float32).view(Traced)
                seen.append(weakref.ref(batch))
                assert sum(one() is not None for one in seen) <= 2  # the last one, and this
                yield batch
                del batch

        model = fm.Sequential([Dense(2)])
        assert model.predict(batches(), verbose=0).shape == (18, 2)

    def test_refuses(self) -> None:
        model = fm.Sequential([Dense(2)])
        with pytest.raises(ValueError, match="x must have at least one batch"):
            model.predict(iter([]))
        with pytest.raises(ValueError, match=r"batches of x must be \(inputs,\).*tuple of 4"):
            model.predict(iter([(X, X, X, X)]))
        with pytest.raises(ValueError, match=r"batches of x must be \(inputs,\).*tuple of 0"):
            model.predict(iter([()]))

    def test_stateful(self) -> None:
        model = fm.Sequential([LSTM(2, stateful=True)])
        got = model.predict(iter([X[:4], X[4:8]]))
        again = fm.Sequential([LSTM(2, stateful=True)])
        again.build((None, None, 3))
        again.set_weights(model.get_weights())
        np.testing.assert_array_equal(got, again.predict(X[:8], batch_size=4))

    def test_progress_without_an_end(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        clock = iter(range(100))
        monkeypatch.setattr(_progress.time, "monotonic", lambda: 2.0 * next(clock))
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        monkeypatch.setitem(sys.modules, "tqdm", None)
        fm.Sequential([Dense(2)]).predict(iter(PARTS))
        assert capsys.readouterr().err.split("\r")[-1] == "batch 3\n"


class TestAdapt:
    @pytest.mark.parametrize("form", [*FORMS, "list"])
    @pytest.mark.parametrize("axis", [-1, (1, 2), None])
    def test_as_all_at_once(self, form: str, axis: Any) -> None:
        one, other = Normalization(axis=axis), Normalization(axis=axis)
        one.adapt(PARTS if form == "list" else FORMS[form]())
        other.adapt(X)
        np.testing.assert_allclose(one(X), other(X), rtol=1e-5, atol=1e-5)
        sizes = tuple(i for i in range(3) if axis is None or i not in np.atleast_1d(axis) % 3)
        np.testing.assert_allclose(other.get_weights()[0], X.mean(axis=sizes), atol=1e-6)
        np.testing.assert_allclose(other.get_weights()[1], X.var(axis=sizes), rtol=1e-5)

    def test_masked_batches_of_any_length(self) -> None:
        layer = Normalization()
        layer.adapt(fm.Masked(part, [[1, 1, 0, 0]] * len(part)) for part in PARTS)
        np.testing.assert_allclose(layer.get_weights()[0], X[:, :2].mean(axis=(0, 1)), atol=1e-6)
        layer.adapt(iter([X[:3], X[3:, :1]]))
        all_of_it = np.concatenate([X[:3].reshape(-1, 3), X[3:, 0]])
        np.testing.assert_allclose(layer.get_weights()[1], all_of_it.var(axis=0), rtol=1e-5)

    def test_far_from_zero(self) -> None:
        """No cancellation, unlike the mean of squares minus the square of the mean."""
        layer = Normalization(dtype="float64")
        far = 1e8 + X.astype(np.float64)
        layer.adapt(far[i : i + 1] for i in range(11))
        np.testing.assert_allclose(layer.get_weights()[1], X.var(axis=(0, 1)), rtol=1e-5)

    def test_refuses(self) -> None:
        for nothing in (iter([]), iter([X[:0]]), [], X[:0]):
            with pytest.raises(ValueError, match="data must"):
                Normalization(axis=None).adapt(nothing)
        with pytest.raises(
            ValueError, match=r"data must have the size \(3,\) on axis -1, not \(2,"
        ):
            Normalization().adapt(iter([X, X[:, :, :2]]))


@pytest.mark.optional
@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")
class TestBesideKeras:
    @pytest.fixture
    def keras(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setenv("KERAS_BACKEND", "torch")
        pytest.importorskip("torch", reason="torch is not installed")
        return pytest.importorskip("keras", reason="keras is not installed")

    def data(self, keras: Any) -> list[Any]:
        class Data(keras.utils.PyDataset):  # type: ignore[misc]  # Any
            def __init__(self) -> None:
                super().__init__()

            def __len__(self) -> int:
                return 3

            def __getitem__(self, number: int) -> Any:
                return PARTS[number], np.zeros(len(PARTS[number]))

        import torch

        rows = torch.utils.data.TensorDataset(torch.tensor(X), torch.zeros(11))
        loader = torch.utils.data.DataLoader(rows, batch_size=4)
        return [Data(), loader, FORMS["with targets"]()]

    @pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")  # of generators
    def test_predict(self, keras: Any) -> None:
        theirs = keras.Sequential([keras.layers.Dense(2)])
        theirs.build((None, 4, 3))
        ours = fm.Sequential([Dense(2)])
        ours.build((None, 4, 3))
        ours.set_weights(theirs.get_weights())
        for one, other in zip(self.data(keras), self.data(keras), strict=True):
            expected = theirs.predict(other, verbose=0)
            np.testing.assert_allclose(ours.predict(one, verbose=0), expected, atol=1e-6)

    def test_adapt(self, keras: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        import torch
        from keras.src.layers.preprocessing import normalization

        # Keras asks TensorFlow, which is not installed, whether the data is a dataset.
        no_tensorflow = SimpleNamespace(data=SimpleNamespace(Dataset=type("Dataset", (), {})))
        monkeypatch.setattr(normalization, "tf", no_tensorflow)
        for one, other in zip(self.data(keras)[::2], self.data(keras)[::2], strict=True):
            ours, theirs = Normalization(), keras.layers.Normalization()
            ours.adapt(one)
            theirs.adapt(other)
            for got, expected in zip(ours.get_weights(), theirs.get_weights(), strict=True):
                np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
        with pytest.raises(TypeError, match=r"put it into a torch\.utils\.data\.DataLoader"):
            Normalization().adapt(torch.utils.data.TensorDataset(torch.tensor(X)))
