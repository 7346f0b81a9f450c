"""Files of rows: read a batch at a time, and written with one more column.

A module for each format has `batches(path, rows)`, an iterator, and `Writer(file)`, a context
manager with `write(batch, more)`. The extension of a file gives its format.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .._checks import alternatives

FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "json_lines",
    ".ndjson": "json_lines",
    ".csv": "comma_separated",
    ".npz": "arrays",
    ".txt": "text_lines",
}

_ARRAY = (
    "; for an array, write a .npz file with a name for its column: numpy.savez('rows.npz', x=array)"
)


def format_of(path: Path) -> Any:
    """The module for a file.

    Raises:
        ValueError: no format has its extension, or pyarrow is needed and not installed.
    """
    name = FORMATS.get(path.suffix.lower())
    if name is None:
        hint = _ARRAY if path.suffix.lower() == ".npy" else ""
        raise ValueError(f"{path} must end in {alternatives(FORMATS)}{hint}")
    module = import_module(f".{name}", __name__)
    if find_spec(getattr(module, "NEEDS", "numpy")) is None:
        raise ValueError(
            f"{path} needs {module.NEEDS}, which is not installed: pip install {module.NEEDS}"
        )
    return module
