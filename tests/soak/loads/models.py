"""Whole models: in batches, and from files."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import fastmask as fm

from ..cases import flag, forward, recurrent, scaled
from ..problem import Array, Problem, Random, load
from .layers import layer_of, weights_of

L = fm.layers
VOCABULARY = 40


def _model(random: Random) -> tuple[Any, Array, Problem]:
    """Embedding, two recurrent layers, Dense: the model, ids, and the expected results."""
    features = int(random.integers(1, 20))
    one = recurrent(random, features=features, reverse=False, dtype="float32")
    other = recurrent(
        random,
        batch=one.batch,
        time=one.time,
        features=one.units,
        units=int(random.integers(1, 20)),
        reverse=False,
        dtype="float32",
    )
    for case in (one, other):
        case.states = [np.zeros_like(state) for state in case.states]
    other.valid = one.valid
    table = random.standard_normal((VOCABULARY, one.features)).astype(np.float32)
    dense = random.standard_normal((other.units, 3)).astype(np.float32)
    ids = np.where(one.valid, random.integers(1, VOCABULARY, one.valid.shape), 0)
    layers = [
        L.Embedding(VOCABULARY, features, mask_zero=True),
        layer_of(one, return_sequences=True),
        layer_of(other, return_sequences=False),
        L.Dense(3, use_bias=False),
    ]
    model = fm.Sequential(layers)
    model.build((None, None))
    model.set_weights([table, *weights_of(one), *weights_of(other), dense])

    def run(inputs: list[Array]) -> list[Array]:
        looked_up, kernel = inputs
        between = forward(one.with_inputs([looked_up[ids], kernel, *one.inputs[2:]]))[0]
        last = forward(other.with_inputs([between, *other.inputs[1:]]))[0][:, -1]
        return [last @ dense.astype(np.float64)]

    expected, tolerances = scaled(run, [table, one.weights[0]], "float32", one.seed)
    return model, ids, Problem(lambda: [model(ids)], expected, tolerances)


@load
def models(random: Random) -> Problem:
    """By a call, and by `predict` in batches of any size."""
    model, ids, problem = _model(random)
    size = int(random.integers(1, 50))
    if flag(random) and len(ids):
        problem.compute = lambda: [model.predict(ids, batch_size=size, verbose=0)]
    return problem


@load
def saved_models(random: Random) -> Problem:
    """Written to a file and read again."""
    model, ids, problem = _model(random)

    def compute() -> Sequence[Any]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.npz"
            fm.save_model(model, path)
            return [fm.load_model(path)(ids)]

    problem.compute = compute
    return problem
