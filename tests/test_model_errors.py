"""Invalid functional models: errors that say what is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.layers import LSTM, Dense, Layer, Masking
from fastmask.layers._symbolic import Call, SymbolicTensor

from .graph_models import IDS, two_by_two

X = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)


class Sum(Layer):
    """Several inputs; the mask of the first."""

    def call(self, inputs: Any) -> Any:
        return inputs[0] + inputs[1]

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002 - Keras's form
        return None if mask is None else mask[0]


class TestRefuses:
    def test_what_is_not_symbolic(self) -> None:
        x = fm.Input((4,))
        with pytest.raises(TypeError, match=r"outputs of model 'm' must be symbolic.*not ndarray"):
            fm.Model(x, X, name="m")
        with pytest.raises(TypeError, match=r"inputs of model 'm' must be symbolic.*not Dense"):
            fm.Model(Dense(2), x, name="m")  # type: ignore[arg-type]  # on purpose
        with pytest.raises(ValueError, match="'m' must have outputs"):
            fm.Model(x, [], name="m")
        with pytest.raises(TypeError):
            fm.Model()

    def test_a_mask_of_shares_where_not_all_layers_make_their_own(self) -> None:
        x = fm.Input((None, 4))
        shares = np.full(IDS.shape, 0.5)
        assert fm.Model(x, Masking()(x))(X, mask=shares).shape == X.shape
        with pytest.raises(ValueError, match=r"where it is masked, not 0\.5"):
            fm.Model(x, [Masking()(x), LSTM(3)(x)])(X, mask=shares)

    def test_unconnected(self) -> None:
        a, b = fm.Input((4,), name="a"), fm.Input((4,), name="b")
        with pytest.raises(ValueError, match=r"output 1 \('sum'\) needs 'b', which is not among"):
            fm.Model(a, [Dense(2)(a), Sum(name="sum")([a, b])])
        with pytest.raises(ValueError, match=r"not connected: no output needs input 1 \('b'\)"):
            fm.Model([a, b], Dense(2)(a))

    def test_names(self) -> None:
        a = fm.Input((4,), name="a")
        with pytest.raises(ValueError, match="two layers of model 'm' have the same name, 'd'"):
            fm.Model(a, Dense(2, name="d")(Dense(2, name="d")(a)), name="m")
        with pytest.raises(ValueError, match="two inputs of model 'm' have the same name, 'a'"):
            fm.Model([a, fm.Input((4,), name="a")], a, name="m")
        with pytest.raises(ValueError, match=r"two inputs"):
            fm.Model([a, a], a)

    def test_numbers_and_shapes_of_inputs(self) -> None:
        model = two_by_two()
        with pytest.raises(ValueError, match=r"'two' takes a list of 2 inputs \('title', 'body'\)"):
            model(IDS)
        with pytest.raises(ValueError, match="not 3"):
            model([IDS, IDS, IDS])
        with pytest.raises(ValueError, match=r"'body' of model 'two' must have shape \(None, None"):
            model([IDS, X])
        x = fm.Input((5, 4), name="x")
        with pytest.raises(ValueError, match=r"'x' .* must have shape \(None, 5, 4\), not \(3, 4"):
            fm.Model(x, Dense(2)(x))(X[:, 1:])
        with pytest.raises(ValueError, match="takes a list of 2 inputs"):
            model(fm.Input((None,)))

    def test_circles(self) -> None:
        one, two = fm.Sequential(name="one"), fm.Sequential(name="two")
        with pytest.raises(ValueError, match="'one' cannot be put into 'one'"):
            one.add(one)
        one.add(two)
        with pytest.raises(ValueError, match="'one' cannot be put into 'two', which would contain"):
            two.add(one)
        x = fm.Input((4,))
        two.add(fm.layers.Identity())
        model = fm.Model(x, two(x), name="m")
        with pytest.raises(ValueError, match="'m' cannot be put into 'two'"):
            two.add(model)
        tensor = SymbolicTensor((None, 4), "float32", "loop")
        tensor.call = Call(Dense(4, name="d"), [tensor, x], {}, [tensor])
        with pytest.raises(ValueError, match="has a cycle through layer 'd'"):
            fm.Model(x, tensor)

    def test_mask_of_another_shape(self) -> None:
        class Wrong(Layer):
            def call(self, inputs: Any) -> Any:
                return inputs

            def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002 - Keras's form
                return None if mask is None else np.asarray(mask)[:, 1:]

        for use in (
            lambda: Wrong(name="w")(fm.Masked(X, IDS != 0)),
            lambda: Wrong(name="w")(Masking()(fm.Input((None, 4)))),
        ):
            with pytest.raises(
                ValueError, match=r"compute_mask of layer 'w' must .* mask has shape"
            ):
                use()

    def test_another_number_of_outputs_than_it_said(self) -> None:
        class Moody(Layer):
            many = True

            def call(self, inputs: Any) -> Any:
                return [inputs, inputs] if self.many else inputs

        x = fm.Input((4,))
        layer = Moody(name="moody")
        model = fm.Model(x, layer(x))
        layer.many = False
        with pytest.raises(ValueError, match="'moody' must return 2 outputs, as when"):
            model(X[:, 0])
