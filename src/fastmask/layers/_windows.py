"""Windows that slide over the time axis, of convolutions and pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .._checks import choice, whole_number
from .._typing import Array, Shape


class Windows(NamedTuple):
    """Windows of `size` steps, `dilation` apart, each `stride` steps after the one before.

    `padding` is "valid" for windows within the inputs, "same" for T / `stride` windows, rounded
    up, and "causal" for windows that end at their own step.
    """

    size: int
    stride: int
    dilation: int
    padding: str

    @property
    def span(self) -> int:
        """Number of steps from the first to the last step of a window."""
        return (self.size - 1) * self.dilation + 1

    def number(self, time: int, layer: str) -> int:
        """Number of windows in `time` steps.

        Raises:
            ValueError: a window spans more steps; `layer` is the layer's name.
        """
        if self.padding != "valid":
            return -(-time // self.stride)
        if time < self.span:
            raise ValueError(
                f"inputs of layer {layer!r} must have at least {self.span} steps, the span of its "
                f"windows, not {time}: use padding='same', or longer inputs"
            )
        return (time - self.span) // self.stride + 1

    def steps(self, x: Array, layer: str, fill: float = 0.0) -> list[Array]:
        """For each position within the windows an array (B, windows, F), without a copy.

        Args:
            x: the inputs, (B, T, F).
            layer: the layer's name, for messages.
            fill: value before and after the inputs.
        """
        count = self.number(x.shape[1], layer)
        x = self._padded(x, count, fill)
        firsts = range(0, self.span, self.dilation)
        return [x[:, first :: self.stride][:, :count] for first in firsts]

    def _padded(self, x: Array, count: int, fill: float) -> Array:
        batch, time, features = x.shape
        if self.padding == "causal":
            before, after = self.span - 1, 0
        else:  # "valid" needs none
            more = max((count - 1) * self.stride + self.span - time, 0)
            before, after = more // 2, more - more // 2
        if not before + after:
            return x
        padded = np.zeros_like(x, shape=(batch, before + time + after, features))
        if fill:
            padded[:] = fill
        padded[:, before : before + time] = x
        return padded

    def over(self, shape: Shape, time: int, layer: str) -> Shape:
        """The output shape, with windows in place of the steps on axis `time`."""
        steps = shape[time]
        count = None if steps is None else self.number(steps, layer)
        return (*shape[:time], count, *shape[time + 1 :])


def one_number(value: int | Sequence[int], name: str) -> tuple[int]:
    """`value`, a number or a tuple of one number, as a tuple.

    Raises:
        TypeError: it is no integer.
        ValueError: it is less than 1, or there are several.
    """
    if isinstance(value, (list, tuple)):
        if len(value) != 1:
            raise ValueError(f"{name} must be a number, or a tuple of one number, not {value!r}")
        value = value[0]
    return (whole_number(value, name, 1),)


def as_padding(value: str, choices: Sequence[str]) -> str:
    """The name of a padding, in lower case."""
    return choice(str(value).lower(), "padding", choices)
