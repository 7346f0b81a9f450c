"""The warning that a layer loses the mask of its inputs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from .._frames import frames_of_fastmask

# Whether layers are called on zeros, to find the shapes of their outputs.
on_trial: ContextVar[bool] = ContextVar("fastmask_on_trial", default=False)
# Whether layers do not warn of masks.
silent: ContextVar[bool] = ContextVar("fastmask_silent", default=False)
DROPPED = (
    "was passed an input with a mask attached to it. However, this layer does not support "
    "masking and will therefore destroy the mask information."
)
USES = (
    "was passed an input with a mask attached to it. It uses the mask, but does not say what "
    "becomes of it, and will therefore destroy the mask information for the layers after it."
)
USED = (
    f"{USES} If its outputs have the same steps, set supports_masking = True in it; "
    "if they have others, define compute_mask(self, inputs, mask) and return their "
    "mask, or None to end the mask without this warning."
)


@contextmanager
def without_warnings() -> Iterator[None]:
    """Calls in which layers do not warn of masks; their first call after that still does."""
    token = silent.set(True)
    try:
        yield
    finally:
        silent.reset(token)


def warn_of_lost_mask(layer: str, how: str) -> None:
    """Warn, at the line that called the layer, that it loses a mask.

    Args:
        layer: name of the layer, which begins the warning.
        how: what it does with the mask, and what to do about it.
    """
    warnings.warn(f"{layer} {how}", stacklevel=frames_of_fastmask())
