"""One direction of a layer backward, by the kernels of the table, on any device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from ..backends.recurrent import run_backward
from ._cells import TorchCell, Weights
from ._parts import Part

if TYPE_CHECKING:
    from ._backend import TensorBackend


class Pass(NamedTuple):
    """The arrays of one direction; the rows of the batch are processed in parts.

    Attributes:
        cell: the cell.
        direction: index of the direction.
        zero_masked: as in forward.
        saved: whether `gates` hold what forward saved, or must be recomputed.
        dout: (B, T, H), or without steps, of this direction.
        dlast: (D, B, H) each.
        x: (B, T, F).
        states: (D, B, H) each, the initial ones.
        steps: (D, P, H) each.
        weights: what `TensorBackend.packed_to_train` kept.
        gates: (P, width * H), or of the largest part.
        dx: (B, T, F), or without steps.
        dstates: (D, B, H) each.
    """

    cell: TorchCell
    direction: int
    zero_masked: bool
    saved: bool
    dout: Tensor
    dlast: Sequence[Tensor]
    x: Tensor
    states: Sequence[Tensor]
    steps: Sequence[Tensor]
    weights: Sequence[Tensor]
    gates: Tensor
    dx: Tensor
    dstates: Sequence[Tensor]

    @property
    def backwards(self) -> bool:
        """Whether this direction walks from the last step to the first one."""
        return self.direction == 1 or self.cell.go_backwards


def run_by_table(backend: TensorBackend[Any], this: Pass, part: Part, found: Weights) -> None:
    """Run a part, and write the gradients of its weights to `found`."""
    view, d, rows, plan = backend.view, this.direction, part.rows, part.plan
    each = len(this.weights) // len(this.states[0])
    run_backward(
        backend,
        this.cell,
        [
            view(this.dx)[rows],
            *backend.weights(found),
            *[view(one)[d][rows] for one in this.dstates],
            view(this.gates)[: len(plan.steps)],
        ],
        view(this.dout)[rows],
        [view(one)[d][rows] for one in this.dlast],
        view(this.x)[rows],
        plan,
        backend.weights(tuple(this.weights[d * each : (d + 1) * each])),
        [view(one)[d][rows] for one in this.states],
        [view(one)[d][part.steps] for one in this.steps],
        this.saved,
        this.cell.settings,
        this.backwards,
        this.zero_masked,
    )


def copies_to_train(
    cell: TorchCell, weights: Sequence[Sequence[Tensor]], pack: Callable[[Weights], Any]
) -> tuple[list[Tensor], list[Any]]:
    """See `TensorBackend.packed_to_train`: copies, of which backward packs what it needs."""
    copies = [cell.to_kernels(direction) for direction in weights]
    return [one for direction in copies for one in direction], list(map(pack, copies))
