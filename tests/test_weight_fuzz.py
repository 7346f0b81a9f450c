"""Whatever is done to a weight file, `load_weights` says what is wrong or reads weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

from .weight_fuzz import SAVED, check, mutate, originals


def test_mutated(tmp_path: Path) -> None:
    random = Random(0)
    files = originals(tmp_path)
    for name in SAVED.glob("sharded_*"):
        shutil.copy(name, tmp_path)
    for kind, content in files.items():
        assert check(kind, content, tmp_path)
        read = sum(check(kind, mutate(random, kind, content), tmp_path) for _ in range(30))
        assert read < 26, kind
