"""Models that know the calls of the layers inside them, so that these can be run one by one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from ._base import BaseLayer
from ._symbolic import SymbolicTensor

Apply = Callable[[BaseLayer, Any, dict[str, Any]], Any]


class CallGraph:
    """Base of `Sequential` and `Model(inputs, outputs)`, in addition to `Model`."""

    def _run_graph(self, inputs: Any, apply: Apply) -> Any:
        """Run the layers in order, each by `apply(layer, inputs, options)`."""
        raise NotImplementedError

    def _inner_layers(self) -> Sequence[BaseLayer]:
        """The layers that it calls."""
        raise NotImplementedError

    def _layers_of_input(self, number: int) -> Sequence[BaseLayer]:
        """The layers that an input goes to."""
        raise NotImplementedError

    def _free_steps(self) -> bool:
        """Whether sequences may have other numbers of steps than those it was built for."""
        return False

    def _folded(self) -> Collection[str]:
        """Names of the embeddings that are folded into the layers that use them."""
        return ()

    def _symbolic_inputs(self) -> list[SymbolicTensor] | None:
        """The inputs that were declared when the model was made, or None."""
        return None

    def _output_words(self) -> list[str] | None:
        """The keys of the outputs, or the names of the layers that made them; or None."""
        return None

    def _call_options(self) -> Sequence[object]:
        """The arguments, other than inputs, with which the model calls its layers."""
        return ()
