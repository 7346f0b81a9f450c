"""The backend that Keras uses, and fastmask's module for it."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

import keras

from ..backends.layer import Layer

BACKENDS = ("torch", "jax", "tensorflow")


class KerasBackend(Protocol):
    """What the module for a backend provides."""

    def why_not_now(self, x: Any) -> str:
        """Why fastmask cannot compute on `x` here and now; empty where it can."""

    def arrays(self, values: list[Any], dtype: str) -> list[Any]:
        """Convert arrays and variables to tensors of a dtype, as `run` takes them."""

    def run(
        self,
        layer: Layer,
        x: Any,
        mask: Any,
        states: list[Any],
        weights: list[Any],
        training: bool,
    ) -> tuple[Any, list[Any]]:
        """Compute a layer.

        Args:
            layer: which one.
            x: (B, T, F).
            mask: (B, T), of any dtype, or None.
            states: (B, H) each.
            weights: as Keras has them; the bias may be missing.
            training: Keras's flag, a hint: gradients are possible without it, but less likely.

        Returns:
            The outputs (B, T, H), or the last one (B, H), and the last states.
        """

    def changed(self, model: Any, layers: list[Any], converted: bool) -> None:
        """Called after layers of a model were converted or reverted."""


def arrays(values: list[Any], dtype: str) -> list[Any]:
    """See `KerasBackend`; uses Keras's own conversion."""
    return [keras.ops.convert_to_tensor(value, dtype) for value in values]


def backend_name() -> str:
    """Keras's name for its backend."""
    return str(keras.config.backend())


def backend() -> KerasBackend | None:
    """The module for the backend that Keras was imported with; None if there is none."""
    if backend_name() not in BACKENDS:
        return None
    found: KerasBackend = import_module(f"{__package__}._{backend_name()}")
    return found
