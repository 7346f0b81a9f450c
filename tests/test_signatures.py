"""The signatures in help(), editors and the reference page match what can be passed."""

from __future__ import annotations

import importlib
import inspect
import json
import pydoc
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest

import fastmask as fm
from fastmask.layers._keras_arguments import LayerArguments

KERAS = json.loads((Path(__file__).parent / "data" / "keras_signatures.json").read_text())
MODULES = ("activations", "initializers", "layers", "losses", "metrics", "models", "ops")
# fastmask has no such arguments: their effect would be lost.
NOT_TAKEN = {"Bidirectional": {"weights"}}
Parameter = inspect.Parameter


def public_names() -> Iterator[tuple[str, Any]]:
    """All public functions and classes, and the public methods of these classes."""
    found = {name: getattr(fm, name) for name in fm.__all__}
    for module in map(importlib.import_module, (f"fastmask.{name}" for name in MODULES)):
        own = [
            n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__
        ]
        for name in getattr(module, "__all__", own):
            found[f"{module.__name__.removeprefix('fastmask.')}.{name}"] = getattr(module, name)
    for name, value in found.items():
        of_ours = inspect.isclass(value) or inspect.isfunction(value)
        if of_ours and not name.rpartition(".")[2].startswith("_"):
            yield name, value
        if inspect.isclass(value):
            for attribute, method in vars(value).items():
                method = getattr(method, "__func__", method)  # of a class method
                if inspect.isfunction(method) and not attribute.startswith("_"):
                    yield f"{name}.{attribute}", method


NAMES = dict(public_names())
OTHERS = (
    "**layer_args: 'Unpack[KerasArguments]'",
    "**unknown: 'NoReturn'",  # refused, with a hint
)


def parameters(value: Callable[..., Any]) -> list[Parameter]:
    return [
        p for p in inspect.signature(value).parameters.values() if p.name not in ("self", "cls")
    ]


def documented(value: Any) -> list[str] | None:
    """The names in the docstring's section Args."""
    section = re.search(r"(?ms)^Args:\n(.*?)(?:\n\n|\Z)", inspect.getdoc(value) or "")
    if section is None:
        return None
    names = re.findall(r"(?m)^    (\*{0,2}\w+): \S", section[1])
    if names[-1] == "**layer_args" and "name" not in names:  # documented once, in `Layer`
        names[-1:] = ["name", "dtype", "**layer_args"]
    return names


def test_there_are_names() -> None:
    assert len(NAMES) > 150
    assert {"layers.LSTM", "pad_sequences", "Mask.from_lengths", "Model.predict"} <= set(NAMES)


def test_arguments_are_named_and_annotated() -> None:
    for name, value in NAMES.items():
        open_ended = name.endswith(".call")  # a base class does not fix the arguments of subclasses
        for parameter in parameters(value):
            where = f"{name}({parameter})"
            assert parameter.kind is not Parameter.VAR_POSITIONAL or open_ended, where
            assert parameter.annotation is not Parameter.empty, where
            if parameter.kind is Parameter.VAR_KEYWORD and not open_ended:
                assert str(parameter) in OTHERS, where
        assert inspect.isclass(value) or "return" in value.__annotations__, name


def test_signatures_of_layers_and_of_their_calls_differ() -> None:
    layer = fm.layers.Dense(2)
    assert list(inspect.signature(type(layer)).parameters)[-3:] == ["name", "dtype", "layer_args"]
    assert next(iter(inspect.signature(layer).parameters)) == "inputs"


def test_all_is_documented() -> None:
    for name, value in NAMES.items():
        assert inspect.getdoc(value), name  # its own, or that of the method it overrides


def test_annotations_can_be_evaluated() -> None:
    for value in NAMES.values():
        get_type_hints(value.__init__ if inspect.isclass(value) else value)


def test_docstrings_tell_of_these_arguments() -> None:
    stars = {Parameter.VAR_KEYWORD: "**", Parameter.VAR_POSITIONAL: "*"}
    for name, value in NAMES.items():
        # Activations, and methods that override a documented one, have one line only.
        short = "." in name.removeprefix("layers.") and not name.startswith(("ops.", "losses."))
        names = documented(value)
        if names is not None or not short:
            expected = [stars.get(p.kind, "") + p.name for p in parameters(value)]
            assert (names or []) == expected, name


