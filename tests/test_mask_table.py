"""The guide's table of what each layer does with a mask is complete and true."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import fastmask as fm
from fastmask import layers as L
from fastmask.layers._infer import infer
from fastmask.layers._symbolic import SymbolicTensor

from . import layer_zoo
from .built_layers import built

GUIDE = Path(__file__).parent.parent / "docs" / "guide.md"
INSIDE = {"Layer", "LSTMCell", "GRUCell", "SimpleRNNCell", "StackedRNNCells"}  # of other layers
OTHERS = {
    "RMSNormalization": L.RMSNormalization(),
    "StringLookup": L.StringLookup(vocabulary=["a"]),
    "IntegerLookup": L.IntegerLookup(vocabulary=[1]),
    "TextVectorization": L.TextVectorization(split=None, vocabulary=["a"]),
    "Discretization": L.Discretization([0.0]),
    "CategoryEncoding": L.CategoryEncoding(2, "one_hot"),
    "Embedding": L.Embedding(3, 2, mask_zero=True),
}


def rows() -> dict[str, set[str]]:
    """The layers in each row."""
    _, _, text = GUIDE.read_text("utf-8").partition("### What each layer does with a mask")
    table = text.partition("|---|---|")[2].partition("\n\n")[0]
    listed = re.findall(r"(?m)^\| ([a-z, ]+) \| (.*) \|$", table)
    return {word: set(re.findall(r"`([A-Z][A-Za-z0-9]+)`", names)) for word, names in listed}


def effects() -> dict[str, set[str]]:
    """What each layer does in all its cases, if all inputs have a mask."""
    found: dict[str, set[str]] = {}

    def see(layer: L.Layer, *shapes: tuple[int, ...]) -> None:
        inputs = [SymbolicTensor((None, *shape[1:]), "float32", "x", 2) for shape in shapes]
        effect = infer(layer, inputs if len(inputs) > 1 else inputs[0], {}).effect
        found.setdefault(type(layer).__name__, set()).add(effect)

    for name, case in layer_zoo.CASES.items():
        see(built(name), *case.shapes)
    for layer in OTHERS.values():
        see(layer, (2, 3))
    x = L.Masking()(fm.Input((None, 4)))
    heads = L.MultiHeadAttention(2, 2)
    found["MultiHeadAttention"] = {infer(heads, x, {"value": x}).effect}
    return found


def test_table() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = effects()
    assert set(found) == set(L.__all__) - INSIDE
    words = {word for each in found.values() for word in each}
    expected = {word: {name for name, each in found.items() if word in each} for word in words}
    assert rows() == expected
