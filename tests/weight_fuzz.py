"""Weight files, damaged in many ways, for tests that `load_weights` survives them.

    kind, content = original = random.choice(originals(folder))
    check(kind, mutate(random, kind, content), folder)  # a ValueError that says why, or weights

`random` is a `random.Random`, so that a seed repeats a run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import fastmask as fm
from fastmask import layers as L
from fastmask.loaders.description import describe

from .file_fuzz import bounded, mutate_bytes, mutate_members, mutate_tree, put_together, taken_apart
from .weight_files import field, node, onnx, tensor, varint

SAVED = Path(__file__).parent / "data" / "models"
KINDS = {
    ".safetensors": "torch_lstm.safetensors",
    ".pt": "torch_lstm.pt",
    ".weights.h5": "weights_only.weights.h5",
    ".weights.json": "sharded.weights.json",
    ".h5": "masking_stack.h5",
    ".keras": "masking_stack.keras",
}


def originals(folder: Path) -> dict[str, bytes]:
    """A file of each kind, by its suffix."""
    files = {kind: (SAVED / name).read_bytes() for kind, name in KINDS.items()}
    random = np.random.default_rng(1)
    shapes = {"E": (40, 8), "W": (1, 20, 8), "r": (20, 5), "B": (1, 40), "D": (5, 3)}
    arrays = {name: random.normal(size=shape) for name, shape in shapes.items()}
    chain = [
        node("Slice", "r", "first", starts=[0], ends=[15], axes=[0]),
        node("Slice", "r", "rest", starts=[15], ends=[20]),
        node("Concat", "first rest", "all", axis=0),
        node("Unsqueeze", "all", "R", axes=[0]),
        node("Gather", "E ids", "words"),
        node("Transpose", "words", "steps", perm=[1, 0, 2]),
        node("LSTM", "steps W R B", "each last", hidden_size=5, direction="forward"),
        node("Constant", "", "d", value=tensor("", np.ones(3))),
        node("Gemm", "last D d", "y", alpha=1.0, transB=0),
    ]
    onnx(folder / "a", chain, [tensor(name, value) for name, value in arrays.items()])
    np.savez(folder / "a.npz", *reader("npz").get_weights())
    names = (".onnx", folder / "a"), (".npz", folder / "a.npz")
    return files | {kind: path.read_bytes() for kind, path in names}


def reader(kind: str) -> Any:
    """A model that the original file of a kind fits."""
    if kind in (".h5", ".keras"):
        return fm.load_model(SAVED / KINDS[kind])
    if kind in (".safetensors", ".pt"):
        layers = [L.Bidirectional(L.LSTM(7, return_sequences=True)) for _ in range(2)]
        model, shape = fm.Sequential(layers), (None, None, 6)
    else:
        words = L.Embedding(40, 8, mask_zero=True)
        middle = [] if kind == ".onnx" else [L.Bidirectional(L.GRU(6, return_sequences=True))]
        last = [L.Dense(3)] if kind == ".onnx" else []
        model = fm.Sequential([words, *middle, L.LSTM(5), *last])
        shape = (None, None)
    model.build(shape)
    return model


MODELS: dict[str, Any] = {}


def check(kind: str, content: bytes, folder: Path) -> bool:
    """`attempt`, with a cached model, in little memory and without warnings."""
    model = MODELS.setdefault(kind, reader(kind))
    with bounded():
        return attempt(model, kind, content, folder)


def attempt(model: Any, kind: str, content: bytes, folder: Path) -> bool:
    """Whether a file was read; if not, check that no weight has changed."""
    path = folder / f"mutated{kind}"
    path.write_bytes(content)
    before = model.get_weights()
    read = _loaded(model, path)
    _described(path)
    for one, other in zip(model.weights, before, strict=True):
        assert read or np.array_equal(one, other, equal_nan=True)
    return read


def _loaded(model: Any, path: Path) -> bool:
    try:
        model.load_weights(path)
    except ValueError as error:
        message = str(error)
        fits = f"the weights in {path} do not fit model"
        assert message.startswith((f"{path} has no weights that can be read: ", fits)), message
        assert len(message) < 20_000
        return False
    except FileNotFoundError:
        assert path.name.endswith((".weights.json", ".onnx"))  # which refer to other files
        return False
    return True


def _described(path: Path) -> None:
    said = f"{path} is not a file that can be read: "
    try:
        describe(path)
    except ValueError as error:
        said = str(error)
    except FileNotFoundError:
        pass
    assert said.startswith(f"{path} is not a file that can be read: "), said


def mutate(random: Random, kind: str, content: bytes) -> bytes:
    """The file with one to three changes, in its bytes or in its structure."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        change = random.choice((mutate_bytes, _CHANGES[kind], _CHANGES[kind]))
        try:
            content = change(random, content)
        except Exception:  # too damaged to be parsed again
            content = mutate_bytes(random, content)
    return content


def _json(random: Random, content: bytes) -> bytes:
    return json.dumps(mutate_tree(random, json.loads(content))).encode()


def _safetensors(random: Random, content: bytes) -> bytes:
    """Change the header; its length stays right as a rule."""
    length = int.from_bytes(content[:8], "little")
    text = _json(random, content[8 : 8 + length])
    said = len(text) if random.random() < 0.9 else random.getrandbits(64)
    return said.to_bytes(8, "little") + text + content[8 + length :]


def _state_dict(random: Random, content: bytes) -> bytes:
    """Change members, or the pickle with a right checksum."""
    if random.random() < 0.3:
        return mutate_members(random, content)
    members = taken_apart(content)
    place = 0 if random.random() < 0.9 else random.randrange(len(members))
    name, data = members[place]
    members[place] = name, (_pickle if place == 0 else mutate_bytes)(random, data)
    return put_together(members)


_PIECES = (
    *(b")R", b"0", b"2", b"(", b"t", b"u", b"s", b"b", b"Q", b"\x81", b"\x85", b"\x86", b"\x94"),
    *(b"r\xff\xff\xff\xff", b"j\xff\xff\xff\xff", b"cos\nsystem\n", b"cbuiltins\neval\n"),
    *(b"\x8a\xff" + b"\xff" * 255, b"X\xff\xff\xff\x7f", b"K\xff", b"N", b"\x88", b"]", b"}", b"."),
    *(b"(" * 5000, b"\x85" * 5000, b"ccollections\nOrderedDict\n", b"ctorch\nLongStorage\n"),
)


def _pickle(random: Random, data: bytes) -> bytes:
    """Insert or replace instructions."""
    start = random.randrange(len(data))
    return data[:start] + random.choice(_PIECES) + data[start + random.randrange(6) :]


def _protobuf(random: Random, content: bytes) -> bytes:
    """Insert a number or a field somewhere, or change a length."""
    start = random.randrange(len(content))
    huge = varint(random.choice((0, 1, 127, 2**31, 2**62, 2**64 - 1)))
    more = field(random.choice((1, 2, 5, 7, 9, 13, 14)), random.choice((0, 1, 2**62, "x", b"\xff")))
    piece = random.choice((huge, more, b"\xff" * 11, random.randbytes(3)))
    return content[:start] + piece + content[start + random.randrange(len(piece) + 1) :]


_CHANGES: Mapping[str, Any] = {
    ".safetensors": _safetensors,
    ".pt": _state_dict,
    ".onnx": _protobuf,
    ".npz": mutate_members,
    ".weights.json": _json,
    ".weights.h5": mutate_bytes,
    ".h5": mutate_bytes,
    ".keras": mutate_members,
}