@pytest.mark.parametrize("name", KERAS)
def test_layer_has_arguments_of_keras_in_order(name: str) -> None:
    ours = {p.name: p for p in parameters(getattr(fm.layers, name))}
    theirs = dict(KERAS[name])
    by_position = [p.name for p in ours.values() if p.kind is Parameter.POSITIONAL_OR_KEYWORD]
    # Positional arguments mean the same as in Keras.
    assert by_position == list(theirs)[: len(by_position)]
    shared = [argument for argument in theirs if argument in ours]
    last = ("name", "dtype")
    assert [n for n in ours if n in theirs and n not in last] == [
        n for n in shared if n not in last
    ]
    taken = {*ours, *LayerArguments.__annotations__, *NOT_TAKEN.get(name, set())}
    assert not set(theirs) - taken
    for argument in shared:
        default = ours[argument].default
        known = "required" if default is Parameter.empty else default
        plain = list(known) if isinstance(known, tuple) else known
        assert str(plain).lower() == str(theirs[argument]).lower(), argument


@pytest.mark.parametrize("name", [n for n in KERAS if n not in ("Layer",)])
def test_name_and_dtype_arrive(name: str) -> None:
    cls = getattr(fm.layers, name)
    values = {"activation": "relu", "axes": 1, "cell": fm.layers.LSTMCell(2), "dims": (1,)}
    values |= {"cells": [fm.layers.GRUCell(2)], "layer": fm.layers.GRU(2), "function": abs}
    values |= {"target_shape": (1,)}
    required = {p.name: values.get(p.name, 1) for p in parameters(cls) if p.default is p.empty}
    required.pop("layer_args", None)
    if "rate" in required:
        required["rate"] = 0.5
    required |= {"CategoryEncoding": {"num_tokens": 2}, "Discretization": {"num_bins": 2}}.get(
        name, {}
    )
    layer = cls(**required, name="mine", dtype="float64", trainable=True)
    assert (layer.name, layer.dtype) == ("mine", "float64")
    assert cls(**required).dtype == "float32"


def test_a_call_without_arguments_tells_of_the_layer() -> None:
    for name in ("LSTM", "GRU", "SimpleRNN", "Dense", "RNN"):
        with pytest.raises(TypeError, match=rf"^{name}\.__init__\(\) missing .*'(units|cell)'"):
            getattr(fm.layers, name)()


@pytest.mark.optional
def test_stored_arguments_are_those_of_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras", "3.15")
    if not keras.__version__.startswith("3.15."):
        pytest.skip("the stored arguments are those of Keras 3.15")
    for name, arguments in KERAS.items():
        known = inspect.signature(getattr(keras.layers, name)).parameters.values()
        assert [argument for argument, _ in arguments] == [
            p.name for p in known if p.kind is Parameter.POSITIONAL_OR_KEYWORD
        ]


def test_what_is_missing_is_that_of_the_class() -> None:
    required = [fm.layers.SimpleRNNCell, fm.layers.GRUCell, fm.layers.LSTM, fm.layers.Embedding]
    for kind in required:
        with pytest.raises(TypeError, match=rf"^{kind.__name__}\.__init__\(\) missing"):
            kind()


@pytest.mark.parametrize("cls", [fm.Masked, fm.Ragged, type(fm.Input((3,)))])
def test_help_shows_what_is_refused_last(cls: type) -> None:
    shown = pydoc.plain(pydoc.render_doc(cls))
    own, inherited = shown.split("Methods inherited from")
    assert "__add__" not in own
    assert "__add__(self" in inherited
    assert "refuse" not in shown


def test_help_calls_further_arguments_of_layers_by_one_name() -> None:
    for name in fm.layers.__all__:
        assert "keras_args" not in pydoc.plain(pydoc.render_doc(getattr(fm.layers, name))), name


def test_help_of_ragged_tells_of_lengths() -> None:
    lengths = [2, 3, 5]
    assert "np.append(0, np.cumsum(lengths))" in (fm.Ragged.__doc__ or "")
    x = fm.Ragged(range(10), np.append(0, np.cumsum(lengths)))
    assert x.lengths.tolist() == lengths
