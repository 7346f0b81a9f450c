"""Keras's own tests of recurrent layers pass with ours; see keras_suite.py."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.optional
def test_keras_own_tests_pass() -> None:
    if not all(map(importlib.util.find_spec, ("keras", "torch"))):
        pytest.skip("needs the extras keras and torch")
    keras = importlib.util.find_spec("keras")
    assert keras is not None
    assert keras.origin is not None
    if not (Path(keras.origin).parent / "src" / "layers" / "rnn" / "rnn_test.py").exists():
        pytest.skip("this Keras comes without its tests")
    file = Path(__file__).with_name("keras_suite.py")
    # A process of its own, because it changes Keras's modules.
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-W",
            "ignore",
            "-p",
            "no:cacheprovider",
            "-o",
            "addopts=",
            str(file),
        ],
        env=os.environ | {"KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
        cwd=file.parents[1],
    )
    assert run.returncode == 0, run.stdout + run.stderr
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed is not None
    assert int(passed[1]) >= 120
