"""Saved models, damaged in many ways, for tests that `load_model` survives them.

    content = mutate(random, one of originals(folder))
    check(content, folder)  # a ValueError that says why, or a model that can be saved again

`random` is a `random.Random`, so that a seed repeats a run.
"""

from __future__ import annotations

import io
import json
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import fastmask as fm
from fastmask import layers

MOST_MEMORY = 64 * 2**20  # bytes for files that are as small as these
Members = list[tuple[str, bytes]]


def originals(folder: Path) -> list[bytes]:
    """Files of models with all kinds of configurations."""
    L = layers
    plain = fm.Sequential([L.Masking(), L.LSTM(3, dropout=0.1, seed=3), L.Dense(2, "softmax")])
    plain.build((None, None, 2))
    deep = fm.Sequential(
        [
            L.Normalization(mean=[1.0, 2.0], variance=[1.0, 4.0]),
            L.Bidirectional(L.GRU(2, return_sequences=True), "sum"),
            L.RNN([L.SimpleRNNCell(2), L.LSTMCell(3)], return_sequences=True),
            fm.Sequential([L.TimeDistributed(L.Dense(2)), L.BatchNormalization()]),
            L.LayerNormalization(),
            L.ZeroPadding1D(1),
            L.Permute((2, 1)),
        ]
    )
    deep(np.ones((2, 4, 2), np.float32))
    ids, x = fm.Input((None,), "int32"), fm.Input((None, 2))
    words = L.Embedding(5, 2, mask_zero=True, embeddings_initializer=initializer())(ids)
    read, h, c = L.LSTM(2, return_state=True)(L.Concatenate()([words, x]))
    graph = fm.Model([ids, x], [L.LSTM(2)(x, initial_state=[h, c]), L.Add()([read, h])])
    return [_saved(one, folder) for one in (plain, deep, graph, of_texts())]


def of_texts() -> Any:
    """A model with vocabularies, categories, convolution and attention."""
    L = layers
    texts, numbers = fm.Input((), "string"), fm.Input((2,))
    tokens = L.TextVectorization(9, ngrams=(1, 2), vocabulary=["a", "b", "a b"])
    counts = L.TextVectorization(output_mode="tf_idf", vocabulary=["a"], idf_weights=[2.0])
    words = L.Embedding(9, 4)(tokens(texts))
    windows = L.MaxPooling1D(2, padding="same")(L.Conv1D(4, 2, padding="causal", groups=2)(words))
    seen = L.MultiHeadAttention(2, 3, use_gate=True, sliding_window=4)(L.Masking()(words), windows)
    found = L.AdditiveAttention()([seen, L.Attention(True, "concat")([windows, words])])
    groups = L.Discretization([0.0, 1.0], output_mode="count")(numbers)
    strings = L.StringLookup(num_oov_indices=2, salt=[1, 2], vocabulary=["x"], mask_token="")
    flat = L.GlobalAveragePooling1D()(found)
    return fm.Model([texts, numbers], [flat, groups, counts(texts), strings(texts)])


def initializer() -> Any:
    return fm.initializers.RandomUniform(-1.0, 1.0, seed=1)


def _saved(model: Any, folder: Path) -> bytes:
    path = folder / "original.npz"
    fm.save_model(model, path)
    return path.read_bytes()


def check(content: bytes, folder: Path) -> bool:
    """Whether a file was read; if so, check that writing and reading it again changes nothing."""
    path = folder / "mutated.npz"
    path.write_bytes(content)
    with bounded():
        model = _loaded(path)
    if model is None:
        return False
    fm.save_model(model, path)
    again = fm.load_model(path)
    assert str(again.get_config()) == str(model.get_config())  # NaN differs from itself
    for one, other in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    return True


@contextmanager
def bounded() -> Iterator[None]:
    """Check that the block takes little memory and emits no warnings."""
    tracing = tracemalloc.is_tracing()
    tracemalloc.start()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield
        assert not warned, [str(one.message) for one in warned]
        assert tracemalloc.get_traced_memory()[1] - before < MOST_MEMORY
    finally:
        if not tracing:
            tracemalloc.stop()


