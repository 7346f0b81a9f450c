"""Hooks around the calls of layers, at any depth inside a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ._base import BaseLayer

# Takes the layer, inputs, mask, further arguments, and a function that makes the call.
CallHook = Callable[[BaseLayer, object, object, dict[str, Any], Callable[[], Any]], Any]
call_hook: ContextVar[CallHook | None] = ContextVar("fastmask_call_hook", default=None)


@contextmanager
def hooked(hook: CallHook | None) -> Iterator[None]:
    """Send all calls of layers in this context through `hook`, or through none if it is None."""
    token = call_hook.set(hook)
    try:
        yield
    finally:
        call_hook.reset(token)
