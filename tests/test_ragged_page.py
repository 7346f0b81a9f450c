"""The page on ragged batches: its code runs, and its table is complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fastmask import layers as L

from .test_guide import run_examples

PAGE = Path(__file__).parent.parent / "docs" / "ragged.md"
INSIDE = {"Layer", "LSTMCell", "GRUCell", "SimpleRNNCell", "StackedRNNCells"}  # of other layers


@pytest.mark.slow
def test_examples() -> None:
    assert run_examples("ragged") > 10


def test_every_layer_is_in_the_table() -> None:
    _, _, text = PAGE.read_text("utf-8").partition("## What each layer does with it")
    table = text.partition("|---|---|")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([A-Z][A-Za-z0-9]+)`", table)) == set(L.__all__) - INSIDE