def _loaded(path: Path) -> Any:
    try:
        return fm.load_model(path)
    except ValueError as error:
        message = str(error)
        assert message.startswith(f"{path} is not a model that can be read: "), message
        assert len(message) < 2000
        return None


def mutate(random: Random, content: bytes) -> bytes:
    """The file with one to three changes: in its bytes, its members, arrays or description."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        change: Callable[[Random, bytes], bytes]
        change = random.choice(
            (mutate_bytes, _fields, mutate_members, _headers, _config, _config, _config)
        )
        try:
            content = change(random, content)
        except Exception:  # too damaged to be parsed again
            content = mutate_bytes(random, content)
    return content


def mutate_bytes(random: Random, content: bytes) -> bytes:
    """Flip bits, or cut out, repeat, overwrite or insert a part."""
    a, b = sorted(random.randrange(len(content) + 1) for _ in range(2))
    if random.random() < 0.5:
        b = min(a + random.randrange(1, 9), len(content))
    part = content[a:b]
    noise = random.randbytes(min(len(part), 64))
    new = random.choice((b"", part * 2, noise, bytes(len(part)), b"\xff" * len(part)))
    if random.random() < 0.2:
        return content[:a]
    if random.random() < 0.3 and content:
        flipped = bytearray(content)
        for _ in range(random.randrange(1, 4)):
            position = random.randrange(8 * len(content))
            flipped[position // 8] ^= 1 << position % 8
        return bytes(flipped)
    return content[:a] + new + content[b:]


def _fields(random: Random, content: bytes) -> bytes:
    """Change a number in the zip's own structures, usually to an extreme one."""
    signature = random.choice((b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\5\6", b"\x93NUMPY"))
    places = [i for i in range(len(content)) if content.startswith(signature, i)]
    if not places:
        return mutate_bytes(random, content)
    at = random.choice(places) + random.randrange(4, 46)
    size = random.choice((1, 2, 4, 8))
    value = random.choice(
        (0, 1, 2**31, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), random.getrandbits(64))
    )
    return content[:at] + (value % 2 ** (8 * size)).to_bytes(size, "little") + content[at + size :]


def taken_apart(content: bytes) -> Members:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def put_together(members: Members, method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about duplicate names
        with zipfile.ZipFile(stream, "w", method) as archive:
            for name, content in members:
                archive.writestr(name, content)
    return stream.getvalue()


def mutate_members(random: Random, content: bytes) -> bytes:
    """Remove, rename, repeat, swap or compress members, or lengthen the archive."""
    members = taken_apart(content)
    method = zipfile.ZIP_STORED
    i, j = (random.randrange(len(members)) for _ in range(2))
    (name, data), (other, more) = members[i], members[j]
    kind = random.randrange(8)
    if kind == 0:
        del members[i]
    elif kind == 1:
        strange = (
            "",
            "w0.npy",
            "w99.npy",
            "../w0.npy",
            "config.npy",
            "w0.npy\0",
            "é.npy",
            "a" * 9999,
        )
        members[i] = random.choice(strange), data
    elif kind == 2:
        members.insert(j, (name, more))
    elif kind == 3:
        members[i], members[j] = (name, more), (other, data)
    elif kind == 4:
        method = random.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    elif kind == 5:
        method = zipfile.ZIP_DEFLATED
        members[i] = name, data + bytes(random.choice((1, 2**20)))
    elif kind == 6:
        return random.randbytes(random.randrange(1, 99)) + content
    else:
        return put_together([*members, ("w9.npy", data)]) + random.randbytes(random.randrange(3))
    return put_together(members, method)


_SHAPES = "() (3 (-3,) (2,12) (10**18,) (99999999999999999999,) 3 (3.0,) (1e99,) (True,)".split()
_SHAPES += ["(None,)", "((3,),)", "(3L,)", "[3]", "(0, 0)", "(3,)" * 99, "({},)", "(" * 3000]
_DTYPES = "'<f4' '>f4' '|O' '<f8' '<M8[D]' [('a','<f4')] '<U9999999' 'f4' '|V8' '' '(' None".split()
_DTYPES += ["b'<f4'", "'a9'", "'\\d'", "'<f4", "(" * 200, "'\u20ac'", "__import__('os')"]


def _headers(random: Random, content: bytes) -> bytes:
    """Give a member a header that contradicts its data or cannot be read."""
    members = taken_apart(content)
    i = random.randrange(len(members))
    name, data = members[i]
    length = 10 + int.from_bytes(data[8:10], "little")
    fortran = random.choice(("False", "True", "0", "None", "[", "False, " * 99))
    text = f"{{'descr': {random.choice(_DTYPES)}, 'fortran_order': {fortran}, "
    text += f"'shape': {random.choice(_SHAPES)}, }}"
    kind = random.randrange(4)
    header = text.encode("utf-8" if kind else "utf-16")
    if kind == 1:
        header = mutate_bytes(random, data[10:length])
    version = random.choice((b"\1\0", b"\1\0", b"\1\0", b"\2\0", b"\3\0", b"\xff\0"))
    said = len(header) if random.random() < 0.9 else random.getrandbits(16)
    size = said.to_bytes(4 if version[0] in (2, 3) else 2, "little")
    members[i] = name, data[:6] + version + size + header + b"\n" + data[length:]
    return put_together(members)


def _config(random: Random, content: bytes) -> bytes:
    """Replace, remove, repeat or move a part of the description."""
    members = taken_apart(content)
    found = dict(members)["config.npy"]
    config = json.loads(found[10 + int.from_bytes(found[8:10], "little") :])
    text = json.dumps(mutate_tree(random, config))
    if random.random() < 0.1:
        text = mutate_bytes(random, text.encode()).decode("latin1")
    if random.random() < 0.05:
        text = text.replace('"name"', '"name": "a", "name"')
    stream = io.BytesIO()
    np.save(stream, np.frombuffer(text.encode(), np.uint8))
    return put_together([(n, stream.getvalue() if n == "config.npy" else d) for n, d in members])


def mutate_tree(random: Random, config: Any) -> Any:
    """The tree with another value at one place."""
    places = list(_places(config))
    parent, key = random.choice(places)
    other_parent, other_key = random.choice(places)
    kind = random.randrange(6)
    if kind == 0:
        del parent[key]
    elif kind == 1:
        parent[key] = json.loads(json.dumps(other_parent[other_key]))
    elif kind == 2 and isinstance(parent, list):
        parent.insert(key, parent[key])
    elif kind == 3 and isinstance(parent, dict):
        parent[random.choice((*_NAMES, ""))] = parent.pop(key)
    else:
        parent[key] = _value(random)
    return config


def _places(tree: Any) -> Any:
    items = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    for key, value in items:
        yield tree, key
        yield from _places(value)


_NAMES = [*layers.__all__, *"Sequential Functional weights input_shape trainable class".split()]
_NAMES += "config build_shape value mask data".split()
_WORDS = "tanh relu float64 float16 uniform concat object <U9".split()
_NUMBERS = [0, 1, -1, 2, 3, 7, 2**31, 2**63, 2**64, 10**30, 10**400, -(10**18), 10**9]
_OTHERS = [None, True, False, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", "\ud800", "\0"]
_OTHERS += ["a" * 9999]


def _value(random: Random) -> Any:
    """An unexpected value."""
    deep: Any = []
    for _ in range(random.choice((1, 50, 900))):
        deep = [deep] if random.random() < 0.9 else {"class": deep}
    return random.choice(
        (
            random.choice(_NUMBERS),
            random.choice(_OTHERS),
            random.choice(_NAMES),
            random.choice(_WORDS),
            [random.choice(_NUMBERS) for _ in range(random.randrange(5))],
            {random.choice(_NAMES): random.choice(_NUMBERS)},
            deep,
        )
    )
