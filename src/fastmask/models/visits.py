"""The calls of layers during one run of a model, including those inside other layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..layers._base import BaseLayer
from ..layers._call_graph import CallGraph
from ..layers._calls import flat, narrowed, separate
from ..layers._hooks import hooked
from ..layers._mask_effect import makes_masks, mask_effect
from ..layers._ragged import without_ragged
from ..layers._shapes import shapes
from ..layers._symbolic import is_symbolic
from ..masks.mask import Mask
from ..masks.masked import Masked
from ..masks.ragged import Ragged


class Visit(NamedTuple):
    """One call of a layer, or several equal calls inside another layer."""

    path: str  # names of the layers around it, and its own
    layer: BaseLayer
    before: list[Mask | None]  # masks of the inputs
    did: str  # see `mask_effect`
    after: list[Mask | None]  # masks of the outputs
    shape: Any  # of the output, or a list of shapes
    ragged: bool  # whether there was no padding that a dropped mask could have told
    holes: bool  # whether a `Ragged` had steps that are masked
    calls: int = 1


def visits(run: Callable[[], Any]) -> list[Visit]:
    """Call `run` and record the calls of layers, outer ones before those inside them.

    `Sequential` and `Model(inputs, outputs)` are not recorded themselves; unless outermost, they
    appear as a name in the path.
    """
    found: list[Visit] = []
    around: list[BaseLayer] = []

    def visit(
        layer: BaseLayer,
        inputs: object,
        mask: object,
        options: dict[str, Any],
        call: Callable[[], Any],
    ) -> Any:
        if is_symbolic(inputs):  # a model is being connected inside the call
            return call()
        first = len(found)
        around.append(layer)
        given = dict(options)
        try:
            outputs = call()
            shown = around[isinstance(around[0], CallGraph) :]
            path = "/".join(one.name for one in shown)
        finally:
            around.pop()
        if not isinstance(layer, CallGraph):
            with hooked(None):
                seen = _visit(path, layer, inputs, mask, given, outputs)
            found[first:] = [seen, *_without_repeats(found[first:])]
        return outputs

    with hooked(visit):
        run()
    return found


def _visit(
    path: str,
    layer: BaseLayer,
    inputs: object,
    mask: object,
    options: dict[str, Any],
    outputs: Any,
) -> Visit:
    """Record one call; a `Ragged` is recorded as if it were padded."""
    ragged = _is_ragged(layer, inputs)
    holes = mask is not None or any(
        isinstance(one, Ragged) and one.valid is not None for one in flat(inputs)
    )
    made = any(isinstance(one, Masked) for one in flat(outputs)) and _sees_no_mask(layer)
    inputs, outputs = without_ragged(inputs), without_ragged(outputs)
    options = {name: without_ragged(value) for name, value in options.items()}
    arrays, carried = separate(inputs, layer)
    arrays = layer._cast(arrays)
    if mask is not None:
        carried = narrowed(layer._explicit(mask, arrays), carried)
    masks = carried if isinstance(carried, list) else [carried] * len(flat(arrays))
    also = [_mask(one) for value in options.values() for one in flat(value)]
    before = [*masks, *(one for one in also if one is not None)]
    after = [_mask(one) for one in flat(outputs)]
    if any(not hasattr(one, "shape") for one in flat(outputs)):
        raise TypeError(
            f"layer {layer.name!r} must return an array, or a list of these, "
            f"not {type(outputs).__name__}"
        )
    makes = made or (any(one is not None for one in before) and makes_masks(layer, arrays))
    effect = mask_effect(layer, before, after, makes)
    return Visit(path, layer, before, effect, after, shapes(outputs), ragged, holes)


def _sees_no_mask(layer: BaseLayer) -> bool:
    """Whether a mask of its outputs is its own, as it neither uses nor passes on any other."""
    spec = layer._spec()
    return not (spec.mask or spec.others or spec.makes_masks or layer.supports_masking)


def _is_ragged(layer: BaseLayer, inputs: object) -> bool:
    axes = next((one.ndim for one in flat(inputs) if isinstance(one, Ragged)), None)
    return axes is not None and layer._ragged_way(axes) != "padded"


def _mask(value: object) -> Mask | None:
    return value.mask if isinstance(value, Masked) else value if isinstance(value, Mask) else None


def _without_repeats(inner: list[Visit]) -> list[Visit]:
    """Merge equal calls, such as those of a cell at every step, into the first, with a count."""
    kept: list[Visit] = []
    for one in inner:
        for number, other in enumerate(kept):
            if _alike(one, other):
                kept[number] = other._replace(calls=other.calls + one.calls)
                break
        else:
            kept.append(one)
    return kept


def _alike(one: Visit, other: Visit) -> bool:
    same = one.layer is other.layer and (one.path, one.did, one.shape) == (
        *(other.path, other.did, other.shape),
    )
    masks = (*one.before, *one.after), (*other.before, *other.after)
    return (
        same
        and len(masks[0]) == len(masks[1])
        and all(a is b or _equal(a, b) for a, b in zip(*masks, strict=True))
    )


def _equal(one: Mask | None, other: Mask | None) -> bool:
    return one is not None and other is not None and np.array_equal(one, other)
