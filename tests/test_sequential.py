"""`Sequential`: building, masks along the way, weights, predict."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.backends import plan as _plan
from fastmask.layers import LSTM, Activation, Dense, Embedding, Masking
from fastmask.models import progress as _progress

IDS = np.array([[7, 1, 3, 0, 0], [2, 0, 0, 0, 0], [1, 2, 3, 4, 5]])
X = np.where((IDS != 0)[:, :, None], np.random.default_rng(0).normal(size=(3, 5, 4)), 0).astype(
    np.float32
)


def text_model() -> fm.Sequential:
    return fm.Sequential(
        [
            Embedding(10, 4, mask_zero=True),
            LSTM(6, return_sequences=True),
            Activation("relu"),
            LSTM(5),
            Dense(2, "softmax"),
        ]
    )


def test_equals_its_layers_by_hand() -> None:
    model = text_model()
    y = model(IDS)
    embedding, first, relu, second, dense = model.layers
    x = embedding(IDS).data
    mask = IDS != 0
    by_hand = dense(second(relu(first(x, mask=mask).data), mask=mask))
    np.testing.assert_array_equal(y, by_hand)
    assert y.shape == (3, 2)


def test_mask_comes_out_where_a_sequence_does() -> None:
    model = fm.Sequential([Masking(), LSTM(4, return_sequences=True), Dense(3)])
    y = model(X)
    np.testing.assert_array_equal(y.mask.valid, IDS != 0)
    np.testing.assert_array_equal(np.asarray(model.compute_mask(X)), IDS != 0)
    assert fm.Sequential([Masking(), LSTM(4)]).compute_mask(X) is None


def test_mask_of_the_inputs() -> None:
    model = fm.Sequential([LSTM(4)])
    masked = fm.Masked(X, IDS != 0)
    np.testing.assert_array_equal(model(masked), model(X, mask=IDS != 0))
    np.testing.assert_array_equal(model(masked, mask=np.ones((3, 5))), model(X))
    with pytest.raises(ValueError, match=r"mask has shape \(3, 4\)"):
        model(X, mask=np.ones((3, 4)))


def test_stack_plans_its_mask_once() -> None:
    stack = [LSTM(4, return_sequences=True) for _ in range(3)]
    model = fm.Sequential([Masking(), *stack, Dense(2)])
    model(X)
    before = _plan.plans_made()
    model(X)
    assert _plan.plans_made() == before + 1


def test_nests() -> None:
    inner = fm.Sequential([Masking(), LSTM(4, return_sequences=True)])
    outer = fm.Sequential([inner, fm.Sequential([LSTM(3)])])
    assert outer(X).shape == (3, 3)
    assert len(outer.get_weights()) == 6
    flat = fm.Sequential([*inner.layers, *outer.layers[1].layers])  # type: ignore[attr-defined]  # on purpose
    np.testing.assert_array_equal(outer(X), flat(X))


def test_empty_model() -> None:
    for call in (lambda m: m(X), lambda m: m.build((None, 2)), lambda m: m(fm.Input((2,)))):
        with pytest.raises(ValueError, match=r"has no layers: call model.add\(layer\) first"):
            call(fm.Sequential(name="empty"))
    model = fm.Sequential([fm.Input(X.shape[1:])])
    x = fm.Masked(X, IDS != 0)
    assert model(x).mask is x.mask
    assert model(X) is X


def test_inputs_of_one_shape_alone() -> None:
    model = fm.Sequential([fm.Input((None, 2)), fm.layers.Dense(3)])
    with pytest.raises(ValueError, match=r"has inputs of shape \(None, None, 2\) already"):
        model.build((None, None, 5))
    empty = fm.Sequential([fm.Input((2,))])
    with pytest.raises(ValueError, match=r"cannot have shape \(None, 4\)"):
        empty.add(fm.Input((4,)))
    model.build((7, 4, 2))
    with pytest.raises(ValueError, match=r"shape \(None, None, 2\) already"):
        model.add(fm.Input((None, 2)))
    after = fm.Sequential([fm.layers.Dense(3)])
    after.add(fm.Input((5,)))
    assert after.built
    later = fm.Sequential([fm.layers.Dense(3)])
    later.build((None, 5))
    with pytest.raises(ValueError, match=r"shape \(None, 5\) already"):
        later.build((None, 6))
    called = fm.Sequential([fm.layers.Dense(3)])
    called(np.ones((2, 5)))
    with pytest.raises(ValueError, match=r"must have shape \(batch, ..., 5\)"):
        called.build((None, 6))


def test_dtype_is_the_layers() -> None:
    model = fm.Sequential([LSTM(4, dtype="float64")])
    assert model(X.astype(np.float64)).dtype == np.float64


def test_training_reaches_the_layers() -> None:
    model = fm.Sequential([LSTM(4, dropout=0.5)])
    assert (model(X) != model(X, training=True)).any()


class TestBuilding:
    def test_by_shape(self) -> None:
        model = text_model()
        assert not model.built
        model.build((None, None))
        assert model.built
        assert [w.shape for w in model.get_weights()] == [
            *((10, 4), (4, 24), (6, 24), (24,)),
            *((6, 20), (5, 20), (20,), (5, 2), (2,)),
        ]
        assert model.compute_output_shape((None, None)) == (None, 2)
        assert model.count_params() == sum(w.size for w in model.get_weights())

    def test_add(self) -> None:
        model = fm.Sequential()
        model.add(Masking())
        model.add(LSTM(4))
        assert [type(layer) for layer in model.layers] == [Masking, LSTM]
        assert model(X).shape == (3, 4)
        model.add(Dense(2))
        assert model(X).shape == (3, 2)
        assert len(model.get_weights()) == 5

    def test_with_an_input_first(self) -> None:
        model = fm.Sequential([fm.Input((None,), "int32"), *text_model().layers])
        assert model.built
        assert len(model.layers) == 5
        assert model(IDS).shape == (3, 2)
        model.add(Dense(3))
        assert model.layers[-1].get_weights()[0].shape == (2, 3)
        with pytest.raises(ValueError, match="cannot have shape"):
            model.add(fm.Input((3,)))

    def test_layers_is_a_copy(self) -> None:
        model = text_model()
        model.layers.clear()
        assert len(model.layers) == 5

    def test_refuses(self) -> None:
        with pytest.raises(TypeError, match="layers must be a list of layers, not <Dense"):
            fm.Sequential(fm.layers.Dense(2))  # type: ignore[arg-type]  # on purpose
        with pytest.raises(TypeError, match="weights must be a list of arrays, not NoneType"):
            fm.Sequential([]).set_weights(None)  # type: ignore[arg-type]  # on purpose
        with pytest.raises(TypeError, match="layer must be a fastmask Layer, not 3"):
            fm.Sequential([3])  # type: ignore[list-item]  # on purpose
        with pytest.raises(ValueError, match="but 'a' is taken"):
            fm.Sequential([Masking(name="a"), LSTM(3, name="a")])
        layer = LSTM(3, return_sequences=True)
        with pytest.raises(ValueError, match="is taken"):
            fm.Sequential([layer, layer])

    def test_wrong_inputs_name_the_layer(self) -> None:
        model = fm.Sequential([Masking(), LSTM(4, name="reader")])
        model.build((None, None, 4))
        with pytest.raises(ValueError, match="'reader' must have 4 features, not 3"):
            model(X[:, :, :3])


def test_weights_go_round() -> None:
    one, other = text_model(), text_model()
    expected = one(IDS)
    other.build((None, None))
    other.set_weights(one.get_weights())
    np.testing.assert_array_equal(other(IDS), expected)
    with pytest.raises(ValueError, match="must be 9 arrays, not 8"):
        other.set_weights(one.get_weights()[1:])
    wrong = one.get_weights()
    wrong[5] = wrong[5].T
    with pytest.raises(ValueError, match=r"weights\[5\] \(recurrent_kernel\).*\(5, 20\), not"):
        other.set_weights(wrong)
    np.testing.assert_array_equal(other(IDS), expected)


class TestPredict:
    @pytest.mark.parametrize("size", [1, 2, 3, 100])
    def test_in_batches(self, size: int) -> None:
        model = text_model()
        np.testing.assert_allclose(
            model.predict(IDS, batch_size=size, verbose=0), model(IDS), atol=1e-6
        )

    def test_masked(self) -> None:
        model = fm.Sequential([LSTM(4, return_sequences=True)])
        x = fm.Masked(X, IDS != 0)
        y = model.predict(x, batch_size=2, verbose=0)
        np.testing.assert_array_equal(y.mask.valid, IDS != 0)
        np.testing.assert_allclose(y.data, model(x).data, atol=1e-6)

    def test_several_outputs(self) -> None:
        model = fm.Sequential([Masking(), LSTM(4, return_sequences=True, return_state=True)])
        y, h, c = model.predict(X, batch_size=2, verbose=0)
        assert (y.shape, h.shape, c.shape) == ((3, 5, 4), (3, 4), (3, 4))
        np.testing.assert_array_equal(y.mask.valid, IDS != 0)

    def test_nothing_and_lists(self) -> None:
        model = text_model()
        assert model.predict(IDS[:0], verbose=0).shape == (0, 2)
        assert model.predict(IDS.tolist(), batch_size=2, verbose=0).shape == (3, 2)

    def test_refuses(self) -> None:
        with pytest.raises(ValueError, match="batch_size must be at least 1, not 0"):
            text_model().predict(IDS, batch_size=0)
        with pytest.raises(ValueError, match="x must be an array, but its rows differ"):
            text_model().predict([[1, 2], [1, [2]]])

    def test_progress(self, monkeypatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
        model = text_model()
        model.predict(IDS, batch_size=1)
        assert capsys.readouterr().err == ""
        monkeypatch.setitem(sys.modules, "tqdm", None)
        clock = iter(range(100))
        monkeypatch.setattr(_progress.time, "monotonic", lambda: 2.0 * next(clock))
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        model.predict(IDS, batch_size=1)
        assert "batch 1 of 3" in (shown := capsys.readouterr().err)
        assert shown.endswith("batch 3 of 3\n")
        model.predict(IDS, batch_size=1, verbose=0)
        assert capsys.readouterr().err == ""


def test_no_warning_on_the_usual_way() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text_model()(IDS)
