"""Runs the golden cases through Keras.

    python tests/data/make_keras_golden.py            # writes keras_golden.npz beside this file
    python tests/data/make_keras_golden.py --check    # compares with that file instead

Needs Keras and a backend, and of this project only `tests/golden.py`, which lists the cases.
The file is written on TensorFlow, whose rolled loop is the reference. `KERAS_BACKEND=torch` checks
it on PyTorch, which agrees; JAX does not if masked steps come first and a state is given.
Unrolled loops are not checked: some backends cannot unroll under a mask.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[2]))

import keras
import numpy as np
from tests import golden

# Backends and processors sum in different orders; the largest difference seen is 1e-6.
TOLERANCE = 2e-6


def make_layer(case: golden.Case) -> Any:
    """The Keras layer of a case, with the case's weights."""
    options: dict[str, Any] = {
        "return_sequences": case.return_sequences,
        "return_state": case.return_state,
        "go_backwards": case.go_backwards,
        "unroll": case.unroll,
        "zero_output_for_mask": case.zero_output_for_mask,
        "stateful": case.stateful,
    }
    if case.layer == "stack":
        cells = zip(case.kinds, case.units, strict=True)
        layer = keras.layers.RNN(
            [getattr(keras.layers, f"{kind}Cell")(units) for kind, units in cells], **options
        )
    else:
        options |= {"activation": case.activation, "use_bias": case.use_bias}
        if case.kind != "SimpleRNN":
            options["recurrent_activation"] = case.recurrent_activation
        if case.kind == "GRU":
            options["reset_after"] = case.reset_after
        layer = getattr(keras.layers, case.kind)(*case.units, **options)
    if case.layer == "bidirectional":
        layer = keras.layers.Bidirectional(layer, merge_mode=case.merge_mode)
    layer.build((golden.B if case.stateful else None, golden.T, golden.F))
    layer.set_weights(case.weights)
    return layer


def compute(case: golden.Case) -> list[golden.FloatArray]:
    """What Keras returns for a case: a flat list of arrays, call after call."""
    layer = make_layer(case)
    options: dict[str, Any] = {}
    if case.mask is not None:
        options["mask"] = keras.ops.convert_to_tensor(case.mask)
    if case.states is not None:
        options["initial_state"] = [keras.ops.convert_to_tensor(s) for s in case.states]
    arrays: list[golden.FloatArray] = []
    for _ in range(case.calls):
        result = layer(case.x, **options)
        tensors = result if isinstance(result, (list, tuple)) else [result]
        arrays += [np.asarray(keras.ops.convert_to_numpy(tensor)) for tensor in tensors]
    return arrays


def make(path: Path) -> None:
    """Compute every case and write the file."""
    outputs: dict[str, list[golden.FloatArray]] = {}
    errors: dict[str, str] = {}
    for case in golden.all_cases():
        try:
            outputs[case.key] = compute(case)
        except Exception as error:  # whatever Keras raises is the result of this case
            errors[case.key] = f"{type(error).__name__}: {error}"
    golden.write(path, outputs, errors)
    print(f"{path.name}: {len(outputs)} cases, {len(errors)} errors, {path.stat().st_size} bytes")


def check() -> int:
    """Compare the rolled cases with the file. Returns the number of those that differ."""
    checked = golden.cases(lambda case: not case.unroll)
    worst, failures = 0.0, 0
    for case in checked:
        got = compute(case)
        difference = max(float(np.abs(a - b).max()) for a, b in zip(got, case.outputs, strict=True))
        worst = max(worst, difference)
        if not difference <= TOLERANCE:
            failures += 1
            print(f"{case}: differs by {difference:.1e}")
    print(
        f"Keras {keras.version()} on {keras.backend.backend()}: {len(checked)} cases compared, "
        f"{failures} differ, largest difference {worst:.1e}"
    )
    return failures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    if parser.parse_args().check:
        sys.exit(check() > 0)
    make(golden.PATH)
