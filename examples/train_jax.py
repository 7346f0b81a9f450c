"""Train a classifier of broken signals in plain JAX, for those who use flax, equinox or neither.

The task: does a noisy sine oscillate slowly or fast? A third of its samples, at random positions,
are missing, and signals differ in length. Masks with holes are no special case for `fastmask.jax`:
missing samples are NaN here, and no gradient sees them. The functions take and return arrays, so
they work within jit, grad, scan (over the batches of an epoch), checkpoint (the first layer is
computed again for the backward pass) and vmap (over several models at once).

With `--cache FOLDER` the compiled programs are kept for the next process::

    python examples/train_jax.py --cache /tmp/programs
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fastmask.jax as fj

STEPS, UNITS, BATCH = 60, 16, 32
Weights = dict[str, Any]


def signals(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples (N, T, 1), which of them are valid (N, T), and 1 for fast signals (N,)."""
    rng = np.random.default_rng(seed)
    fast = rng.integers(0, 2, count)
    period = np.where(fast, rng.uniform(6, 10, count), rng.uniform(12, 20, count))
    phase = rng.uniform(0, 2 * np.pi, (count, 1))
    t = np.arange(STEPS)
    x = np.sin(2 * np.pi * t / period[:, None] + phase) + rng.normal(0, 0.3, (count, STEPS))
    valid = (rng.random((count, STEPS)) > 1 / 3) & (t < rng.integers(30, STEPS + 1, (count, 1)))
    x[~valid] = np.nan
    return x[:, :, None].astype("float32"), valid, fast.astype("float32")


def new_weights(key: Any) -> Weights:
    """Two layers, an LSTM and a GRU, and the weights that turn the last state into a number."""

    def layer(key: Any, features: int, gates: int, bias: tuple[int, ...]) -> Weights:
        one, other = jax.random.split(key)
        init = jax.nn.initializers.glorot_uniform()
        return {
            "kernel": init(one, (features, gates * UNITS)),
            "recurrent_kernel": init(other, (UNITS, gates * UNITS)),
            "bias": jnp.zeros(bias),
        }

    keys = jax.random.split(key, 3)
    return {
        "lstm": layer(keys[0], 1, 4, (4 * UNITS,)),
        "gru": layer(keys[1], UNITS, 3, (2, 3 * UNITS)),
        "dense": jax.random.normal(keys[2], (UNITS,)) / UNITS**0.5,
    }


def predict(weights: Weights, x: Any, valid: Any) -> Any:
    """The log-odds of being fast, (B,)."""
    # The mask goes from layer to layer: the GRU runs over the same steps.
    first = jax.checkpoint(lambda w: fj.lstm(x, **w, mask=valid)[0])
    h, _ = fj.gru(first(weights["lstm"]), **weights["gru"], mask=valid, return_sequences=False)
    return h @ weights["dense"]


def loss(weights: Weights, batch: tuple[Any, Any, Any]) -> Any:
    x, valid, fast = batch
    odds = predict(weights, x, valid)
    return jnp.mean(jnp.logaddexp(0, odds) - fast * odds)


@jax.jit
def epoch(state: tuple[Weights, Weights], batches: tuple[Any, Any, Any]) -> Any:
    """Gradient descent with momentum over all batches, which are along the first axis."""

    def step(state: tuple[Weights, Weights], batch: tuple[Any, Any, Any]) -> Any:
        weights, speed = state
        value, gradient = jax.value_and_grad(loss)(weights, batch)
        speed = jax.tree.map(lambda s, g: 0.9 * s + g, speed, gradient)
        return (jax.tree.map(lambda w, s: w - 0.1 * s, weights, speed), speed), value

    return jax.lax.scan(step, state, batches)


def train(seed: int, epochs: int, data: Sequence[np.ndarray]) -> tuple[Weights, float]:
    """The trained weights, and the last epoch's mean loss."""
    weights = new_weights(jax.random.key(seed))
    state = weights, jax.tree.map(jnp.zeros_like, weights)
    batches = tuple(array.reshape(-1, BATCH, *array.shape[1:]) for array in data)
    for number in range(epochs):
        start = time.perf_counter()
        state, losses = epoch(state, batches)
        mean = float(losses.mean())
        print(f"epoch {number}: loss {mean:.3f}, {time.perf_counter() - start:.2f} s")
    return state[0], mean


def main(arguments: Sequence[str] | None = None) -> float:
    """Train two models; returns the accuracy of their mean on new signals."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--signals", type=int, default=1024)
    parser.add_argument("--cache", help="a folder for compiled programs")
    options = parser.parse_args(arguments)
    if options.cache:
        jax.config.update("jax_compilation_cache_dir", options.cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    data = signals(options.signals, 0)
    models = [train(seed, options.epochs, data)[0] for seed in (1, 2)]
    x, valid, fast = signals(512, 1)
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    each = jax.jit(jax.vmap(partial(predict, x=x, valid=valid)))
    right = float(np.mean((np.asarray(each(together)).mean(0) > 0) == fast))
    print(f"two models together: {right:.1%} of the signals are classified correctly")
    return right


if __name__ == "__main__":
    main()
