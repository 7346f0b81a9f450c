"""What the errors and warnings of fastmask.torch tell somebody to write instead."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import fastmask as fm

pytestmark = pytest.mark.optional
torch = pytest.importorskip("torch", reason="torch is not installed")

import fastmask.torch as ft

LENGTHS = r"\(the second argument is hx; a mask is given as mask=\): lengths .*from_lengths"
KINDS = (list, tuple, np.array, torch.tensor)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_lengths_in_place_of_states(name: str, kind: Any) -> None:
    module = getattr(ft, name)(3, 5)
    other_order = r"\(lengths, 4\) for an input \(batch, time, features\), batch_first=True$"
    for lengths, hint in (
        ([6, 3, 2, 1], LENGTHS + r"\(lengths, 6\)$"),
        ([4, 3, 2, 1, 1, 1], LENGTHS + other_order),
        ([2, 1, 1], "a mask is given as mask=\\)$"),
        ([2, 1], "a mask is given as mask=\\)$"),  # as many as an LSTM has states
    ):
        with pytest.raises((TypeError, ValueError), match=f"^hx must .*{hint}"):
            module(torch.ones(6, 4, 3), kind(lengths))


@pytest.mark.parametrize("kind", KINDS)
def test_lengths_with_an_input_that_has_them(kind: Any) -> None:
    rows = [torch.ones(2, 3), torch.ones(1, 3)]
    packed = torch.nn.utils.rnn.pack_sequence(rows)
    jagged = torch.nested.nested_tensor(rows, layout=torch.jagged)
    for input in (packed, jagged):
        with pytest.raises((TypeError, ValueError), match="packed and jagged input has its len"):
            ft.LSTM(3, 5)(input, kind([2, 1]))


def test_states_are_no_lengths() -> None:
    states = [torch.ones(1, 4, 5, requires_grad=True)] * 3
    with pytest.raises(ValueError, match=r"pair of tensors \(h, c\), not 3 of them$"):
        ft.LSTM(3, 5)(torch.ones(6, 4, 3), states)
    for states in ([], [True] * 4):
        with pytest.raises(TypeError, match=r"hx must be a tensor, not list$"):
            ft.GRU(3, 5)(torch.ones(6, 4, 3), states)


def test_rows_become_a_jagged_tensor_as_the_error_says() -> None:
    x = fm.ragged([np.ones((2, 3)), np.ones((1, 3))])
    gru = ft.GRU(3, 5, dtype=torch.float64)
    with pytest.raises(TypeError, match=r"Ragged: torch.nested.nested_tensor\(list\(input\), la"):
        gru(x)
    output, _ = gru(torch.nested.nested_tensor(list(x), layout=torch.jagged))
    assert [len(row) for row in output.unbind()] == [2, 1]
    rows = [torch.ones(2, 3, requires_grad=True), torch.ones(1, 3)]
    for given in (rows, tuple(rows)):
        with pytest.raises(TypeError, match=r"torch.nested.as_nested_tensor\(rows, layout="):
            gru(given)
    assert torch.nested.as_nested_tensor(rows, layout=torch.jagged).requires_grad
    with pytest.raises(TypeError, match=r"give torch.as_tensor\(input.data\), and mask=input.mask"):
        gru(fm.Masked(np.ones((2, 4, 3)), np.ones((2, 4))))


@pytest.mark.parametrize("name", ["num_layers", "dropout"])
def test_a_cell_has_one_layer_without_dropout(name: str) -> None:
    message = f"Recurrent.* '{name}': Recurrent is one layer without dropout: stack modules"
    with pytest.raises(TypeError, match=message):
        ft.Recurrent(fm.cells.gru, 3, 5, **{name: 2})
    with pytest.raises(TypeError, match="did you mean 'batch_first'"):
        ft.Recurrent(fm.cells.gru, 3, 5, batchfirst=True)  # type: ignore[arg-type]  # on purpose


def test_a_cell_with_units() -> None:
    message = r"cell must be gru itself, not <gru '.*'> with units \(hidden_size\)$"
    with pytest.raises(TypeError, match=message):
        ft.Recurrent(fm.cells.gru(4), 3, 5)  # type: ignore[arg-type]  # on purpose


def test_programs_of_jit_cannot_be_converted() -> None:
    model = torch.nn.Sequential(torch.nn.GRU(3, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions deprecate torch.jit
        script = torch.jit.script(torch.nn.RNN(3, 5))
        traced = torch.jit.trace(model, torch.ones(2, 3))
    for program in (torch.nn.Sequential(script), traced):
        with pytest.warns(UserWarning, match="module '0' stays as it is: .* torch.jit") as told:
            ft.convert(program)
        assert len(told) == 1


def test_nothing_to_convert() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 3))
    with pytest.warns(UserWarning, match="Sequential has no torch.nn.LSTM, GRU or RNN: nothing to"):
        assert ft.convert(model) is model
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for module in (torch.nn.GRU(3, 5), ft.Recurrent(fm.cells.gru, 3, 5)):
            for _ in range(2):
                ft.convert(torch.nn.Sequential(module))
