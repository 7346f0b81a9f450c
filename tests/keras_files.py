"""Files of Keras's models, with changed descriptions, and a check that a file is refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmask as fm

MODELS = Path(__file__).parent / "data" / "models"


class Scale(fm.layers.Layer):
    supports_masking = True

    def __init__(self, by: float, **options: Any) -> None:
        super().__init__(**options)
        self.by = by

    def call(self, inputs: Any) -> Any:
        return inputs * np.float32(self.by)


class Written:
    """Writes changed Keras files to a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def archive(self, name: str, change: Callable[[Any], object]) -> Path:
        """A `.keras` file with a changed description."""
        path = self.folder / f"{name}.keras"
        with (
            zipfile.ZipFile(MODELS / f"{name}.keras") as old,
            zipfile.ZipFile(path, "w") as new,
        ):
            for member in old.namelist():
                content = old.read(member)
                if member == "config.json":
                    config = json.loads(content)
                    change(config)
                    content = json.dumps(config).encode()
                new.writestr(member, content)
        return path


def refused(path: Path, *parts: str, **options: Any) -> None:
    with pytest.raises(ValueError, match="is not a model that can be read") as caught:
        fm.load_model(path, **options)
    for part in parts:
        assert part in str(caught.value), (part, str(caught.value))
