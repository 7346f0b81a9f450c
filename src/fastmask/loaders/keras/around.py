"""Operations around layers that treat masks otherwise than Keras, which make up for it.

- Recurrent layers that go backwards reverse the mask with their outputs. Keras leaves the mask.
- `Bidirectional` puts the outputs in the order of the inputs. Keras reverses those of the backward
  layer in any case, so all come out reversed if it is the forward layer that goes backwards.
- `RMSNormalization` passes masks on. In Keras masks are lost there.
- Other normalizations over the time axis leave masked steps out. Keras counts them.
- Keras 3 hands no mask to a recurrent layer that is called with states, as with all layers that
  are called with several tensors; what comes out carries the mask on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ...layers import (
    RNN,
    Bidirectional,
    GroupNormalization,
    Layer,
    LayerNormalization,
    RMSNormalization,
    UnitNormalization,
)
from ...layers._calls import flat
from ...layers._operation import Operation
from ...layers._operations import REVERSED_MASK, REVERSED_STEPS, WITH_MASK_OF, WITHOUT_MASK


class Around(NamedTuple):
    """Names of operations on the inputs of a layer, and on its outputs that are sequences."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


def around(layer: Layer, inputs: Any, masked: bool, states: bool = False) -> Around:
    """The operations that are needed around a layer.

    Args:
        layer: the layer.
        inputs: what it is called on.
        masked: whether there may be a mask.
        states: whether it is called with states, in Keras 3.
    """
    if isinstance(layer, (RNN, Bidirectional)):
        return _of_recurrent(layer, masked, states)
    if masked and isinstance(layer, RMSNormalization):
        return Around((WITHOUT_MASK,))
    if masked and _counts_all_steps(layer, inputs):
        return Around((WITHOUT_MASK,), (WITH_MASK_OF,))
    return Around()


def _of_recurrent(layer: RNN | Bidirectional, masked: bool, states: bool) -> Around:
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    if isinstance(layer, Bidirectional) and layer.forward_layer.go_backwards:
        after = (REVERSED_STEPS,)
    if masked and states:
        before, after = (WITHOUT_MASK,), (*after, WITH_MASK_OF)
    elif masked and isinstance(layer, RNN) and layer.go_backwards:
        after = (REVERSED_MASK,)
    return Around(before, after if layer.return_sequences else ())


def _counts_all_steps(layer: Layer, inputs: Any) -> bool:
    if isinstance(layer, GroupNormalization):
        return True
    if not isinstance(layer, (LayerNormalization, UnitNormalization)):
        return False
    axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    return 1 in [axis % len(inputs.shape) for axis in axes]


def _ends_stay_masked(layer: Layer) -> bool:
    """Whether what follows the last valid step only reaches outputs that are masked again."""
    if not isinstance(layer, RNN) or layer.go_backwards:
        return False
    return layer.return_sequences and not layer.return_state


class Operations:
    """The operations around the layers of a model: each is made once, and called as often."""

    def __init__(self) -> None:
        self._made: dict[str, Operation] = {}

    def made(self, name: str, layer: Layer) -> Operation:
        """An operation that stands around a layer."""
        own = f"{layer.name}_{name}"
        if own not in self._made:
            arguments: list[Any] = [{"input": 0}]
            if name == WITHOUT_MASK and _ends_stay_masked(layer):
                arguments.append(False)
            self._made[own] = Operation(name, arguments, name=own, dtype=layer.dtype)
        return self._made[own]

    def called(self, layer: Layer, around: Around, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a layer with operations around it."""
        given = inputs
        for name in around.before:
            given = self.made(name, layer)(given)
        outputs = layer(given, *args, **kwargs)
        if not around.after:
            return outputs
        each = flat(outputs)
        for place in range(2 if getattr(layer, "merge_mode", "") is None else 1):
            for name in around.after:
                one = each[place]
                each[place] = self.made(name, layer)([one, inputs] if name == WITH_MASK_OF else one)
        return each if isinstance(outputs, (list, tuple)) else each[0]
