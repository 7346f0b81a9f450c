"""fastmask.jax in JAX's transformations, against the same layers written with jax.lax.scan."""

from __future__ import annotations

import doctest
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.optional
jax = pytest.importorskip("jax", reason="jax is not installed")

import jax.numpy as jnp  # noqa: E402 - needs jax

import fastmask as fm  # noqa: E402 - after the check
import fastmask.jax as fj  # noqa: E402 - needs jax
from fastmask.jax import _calls, _functions  # noqa: E402 - needs jax

FEATURES, UNITS = 3, 5
GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def problem(name: str, batch: int = 4, time: int = 7) -> tuple[dict[str, Any], Any]:
    """Arguments of a function of fastmask.jax, by name, and a mask with holes."""
    rng = np.random.default_rng(0)
    columns = GATES[name] * UNITS
    shapes = {
        "x": (batch, time, FEATURES),
        "kernel": (FEATURES, columns),
        "recurrent_kernel": (UNITS, columns),
        "bias": (2, columns) if name == "gru" else (columns,),
    }
    made = {key: rng.normal(0, 0.5, shape).astype("float32") for key, shape in shapes.items()}
    return made, rng.random((batch, time)) < 0.6


def scanned(
    x: Any, kernel: Any, recurrent_kernel: Any, bias: Any, *, mask: Any, name: str
) -> tuple[Any, Any]:
    """Output, zeros at masked steps, and last h."""

    def step(states: Any, now: Any) -> Any:
        inputs, valid = now
        new = cells[name](inputs, *states, kernel, recurrent_kernel, bias)
        kept = [jnp.where(valid[:, None], a, b) for a, b in zip(new, states, strict=True)]
        return kept, jnp.where(valid[:, None], new[0], 0)

    cells = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}
    zeros = jnp.zeros((len(x), UNITS), x.dtype)
    first = [zeros] * (2 if name == "lstm" else 1)
    states, out = jax.lax.scan(step, first, (jnp.swapaxes(x, 0, 1), jnp.asarray(mask).T))
    return jnp.swapaxes(out, 0, 1), states[0]


def _lstm(x: Any, h: Any, c: Any, kernel: Any, recurrent: Any, bias: Any) -> list[Any]:
    i, f, g, o = jnp.split(x @ kernel + h @ recurrent + bias, 4, axis=1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return [jax.nn.sigmoid(o) * jnp.tanh(c), c]


def _gru(x: Any, h: Any, kernel: Any, recurrent: Any, bias: Any) -> list[Any]:
    z, r, n = jnp.split(x @ kernel + bias[0], 3, axis=1)
    hz, hr, hn = jnp.split(h @ recurrent + bias[1], 3, axis=1)
    z = jax.nn.sigmoid(z + hz)
    return [z * h + (1 - z) * jnp.tanh(n + jax.nn.sigmoid(r + hr) * hn)]


def _rnn(x: Any, h: Any, kernel: Any, recurrent: Any, bias: Any) -> list[Any]:
    return [jnp.tanh(x @ kernel + h @ recurrent + bias)]


def loss_by(function: Any, **options: Any) -> Any:
    """A loss as a function of the arguments, to which all outputs and last states contribute."""

    def loss(arguments: dict[str, Any]) -> Any:
        out, last = function(**arguments, **options)
        h = last[0] if isinstance(last, tuple) else last
        return (out * jnp.cos(jnp.arange(out.size)).reshape(out.shape)).sum() + (h**2).sum()

    return loss


def assert_close(found: Any, expected: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 0, 1e-5), found, expected)


@pytest.mark.parametrize("way", ["ffi", "callback"])
def test_gradients(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_calls, "WHY_NO_FFI", "" if way == "ffi" else "not here")
    for name in GATES:
        arguments, mask = problem(name)
        ours = loss_by(getattr(fj, name), mask=mask, zero_output_for_mask=True)
        theirs = loss_by(scanned, mask=mask, name=name)
        assert_close(
            jax.jit(jax.value_and_grad(ours))(arguments),
            jax.jit(jax.value_and_grad(theirs))(arguments),
        )
        assert_close(jax.value_and_grad(ours)(arguments), jax.value_and_grad(theirs)(arguments))


def test_backward_twice() -> None:
    """What forward saved may be overwritten only if it is not read again."""
    for name in ("lstm", "gru"):
        arguments, mask = problem(name)
        ours = loss_by(getattr(fj, name), mask=mask)
        _, pull = jax.vjp(ours, arguments)
        twice = jax.jit(lambda pull=pull: (pull(1.0), pull(2.0)))()
        for found, factor in ((pull(1.0), 1), (pull(1.0), 1), (twice[0], 1), (twice[1], 2)):
            expected = jax.tree.map(lambda g, factor=factor: factor * g, jax.grad(ours)(arguments))
            assert_close(found, (expected,))


def test_completion_shows_what_it_exports() -> None:
    assert {name for name in dir(fj) if not name.startswith("_")} == set(fj.__all__)
    assert "jax" in dir(fm)


def test_the_interface_is_known() -> None:
    assert _calls.WHY_NO_FFI == ""


