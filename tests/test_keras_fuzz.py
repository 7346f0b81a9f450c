"""Whatever is done to a Keras file, `load_model` says what is wrong, or reads a model."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from .keras_fuzz import check, mutate, originals


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_mutated(seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    files = originals()
    read = sum(check(mutate(random, random.choice(files)), tmp_path) for _ in range(300))
    assert 30 < read < 200  # both happen


def test_mutated_a_little(tmp_path: Path) -> None:
    random = Random(9)
    files = [one for one in originals() if len(one.content) < 25_000]
    for _ in range(40):
        check(mutate(random, random.choice(files)), tmp_path)
