"""Names for layers that were given none, as Keras makes them, and names that are elsewhere."""

from __future__ import annotations

import re
import sys
from itertools import count
from typing import NoReturn

from fastmask_kernels.names import public_names

_numbers: dict[str, count[int]] = {}
_PARTS = "layers models activations initializers losses metrics ops utils cells".split()
_OTHER_NAMES = {"InputLayer": "Input"}


def automatic_name(class_name: str) -> str:
    """lstm, lstm_1, lstm_2: the class name in snake case, with a number from the second one on."""
    name = snake_case(class_name)
    # Neither step can be interrupted; a lock would be held in processes forked meanwhile.
    number = next(_numbers.setdefault(name, count()))
    return f"{name}_{number}" if number else name


def snake_case(name: str) -> str:
    """`SimpleRNN` becomes `simple_rnn`."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def no_such_name(module: str, name: str) -> NoReturn:
    """Raise the error for a name that a module lacks; it says where else the name is.

    Raises:
        AttributeError: always.
    """
    message = f"module {module!r} has no attribute {name!r}"
    wanted = _OTHER_NAMES.get(name, name)
    root = __name__.partition(".")[0]
    for place in (root, *(f"{root}.{part}" for part in _PARTS)):
        if not name.startswith("_") and wanted in public_names(place):
            raise AttributeError(f"{message}: it is {place}.{wanted}")
    raise AttributeError(message, name=name, obj=sys.modules[module])  # Python may suggest one
