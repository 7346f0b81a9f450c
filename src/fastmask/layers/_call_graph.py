"""What knows the calls of layers inside it, so that they can be gone through one by one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from ._base import BaseLayer
from ._symbolic import SymbolicTensor

Apply = Callable[[BaseLayer, Any, dict[str, Any]], Any]


class CallGraph:
    """Base of `Sequential` and of `Model(inputs, outputs)`, which models derive from besides."""

    def _run_graph(self, inputs: Any, apply: Apply) -> Any:
        """Go through the layers, each by `apply(layer, inputs, options)`."""
        raise NotImplementedError

    def _inner_layers(self) -> Sequence[BaseLayer]:
        """The layers that it calls."""
        raise NotImplementedError

    def _folded(self) -> Collection[str]:
        """Names of the embeddings that are folded into the layers that they feed."""
        return ()

    def _symbolic_inputs(self) -> list[SymbolicTensor] | None:
        """What it takes, where that was said when it was made."""
        return None

    def _call_options(self) -> Sequence[object]:
        """The arguments, besides inputs, that its layers are called with."""
        return ()
