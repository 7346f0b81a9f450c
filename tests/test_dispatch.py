"""The choice of the backend, and the form in which kernels get their arrays."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask import cli
from fastmask.backends import table as _table
from fastmask.backends.dispatch import integer_array, number_array, real_array
from fastmask.backends.table import use_kernels
from fastmask_kernels import JitDisabledError


@pytest.fixture
def _column_restored() -> Iterator[None]:
    before = _table._table
    yield
    _table._table = before


@pytest.mark.usefixtures("_column_restored")
def test_columns_agree_and_share_no_packed_weights() -> None:
    random = np.random.default_rng(0)
    x = fm.Masked(random.normal(size=(4, 7, 3)).astype(np.float32), random.random((4, 7)) < 0.6)
    layer = fm.layers.LSTM(5, return_sequences=True)
    results = []
    for name in ("reference", "cpu", "reference"):
        assert use_kernels(name).__name__ == f"fastmask_kernels.{name}"
        results.append(layer(x).data)
    np.testing.assert_allclose(results[1], results[0], atol=1e-6)
    np.testing.assert_array_equal(results[2], results[0])


@pytest.mark.usefixtures("_column_restored")
def test_unknown_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTMASK_KERNELS", "abacus")
    monkeypatch.setattr(_table, "_table", None)
    with pytest.raises(ValueError, match="FASTMASK_KERNELS must be one of cpu, reference, not"):
        _table.kernels()


WITHOUT_JIT = """
import sys
import numpy as np
import fastmask as fm
from fastmask import cli
random = np.random.default_rng(0)
x = random.normal(size=(4, 7, 3))
valid = random.random((4, 7)) < 0.6
gru = fm.layers.GRU(3, return_sequences=True, dtype="float64")
model = fm.Sequential([fm.layers.Bidirectional(gru)])
model.build((None, None, 3))
model.set_weights([random.normal(size=w.shape) for w in model.get_weights()])
np.save(sys.argv[1], model(fm.Masked(x, valid)).data)
cli.main(["info"])
"""


@pytest.mark.timeout(400)
def test_without_a_compiler_the_reference_computes(tmp_path: Path) -> None:
    shown = {}
    for disabled in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", WITHOUT_JIT, str(tmp_path / f"{disabled}.npy")],
            env={**os.environ, "NUMBA_DISABLE_JIT": disabled},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        shown[disabled] = done.stdout
    a, b = (np.load(tmp_path / f"{disabled}.npy") for disabled in ("0", "1"))
    np.testing.assert_allclose(b, a, atol=1e-12)
    assert re.search(r"kernels +cpu", shown["0"])
    assert re.search(r"kernels +reference", shown["1"])
    assert "NUMBA_DISABLE_JIT is set" in shown["1"]


AS_CHOSEN = """
import os
os.environ["FASTMASK_KERNELS"] = "cpu"
import fastmask as fm
fm.layers.LSTM(2)([[[1.0]]])
"""
TOO_LATE = """
import numba
import numpy as np
numba.config.DISABLE_JIT = 0
from fastmask_kernels import cpu
numba.config.DISABLE_JIT = 1
cpu.mask_not_equal(np.ones((1, 1), bool), np.ones((1, 1)), 0)
"""


@pytest.mark.timeout(400)
def test_without_a_compiler_its_kernels_say_why() -> None:
    for code in ("import fastmask_kernels.cpu.rnn.cells", AS_CHOSEN, TOO_LATE):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 1
        assert "FASTMASK_KERNELS=reference" in done.stderr.splitlines()[-1]


@pytest.mark.usefixtures("_column_restored")
@pytest.mark.parametrize("given", ["abacus", "cpu"])
def test_info_says_what_is_wrong(
    given: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: str) -> None:
        raise JitDisabledError

    monkeypatch.setenv("FASTMASK_KERNELS", given)
    monkeypatch.setattr(_table, "_table", None)
    if given == "cpu":
        monkeypatch.setattr(_table, "import_module", refuse)
    assert cli.main(["info"]) == 0
    assert re.search(r"kernels +none: .*(abacus|NUMBA_DISABLE_JIT)", capsys.readouterr().out)


def is_ready(array: np.ndarray[Any, Any]) -> bool:
    return array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative


X = np.arange(12.0).reshape(3, 4)
LAYOUTS = {
    "plain": X,
    "fortran": np.asfortranarray(X),
    "strided": np.repeat(X, 2, axis=1)[:, ::2],
    "reversed": X[::-1].copy()[::-1],
    "big-endian": X.astype(">f8"),
    "unaligned": np.frombuffer(b"\0" + X.tobytes(), offset=1).reshape(X.shape),
    "broadcast": np.broadcast_to(X[0], (3, 4)),
    "matrix": X.view(type("Sub", (np.ndarray,), {})),
    "list": X.tolist(),
    "empty": X[:0],
}


@pytest.mark.parametrize("given", LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(given: Any) -> None:
    for ready in (
        real_array(given, "x"),
        real_array(given, "x", np.dtype(np.float32)),
        number_array(given, "x"),
        integer_array(given, "x"),
    ):
        assert is_ready(ready)
        assert type(ready) is np.ndarray
        np.testing.assert_array_equal(ready, np.asarray(given))


def test_what_fits_is_not_copied() -> None:
    for dtype in (np.float32, np.float64):
        x = X.astype(dtype)
        x.flags.writeable = False
        assert real_array(x, "x") is x
        assert np.shares_memory(number_array(x, "x"), x)
    ids = np.arange(3)
    assert integer_array(ids, "x") is ids


@pytest.mark.parametrize(
    "given",
    [X * 1j, np.array([None]), np.array(["a"]), np.array([b"a"]), np.array(["2020"], "M8[D]")],
)
def test_refuses_what_holds_no_numbers(given: Any) -> None:
    for convert in (real_array, number_array, integer_array):
        with pytest.raises(TypeError, match=r"y must hold .*, not dtype"):
            convert(given, "y")
