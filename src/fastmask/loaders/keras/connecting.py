"""Models of layers: each is called on symbolic tensors, in the order that a file describes."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

from ..._checks import shown
from ...layers import RNN, Bidirectional, Layer
from ...layers._calls import flat
from ...layers._operations import WITH_MASK_OF
from ...layers._symbolic import Input, SymbolicTensor
from ...masks.masked import get_mask
from ...models.functional import Functional
from ...models.sequential import Sequential
from .around import Operations, around
from .described import Described, Node, Ref, Unsupported, refs
from .masks import Comparisons
from .operations import operation

if TYPE_CHECKING:
    from .making import Maker

_MOST_CALLS = 2**14
_MOST_NUMBERS = 2**22  # in a row of a batch, or in a step of it
_TEXT = ("string", "str", "object")
_FLOATS = ("float16", "bfloat16", "float32")


def model(what: Described, layers: list[Layer | None], maker: Maker) -> Layer | None:
    """The model of layers that have been made, one for each of `what.children`."""
    children = what.children or []
    inner = [
        (child, layer) for child, layer in zip(children, layers, strict=True) if layer is not None
    ]
    if what.inputs is not None:
        return _Functional(what, {child.name: layer for child, layer in inner}, maker).made()
    made = Sequential([], name=what.name)
    first = children[0] if children else None
    if first is not None and first.kind == "InputLayer":
        made.add(input_of(first))
    operations = Operations()
    for _, layer in inner:
        wanted = around(layer, made._end, maker.is_nested(what) or _is_masked(made._end))
        if WITH_MASK_OF in wanted.after and made._end is not None:
            return _chain(what, [one for _, one in inner], maker)
        before, after = ([operations.made(name, layer) for name in names] for names in wanted)
        for one in (*before, layer, *after):
            made.add(one)
        if made._end is not None:
            _check_size(made._end)
            maker.check_weights(layer)
    if made._end is not None:
        return made
    if what.build_shape is not None:
        made.build(what.build_shape)
    else:
        for child, layer in inner:
            if child.build_shape is not None:
                layer.build(child.build_shape)
    return made


def _chain(what: Described, layers: list[Layer], maker: Maker) -> Functional:
    """A sequential model in which masks go past some layers."""
    start = input_of((what.children or [])[0])
    end: Any = start
    operations = Operations()
    for layer in layers:
        wanted = around(layer, end, maker.is_nested(what) or _is_masked(end))
        end = operations.called(layer, wanted, end)
        _check_size(end)
        maker.check_weights(layer)
    return Functional(start, end, name=what.name)


def _is_masked(inputs: Any) -> bool:
    return any(one is not None and get_mask(one) is not None for one in flat(inputs))


def input_of(what: Described) -> SymbolicTensor:
    """The symbolic input for an `InputLayer`."""
    config = what.config
    for name in ("sparse", "ragged"):
        if config.get(name):
            raise Unsupported(f"is {name}, which is not supported")
    shape = config.get("batch_shape") or config.get("batch_input_shape")
    if not isinstance(shape, list) or not shape:
        raise Unsupported(f"must have a shape, not {shown(shape)}")
    dtype = config.get("dtype") or "float32"
    if isinstance(dtype, dict):
        dtype = (dtype.get("config") or {}).get("name")
    dtype = "str" if dtype in _TEXT else "float32" if dtype in _FLOATS else dtype
    made = Input(shape[1:], dtype, name=what.name)
    _check_size(made)
    return made


class _Functional:
    """Calls the layers of a functional model, each as soon as its inputs are there."""

    def __init__(self, what: Described, layers: dict[str, Layer], maker: Maker) -> None:
        self._what = what
        self._layers = layers
        self._maker = maker
        self._tensors: dict[Ref, SymbolicTensor] = {}
        self._comparisons = Comparisons()
        self._operations = Operations()
        self._nested = maker.is_nested(what)

    def made(self) -> Layer | None:
        """The model; None if a call has been noted as a problem."""
        waiting: dict[Ref, list[int]] = defaultdict(list)
        calls: list[tuple[Described, int, Node]] = []
        missing: list[int] = []
        ready: deque[int] = deque()
        for child in self._what.children or ():
            if child.kind == "InputLayer":
                self._tensors[Ref(child.name, 0, 0)] = input_of(child)
            for number, node in enumerate(child.nodes, child.first_call):
                needs = set(refs(node.args) + refs(node.kwargs))
                for ref in needs:
                    waiting[ref].append(len(calls))
                if not needs:
                    ready.append(len(calls))
                calls.append((child, number, node))
                missing.append(len(needs))
        if len(calls) > _MOST_CALLS:
            raise ValueError(f"has {len(calls)} calls of layers; at most {_MOST_CALLS} are read")
        there = deque(self._tensors)
        while there or ready:
            while there:
                for call in waiting.pop(there.popleft(), ()):
                    missing[call] -= 1
                    if not missing[call]:
                        ready.append(call)
            if ready:
                there.extend(self._called(*calls[ready.popleft()]))
        if self._what.path in self._maker.problems.of:
            return None
        inputs, outputs = (self._filled(one) for one in (self._what.inputs, self._what.outputs))
        if isinstance(outputs, list) and len(outputs) == 1:
            (outputs,) = outputs  # which Keras returns itself
        made = Functional(inputs, outputs, name=self._what.name)
        self._sort(made._layers)
        return made

    def _sort(self, layers: list[Layer]) -> None:
        """Put layers in the file's order, in which weight files number the layers of a class.

        The order of the calls may differ: operations that pass masks on here are no calls in Keras.
        """
        own = {id(one): one for one in layers}
        listed = (one for one in self._layers.values() if id(one) in own)
        named = set(map(id, self._layers.values()))
        layers[:] = [next(listed) if id(one) in named else one for one in layers]

    def _called(self, what: Described, number: int, node: Node) -> list[Ref]:
        """Call a layer, keep its outputs, and return their names."""
        try:
            outputs = self._call(what, node)
        except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
            path = self._what if self._what.path == what.path else what
            self._maker.problems.add(path, error)
            self._maker.problems.of.setdefault(self._what.path, [])
            return []
        found = []
        if what.name in self._layers:
            self._maker.check_weights(self._layers[what.name])
        each = list(outputs.values()) if isinstance(outputs, dict) else flat(outputs)
        for place, one in enumerate(each):
            ref = Ref(what.name, number, place)
            _check_size(one)
            self._tensors[ref] = one
            found.append(ref)
        return found

    def _call(self, what: Described, node: Node) -> Any:
        if what.operation:
            layer, taken = operation(what, node)
            given = [self._tensors[ref] for ref in taken]
            if not given:
                raise Unsupported("takes no tensor, which is not supported")
            return layer(given if len(given) > 1 else given[0])
        if what.name not in self._layers:
            raise Unsupported(f"{what.name!r} is called, but is not there")
        target = self._layers[what.name]
        args = [self._filled(one) for one in node.args]
        kwargs = {key: self._filled(one) for key, one in node.kwargs.items()}
        kwargs = {key: one for key, one in kwargs.items() if one is not None}
        if kwargs.get("training") is False:
            del kwargs["training"]
        if not args and (first := target._spec().names[0]) in kwargs:
            args = [kwargs.pop(first)]  # passed by name, such as the query of attention
        if not args:
            raise Unsupported("is called without inputs, which is not supported")
        if isinstance(target, Functional):
            args[0] = _in_order(args[0], what)
        mask = self._mask(args[0], kwargs.pop("mask", None))
        if mask is not None:
            kwargs["mask"] = mask
        masked = mask is not None or self._nested or _is_masked(args[0])
        states = mask is None and what.version > 2 and _states_given(target, args, kwargs)
        wanted = around(target, args[0], masked, states)
        return self._operations.called(target, wanted, *args, **kwargs)

    def _mask(self, inputs: Any, mask: Any) -> Any:
        """The mask to pass for the inputs; None if they carry it anyway."""
        masks = flat(mask) if mask is not None else []
        each = flat(inputs)
        if len(masks) != len(each):
            return mask
        result = [
            get_mask(tensor) if one is None or self._arrives(one, tensor) else one
            for one, tensor in zip(masks, each, strict=True)
        ]
        if all(new is not old for new, old in zip(result, masks, strict=True)):
            return None
        return result if isinstance(mask, (list, tuple)) else result[0]

    def _arrives(self, mask: Any, tensor: Any) -> bool:
        known = isinstance(mask, SymbolicTensor) and isinstance(tensor, SymbolicTensor)
        return known and self._comparisons.agree(mask, tensor)

    def _filled(self, value: Any) -> Any:
        """An argument with symbolic tensors in their places."""
        if isinstance(value, Ref):
            if value not in self._tensors:
                raise Unsupported(f"needs output {value.output} of {value.layer!r}, which is not")
            return self._tensors[value]
        if isinstance(value, list):
            return [self._filled(one) for one in value]
        if isinstance(value, dict):
            return {key: self._filled(one) for key, one in value.items()}
        return value


def _in_order(inputs: Any, what: Described) -> Any:
    """Inputs of a model that are given by name, as a list."""
    if not isinstance(inputs, dict):
        return inputs
    names = (
        what.inputs if isinstance(what.inputs, dict) else [one.layer for one in refs(what.inputs)]
    )
    if set(names) != set(inputs):
        raise Unsupported(f"takes {', '.join(names)}, not {', '.join(inputs)}")
    return [inputs[name] for name in names]


def _states_given(layer: Layer, args: list[Any], kwargs: dict[str, Any]) -> bool:
    """Whether a recurrent layer is called with states."""
    states = [*args[1:], kwargs.get("initial_state")]
    recurrent = isinstance(layer, (RNN, Bidirectional))
    return recurrent and any(flat(one) for one in states if one is not None)


def _check_size(tensor: Any) -> None:
    for one in flat(tensor):
        if math.prod(n for n in one.shape if n is not None) > _MOST_NUMBERS:
            raise Unsupported(f"makes arrays of shape {one.shape}, which are too large")
