"""The golden data: complete, well formed, and still equal to what Keras computes."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from . import golden, golden_archive


def test_every_case_is_stored_or_excluded() -> None:
    keys = [case.key for case in golden.all_cases()]
    assert len(set(keys)) == len(keys) == 1472
    assert {case.key for case in golden.cases()} == set(keys) - set(golden.excluded())
    assert len(golden.excluded()) == 0


def test_outputs_have_the_shapes_that_the_options_say() -> None:
    for case in golden.cases():
        units = case.units[-1] * (2 if case.merge_mode == "concat" else 1)
        output = (golden.B, golden.T, units) if case.return_sequences else (golden.B, units)
        outputs = [output] * (2 if case.layer == "bidirectional" and not case.merge_mode else 1)
        directions = 2 if case.layer == "bidirectional" else 1
        states = directions * sum(2 if kind == "LSTM" else 1 for kind in case.kinds)
        outputs += [(golden.B, case.units[-1])] * (states if case.return_state else 0)
        assert [a.shape for a in case.outputs] == outputs * case.calls, case.key
        assert all(a.dtype == np.float32 for a in case.outputs), case.key


def test_archives_go_round(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    one, other = (random.normal(size=shape).astype(np.float32) for shape in ((2, 3, 4), (7,)))
    arrays = {"a": one, "b": other, "same": one.copy(), "reshaped": one.reshape(4, 6)}
    path = tmp_path / "archive.npz"
    golden_archive.write(path, arrays, note=np.array(["extra"]))
    found = golden_archive.read(path)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
    with np.load(path) as file:
        assert file["values"].size == one.size + other.size
        assert file["note"].tolist() == ["extra"]


def test_unroll_changes_the_outputs_of_the_cases_that_are_not_canonical_and_of_no_other() -> None:
    rolled = {case.key: case for case in golden.cases() if not case.unroll}
    for case in golden.cases(lambda case: case.unroll):
        twin = rolled[case.key.replace("|un1|", "|un0|")]
        pairs = zip(case.outputs, twin.outputs, strict=True)
        assert all(np.allclose(a, b, rtol=0, atol=2e-6) for a, b in pairs) == case.canonical


@pytest.mark.optional
def test_keras_still_computes_them() -> None:
    if not all(map(importlib.util.find_spec, ("keras", "torch"))):
        pytest.skip("needs the extras keras and torch")
    script = golden.PATH.with_name("make_keras_golden.py")
    # In a process of its own, because Keras chooses its backend once, at import.
    check = subprocess.run(
        [sys.executable, str(script), "--check"],
        env=os.environ | {"KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stdout + check.stderr
