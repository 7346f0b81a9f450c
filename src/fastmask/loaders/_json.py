"""JSON in files that may come from strangers."""

from __future__ import annotations

import json
from typing import Any

from ._reading import different_keys

_MOST_BYTES = 16 * 2**20


def parsed(text: bytes | str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is too long, is not JSON, or has a key twice.
    """
    if len(text) > _MOST_BYTES:
        raise ValueError(f"its description has more than {_MOST_BYTES} bytes")
    try:
        return json.loads(text, object_pairs_hook=different_keys)
    except RecursionError:
        raise ValueError("its description is nested too deep") from None