def test_transformations() -> None:
    arguments, mask = problem("lstm")
    ours = loss_by(fj.lstm, mask=mask, zero_output_for_mask=True)
    theirs = loss_by(scanned, mask=mask, name="lstm")
    expected = jax.grad(theirs)(arguments)
    assert_close(jax.jit(jax.grad(jax.checkpoint(ours)))(arguments), expected)

    xs = jnp.stack([arguments["x"], 2 * arguments["x"], -arguments["x"]])

    def each(loss: Any) -> Any:
        return jax.vmap(jax.grad(lambda x: loss({**arguments, "x": x})))

    assert_close(jax.jit(each(ours))(xs), each(theirs)(xs))

    def total(loss: Any) -> Any:
        def body(sum_so_far: Any, x: Any) -> Any:
            return sum_so_far + loss({**arguments, "x": x}), None

        return jax.grad(lambda xs: jax.lax.scan(body, 0.0, xs)[0])

    assert_close(jax.jit(total(ours))(xs), total(theirs)(xs))


def test_as_ops() -> None:
    """Options, states and last outputs, against fastmask.ops."""
    for name in GATES:
        arguments, mask = problem(name)
        mask[0], mask[1, -1] = False, False
        rng = np.random.default_rng(1)
        states = [rng.normal(0, 1, (4, UNITS)).astype("float32")] * (1 + (name == "lstm"))
        for options in (
            {"return_sequences": False},
            {"return_sequences": False, "go_backwards": True, "zero_output_for_mask": True},
            {"initial_state": states, "go_backwards": True},
            {"activation": "relu", "initial_state": states},
        ):
            for valid in (mask, mask.astype("int32"), None):
                found = getattr(fj, name)(**arguments, mask=valid, **options)
                assert_close(found, getattr(fm.ops, name)(**arguments, mask=valid, **options))
    arguments, mask = problem("gru")
    arguments["bias"] = arguments["bias"][0]
    found = fj.gru(**arguments, mask=mask, reset_after=False)
    assert_close(found, fm.ops.gru(**arguments, mask=mask, reset_after=False))
    del arguments["bias"]
    assert_close(fj.gru(**arguments), fm.ops.gru(**arguments))
    for x in (arguments["x"][:0], arguments["x"][:, :0]):
        out, (h,) = jax.jit(fj.gru)(**{**arguments, "x": x})
        assert out.shape == (*x.shape[:2], UNITS)
        np.testing.assert_array_equal(h, np.zeros((len(x), UNITS)))


def test_errors_come_before_the_call() -> None:
    arguments, mask = problem("lstm")
    wrong: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ValueError, r"mask must have shape \(4, 7\), not \(7, 4\)", {"mask": mask.T}),
        (ValueError, r"kernel must have shape \(3, 20\)", {"kernel": arguments["kernel"][:2]}),
        (ValueError, r"bias must have shape \(20,\), not \(5,\)", {"bias": np.ones(5, "f4")}),
        (ValueError, "recurrent_kernel must have two axes", {"recurrent_kernel": np.ones(5)}),
        (ValueError, r"x must have shape \(batch, time", {"x": arguments["x"][0]}),
        (TypeError, "x must be float32 or float64, not int32", {"x": np.ones((4, 7, 3), "i4")}),
        (TypeError, "kernel must be float32 as x", {"kernel": jnp.ones((3, 20), jnp.bfloat16)}),
        (ValueError, "initial_state must have 2 arrays", {"initial_state": np.ones((4, 5))}),
        (ValueError, "activation must be one of", {"activation": "softplus"}),
    ]
    for error, message, given in wrong:
        with pytest.raises(error, match=message):
            jax.jit(lambda given=given: fj.lstm(**{**arguments, **given}))()


_PROGRAM = """
import sys, jax, jax.numpy as jnp, numpy as np, fastmask as fm, fastmask.jax
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name))
names = sys.argv[2:]
rng = np.random.default_rng(0)
for name in names:
    columns = 5 * {"lstm": 4, "rnn": 1}[name]
    arrays = [rng.normal(0, 1, s).astype("f4") for s in ((2, 6, 3), (3, columns), (5, columns))]
    found = jax.jit(lambda *arrays: getattr(fastmask.jax, name)(*arrays)[0])(*arrays)
    np.testing.assert_allclose(found, getattr(fm.ops, name)(*arrays)[0], 0, 1e-5)
print(sum("cache_hits" in name for name in hits))
"""


def test_compilation_cache_of_another_process(tmp_path: Path) -> None:
    """A program from the cache computes the same, whatever its process did before."""
    hits = []
    for names in (("lstm", "rnn"), ("rnn", "lstm")):
        command = [sys.executable, "-c", _PROGRAM, str(tmp_path), *names]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env={**os.environ}
        )
        hits.append(int(done.stdout))
    assert hits[0] == 0
    assert hits[1] >= 1


def test_example_of_training() -> None:
    path = Path(__file__).parents[1] / "examples" / "train_jax.py"
    example = runpy.run_path(str(path), run_name="example")
    data = example["signals"](64, 0)
    _, before = example["train"](1, 1, data)
    weights, after = example["train"](1, 4, data)
    assert after < before
    x, valid, _ = data
    found = example["predict"](weights, x, valid)
    np.testing.assert_array_equal(found, example["predict"](weights, np.nan_to_num(x), valid))
    assert 0 <= example["main"](["--epochs", "1", "--signals", "32"]) <= 1


def test_examples() -> None:
    failed, attempted = doctest.testmod(_functions)
    assert attempted
    assert not failed
