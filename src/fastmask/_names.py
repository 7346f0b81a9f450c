"""Names for layers that were given none, as Keras makes them: lstm, lstm_1, lstm_2."""

from __future__ import annotations

import re
from itertools import count

_numbers: dict[str, count[int]] = {}


def automatic_name(class_name: str) -> str:
    """The class name in snake case, with a number from the second one on."""
    name = snake_case(class_name)
    # Neither step can be interrupted; a lock would be held in processes forked meanwhile.
    number = next(_numbers.setdefault(name, count()))
    return f"{name}_{number}" if number else name


def snake_case(name: str) -> str:
    """`SimpleRNN` becomes `simple_rnn`."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
