"""Where the weights of each layer are in a file of Keras."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ...layers import Layer
from ...layers._weights import Weight
from ..hdf5 import Hdf5
from ..keras_names import Children, layers_by_name

Stored = dict[str, str]  # paths of arrays by the names of the weights, and of what goes with them


class Place(NamedTuple):
    """A layer with weights of its own, and where they are."""

    layer: Layer
    name: str  # of the layer in the file
    stored: Stored
    lora_alpha: float | None = None


def by_path(
    model: Layer, children: Children, kind: Callable[[Layer], str], file: Hdf5
) -> list[Place]:
    """The places in the weights of a `.keras` file, `layers/dense/vars/0`.

    Raises:
        ValueError: a layer has fewer arrays there than weights.
    """
    found = layers_by_name(model, children, kind)
    return [Place(layer, path, _numbered(layer, path, file)) for path, layer in found.items()]


def _numbered(layer: Layer, path: str, file: Hdf5) -> Stored:
    around = f"{path}/vars".lstrip("/")
    own = [weight.name for weight in _sorted(layer)]
    there = sum(name.isdecimal() for name in file.members(around))
    if there < len(own):
        raise ValueError(f"{path}: has {there} arrays in the file, and {len(own)} weights")
    names = [*own, *_beside(own, there - len(own))]
    return {name: f"{around}/{number}" for number, name in enumerate(names)}


def _beside(own: list[str], count: int) -> list[str]:
    """Names of what is stored after a layer's weights: the scales of int8 ones come first."""
    scale = "embeddings_scale" if own[0] == "embeddings" else "kernel_scale"
    return [scale, *(f"other_{i}" for i in range(count))][:count]


def by_name(model: Layer, names: list[str], children: Children, file: Hdf5) -> list[Place]:
    """The places in an `.h5` file: in a group for each layer, in the order of `weight_names`.

    Args:
        model: the model.
        names: those of its layers in the file.
        children: see `Children`.
        file: the file.

    Raises:
        ValueError: a layer has another number of arrays there than weights.
    """
    around = "model_weights/" if "model_weights" in file else ""
    result: list[Place] = []
    for layer, name in zip(children(model) or [], names, strict=True):
        path = f"{around}{name}"
        listed = file.texts(path, "weight_names") or []
        own = list(in_order(layer, children))
        if len(listed) == len(own):
            pairs = zip(own, listed, strict=True)
            found = [(owner, weight.name, one) for (owner, weight), one in pairs]
        elif len({id(owner) for owner, _ in own}) == 1:  # LoRA's, or scales of int8 weights
            owner = own[0][0]
            found = [(owner, _last(one), one) for one in listed]
        else:
            raise ValueError(
                f"{name}: has {len(listed)} arrays in the file, and {len(own)} weights"
            )
        places: dict[int, Place] = {}
        for owner, weight_name, one in found:
            place = places.setdefault(id(owner), Place(owner, name, {}))
            place.stored[weight_name] = f"{path}/{one}"
        result += places.values()
    return result


def _last(name: str) -> str:
    return name.rpartition("/")[2].partition(":")[0]


def _sorted(layer: Any) -> list[Weight]:
    return sorted(layer._weights, key=lambda weight: not weight.trainable)


def in_order(layer: Any, children: Children) -> Iterator[tuple[Layer, Weight]]:
    """The weights of a layer and those inside it, trained ones first, unless there are none."""
    pairs = [(owner, weight) for owner in _owners(layer, children) for weight in _sorted(owner)]
    if not layer._trainable:
        yield from pairs
        return
    frozen = [(owner, weight) for owner, weight in pairs if not _is_trained(owner, weight)]
    yield from ((owner, weight) for owner, weight in pairs if _is_trained(owner, weight))
    yield from frozen


def _is_trained(owner: Any, weight: Weight) -> bool:
    return weight.trainable and owner._trainable


def _owners(layer: Any, children: Children) -> list[Any]:
    """A layer and all inside it, each once."""
    seen: dict[int, Any] = {}
    stack = [layer]
    while stack:
        one = stack.pop()
        if id(one) not in seen:
            seen[id(one)] = one
            inner = children(one)
            stack.extend(reversed(list(one._sublayers()) if inner is None else inner))
    return list(seen.values())
