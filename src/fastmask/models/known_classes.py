"""The classes that a model file may name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .. import layers as _layers
from .._checks import foreign_layer_hint
from ..layers import Layer
from ..layers._operation import Operation
from .functional import Functional
from .sequential import Sequential

# Lambda holds a function, and Layer computes nothing.
_BUILT_IN: dict[str, type[Layer]] = {
    **{n: getattr(_layers, n) for n in _layers.__all__ if n not in ("Lambda", "Layer")},
    "Functional": Functional,
    "Operation": Operation,
    "Sequential": Sequential,
}


def classes_of(layers: Iterable[Layer]) -> dict[str, type[Layer]]:
    """The classes of a model's layers by name, which is all that a file stores of them.

    Raises:
        ValueError: two classes have the same name, or one has the name of a cell of
            `fastmask.cells`, which every reader of the file knows.
    """
    from ..cells import CELLS

    found: dict[str, type[Layer]] = {}
    for cls in map(type, layers):
        name, cell = cls.__name__, getattr(cls, "_cell", None)
        other = found.setdefault(name, cls)
        if other is not cls and (cell is None or cell != getattr(other, "_cell", None)):
            raise ValueError(f"two classes or cells of its layers are called {name}")
        if cell and cell != CELLS.get(name, cell):
            raise ValueError(
                f"its cell {name} is not fastmask.cells.{name}, so it needs another name"
            )
    return found


def known_classes(custom: Mapping[str, Any] | None = None) -> dict[str, type[Layer]]:
    """The classes that `deserialize` may make, by name.

    Args:
        custom: the user's classes; or cells, which stand for the classes of their layers.

    Raises:
        TypeError: `custom` does not map names to classes of layers.
    """
    from ..cells import CELLS, Cell  # not needed by `import fastmask`

    if not (custom is None or isinstance(custom, Mapping)):
        raise TypeError(f"custom_objects must be like {{'Mine': Mine}}, not {custom!r}")
    values: dict[Any, Any] = {
        key: value.layer_class if isinstance(value, Cell) else value
        for key, value in (custom or {}).items()
    }
    for key, cls in values.items():
        if not (isinstance(key, str) and isinstance(cls, type) and issubclass(cls, Layer)):
            raise TypeError(
                "custom_objects must hold classes of layers, or cells, by their names, like "
                f"{{'Mine': Mine}}, not {key!r}: {cls!r}{foreign_layer_hint(cls)}"
            )
    cells = {name: cell.layer_class for name, cell in CELLS.items()}
    return {**_BUILT_IN, **cells, **values}
