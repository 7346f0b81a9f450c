"""Whatever is done to a saved model, `load_model` says what is wrong or reads a right model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest

import fastmask as fm

from .file_fuzz import MOST_MEMORY, check, mutate, originals
from .saved_model import members_of, npy, write


@pytest.mark.parametrize(
    ("seed", "count"), [(0, 250), *(pytest.param(n, 750, marks=pytest.mark.slow) for n in range(3))]
)
def test_mutated(seed: int, count: int, tmp_path: Path) -> None:
    random = Random(seed)
    files = originals(tmp_path)
    read = sum(check(mutate(random, random.choice(files)), tmp_path) for _ in range(count))
    assert count / 40 < read < count / 2  # both happen


def test_unchanged(tmp_path: Path) -> None:
    assert all(check(content, tmp_path) for content in originals(tmp_path))


def described(kind: str, config: object, build_shape: object = (None, 3)) -> dict[str, object]:
    return {"class": kind, "config": config, "build_shape": build_shape}


def empty_lists() -> str:
    return '{"format": "fastmask", "version": 1, "model": [' + "[]," * 5_000_000 + "[]]}"


def many_layers() -> str:
    layers = [described("Masking", {"name": f"m{i}"}) for i in range(50_000)]
    model = described("Sequential", {"layers": layers}, None)
    return json.dumps({"format": "fastmask", "version": 1, "model": model})


def many_dtypes() -> str:
    one = {"name": "x", "shape": [3], "dtype": "f4," * 3_000_000}
    graph = {"layers": [], "inputs": [one], "steps": [], "outputs": {"value": 0}}
    model = described("Functional", graph, None)
    return json.dumps({"format": "fastmask", "version": 1, "model": model})


@pytest.mark.parametrize("shape", [[[]], [[2]], [[None, 2], [3]]])
def test_an_input_has_one_shape(shape: list[object], tmp_path: Path) -> None:
    one = {"name": "x", "shape": shape, "dtype": "float32"}
    graph = {"name": "graph", "layers": [], "inputs": [one], "steps": [], "outputs": {"value": 0}}
    model = described("Functional", graph, None)
    text = json.dumps({"format": "fastmask", "version": 1, "model": model})
    path = tmp_path / "a.npz"
    write(path, {"config.npy": npy(np.frombuffer(text.encode(), np.uint8))})
    with pytest.raises(ValueError, match="shape of input 'x' must be a list of sizes, not"):
        fm.load_model(path)


@pytest.mark.slow
@pytest.mark.parametrize("make", [empty_lists, many_layers, many_dtypes])
def test_long_descriptions_end_soon(make: Callable[[], str], tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write(path, {"config.npy": npy(np.frombuffer(make().encode(), np.uint8))})
    with pytest.raises(ValueError, match="is not a model that can be read") as caught:
        fm.load_model(path)
    assert len(str(caught.value)) < 2000


def test_the_fuzzer_sees_memory_that_the_file_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = originals(tmp_path)
    kept = []
    monkeypatch.setattr(fm, "load_model", lambda _: kept.append(bytes(MOST_MEMORY)))
    with pytest.raises(AssertionError):
        check(files[0], tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (12,), ",  # tokenize.TokenError
        "{'descr': '\\d', 'fortran_order': False, 'shape': (12,), }",  # SyntaxWarning
        "{'descr': '<f4', 'fortran_order': False, 'shape': (12L,), }",  # UserWarning
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 5000 + ",), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (12,), }",
        "{'descr': '<f4', 'fortran_order': True, 'shape': (12,), }",
        "[" * 9000,
        "\xff\xfe",
        "",
    ],
)
def test_headers(text: str, tmp_path: Path) -> None:
    model = fm.Sequential([fm.layers.LSTM(3)])
    model.build((None, None, 2))
    path = tmp_path / "a.npz"
    fm.save_model(model, path)
    members = members_of(path)
    line = (text + "\n").encode("latin1")
    start = b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little")
    assert members["w2.npy"][:8] == start[:8]
    members["w2.npy"] = start + line + members["w2.npy"][128:]
    write(path, members)
    with pytest.raises(ValueError, match=r"w2 (does not begin|must have)"):
        fm.load_model(path)


def test_an_encrypted_member(tmp_path: Path) -> None:
    content = bytearray(originals(tmp_path)[0])
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    assert not check(bytes(content), tmp_path)
