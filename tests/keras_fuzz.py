"""Keras files, damaged in many ways: `load_model` says what is wrong, or reads a model.

content, ending = mutate(random, originals()[0])
check(content, ending, folder)
"""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import fastmask as fm

from .file_fuzz import bounded, mutate_bytes, mutate_members, mutate_tree, put_together, taken_apart

MODELS = Path(__file__).parent / "data" / "models"
MOST_SECONDS = 20.0  # on a busy machine
_TEXTS = "LSTM GRU Embedding Dense Bidirectional Lambda TFSMLayer Sequential Functional".split()
_TEXTS += "InputLayer Masking StackedRNNCells RepeatVector __numpy__ __lambda__ __slice__".split()
_TEXTS += "keras_history int8 float64 string tanh relu /etc/passwd ../../x function Add".split()
_NUMBERS = [0, 1, -1, 2, 3, 40, 2**31, 2**63, 10**30, 10**9, 0.5, float("nan"), float("inf")]
_OTHERS = [None, True, False, "", [], {}, "\ud800", [None, None], [[None, 3], 2], {"class_name": 3}]


class File(NamedTuple):
    content: bytes
    ending: str


def originals() -> list[File]:
    """Small models of all kinds."""
    paths = [*MODELS.glob("*.keras"), *MODELS.glob("*.h5")]
    return [
        File(path.read_bytes(), path.suffix)
        for path in sorted(paths)
        if not path.name.endswith(".weights.h5")
    ]


def mutate(random: Random, file: File) -> File:
    """The file with one to three changes: in its bytes, its members or its description."""
    content = file.content
    kinds = (mutate_bytes, _config, _config, _config)
    if file.ending == ".keras":
        kinds = (*kinds, mutate_members, _inner)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        change = random.choice(kinds)
        try:
            content = change(random, content)
        except Exception:  # too damaged to be parsed again
            content = mutate_bytes(random, content)
    return File(content, file.ending)


def check(file: File, folder: Path) -> bool:
    """Whether a file was read, in bounded time and memory."""
    path = folder / f"mutated{file.ending}"
    path.write_bytes(file.content)
    began = time.monotonic()
    with bounded(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about lost masks
        read = _is_read(path)
    assert time.monotonic() - began < MOST_SECONDS
    return read


def _is_read(path: Path) -> bool:
    try:
        fm.load_model(path)
    except ValueError as error:
        message = str(error)
        assert message.startswith(f"{path} is not a model that can be read: "), message
        assert len(message) < 5000
        return False
    return True


def _inner(random: Random, content: bytes) -> bytes:
    """Change bytes of the weights, in an intact archive."""
    members = taken_apart(content)
    return put_together(
        [
            (name, mutate_bytes(random, data) if name.endswith(".h5") else data)
            for name, data in members
        ]
    )


def _config(random: Random, content: bytes) -> bytes:
    """The description with another value at one place."""
    if content.startswith(b"PK"):
        members = taken_apart(content)
        changed = json.dumps(_changed(random, json.loads(dict(members)["config.json"]))).encode()
        return put_together([(n, changed if n == "config.json" else d) for n, d in members])
    begin = content.index(b'{"class_name"')
    config, length = json.JSONDecoder().raw_decode(content[begin:].decode("latin1"))
    changed = json.dumps(_changed(random, config), separators=(",", ":")).encode()
    if len(changed) > length:  # which does not fit there
        return mutate_bytes(random, content)
    return content[:begin] + changed.ljust(length) + content[begin + length :]


def _changed(random: Random, config: Any) -> Any:
    """The tree with another value at one place, one that Keras files may have elsewhere."""
    if random.random() < 0.5:
        return mutate_tree(random, config)
    places = [(config, key) for key in config]
    for parent, key in places:  # which grows
        value = parent[key]
        if isinstance(value, dict):
            places += [(value, one) for one in value]
        elif isinstance(value, list):
            places += [(value, one) for one in range(len(value))]
    parent, key = random.choice(places)
    parent[key] = random.choice(random.choice((_TEXTS, _NUMBERS, _OTHERS)))
    return config
