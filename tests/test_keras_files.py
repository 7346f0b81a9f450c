"""Models in files of Keras: the same outputs, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import fastmask as fm

MODELS = Path(__file__).parent / "data" / "models"
# What is not exact there: Keras rounds to bfloat16, and quantises activations too.
TOLERANCES = {"mixed_bfloat16": 3e-2, "int8": 3e-2}


class Scale(fm.layers.Layer):
    supports_masking = True

    def __init__(self, by: float, **options: Any) -> None:
        super().__init__(**options)
        self.by = by

    def call(self, inputs: Any) -> Any:
        return inputs * np.float32(self.by)


def outputs_of(model: Any, x: Any) -> list[Any]:
    found = model.predict(x, verbose=0)
    each = found if isinstance(found, (list, tuple)) else [found]
    return [one.data if isinstance(one, fm.Masked) else one for one in each]


def test_outputs_are_those_of_keras() -> None:
    files = [*MODELS.glob("*.keras"), *MODELS.glob("*.h5")]
    files = [path for path in files if not path.name.endswith(".weights.h5")]
    for path in files:
        name = path.stem
        with np.load(MODELS / f"{name}.io.npz") as stored:
            inputs = [stored[key] for key in sorted(stored) if key.startswith("x")]
            expected = [stored[key] for key in sorted(stored) if key.startswith("y")]
        model = fm.load_model(path, custom_objects={"mine>Scale": Scale})
        found = outputs_of(model, inputs if len(inputs) > 1 else inputs[0])
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(
                one, other, rtol=0, atol=TOLERANCES.get(name, 1e-6), err_msg=path.name
            )
    assert len(files) >= 16
