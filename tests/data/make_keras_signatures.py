"""Write keras_signatures.json: the arguments of the Keras layers that fastmask has, too.

KERAS_BACKEND=torch python tests/data/make_keras_signatures.py
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import keras

import fastmask as fm

FILE = Path(__file__).with_name("keras_signatures.json")


def arguments(cls: type) -> list[list[object]]:
    """Name and default of each argument; "required" if it has no default."""
    return [
        [p.name, "required" if p.default is p.empty else p.default]
        for p in inspect.signature(cls).parameters.values()
        if p.kind is p.POSITIONAL_OR_KEYWORD
    ]


def main() -> None:
    names = [name for name in fm.layers.__all__ if hasattr(keras.layers, name)]
    layers = {name: arguments(getattr(keras.layers, name)) for name in names}
    rows = [f"  {json.dumps(name)}: {json.dumps(layers[name])}" for name in sorted(layers)]
    FILE.write_text("{\n" + ",\n".join(rows) + "\n}\n")
    print(f"{len(layers)} layers of Keras {keras.__version__}")


if __name__ == "__main__":
    main()
