"""Files of weights, written without the programs that usually do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

DTYPES: dict[str, Any] = {
    "F64": lambda x: x.astype("<f8").tobytes(),
    "F32": lambda x: x.astype("<f4").tobytes(),
    "F16": lambda x: x.astype("<f2").tobytes(),
    "BF16": lambda x: (x.astype("<f4").reshape(-1).view(np.uint32) >> 16).astype("<u2").tobytes(),
    "I64": lambda x: x.astype("<i8").tobytes(),
}


def safetensors(path: Path, state: Mapping[str, Any], dtype: str = "F32") -> None:
    """Write arrays as floats of `dtype`, and integers as I64."""
    header, data = {}, b""
    for name, value in state.items():
        array = np.asarray(value)
        kind = dtype if array.dtype.kind == "f" else "I64"
        content = DTYPES[kind](array)
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": offsets}
        data += content
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
