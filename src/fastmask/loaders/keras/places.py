"""Where the weights of each layer are in a file of Keras."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..._checks import listed
from ...layers import Layer
from ...layers._weights import Weight
from ..hdf5 import Hdf5
from ..keras_arrays import NOT_WEIGHTS, arrays_in
from ..keras_names import Children, every_layer_by_name

Stored = dict[str, str]  # paths of arrays by the names of the weights, and of what goes with them


class Place(NamedTuple):
    """A layer with weights of its own, and where they are."""

    layer: Layer
    name: str  # of the layer in the file
    stored: Stored
    lora_alpha: float | None = None


def by_path(
    model: Layer,
    children: Children,
    kind: Callable[[Layer], str],
    custom: Container[int],
    file: Hdf5,
) -> list[Place]:
    """The places in the weights of a `.keras` file, `layers/dense/vars/0`.

    Args:
        model: the model.
        children: see `Children`.
        kind: the name that Keras has for the class of a layer.
        custom: the ids of the layers of classes of the user's.
        file: the file.

    Raises:
        ValueError: a layer has fewer arrays there than weights; or one of the user's leaves some
            arrays without a weight.
    """
    found = every_layer_by_name(model, children, kind)
    places = [
        Place(layer, path, _numbered(layer, path, file))
        for path, layer in found.items()
        if layer._weights
    ]
    read = {one for place in places for one in _read(place, file)}
    for path, layer in found.items():
        if id(layer) in custom:
            _check_all_read(path, read, file)
    return places


def _read(place: Place, file: Hdf5) -> Iterator[str]:
    """The paths of the arrays that become the weights of a layer."""
    for weight in place.layer._weights:
        path = place.stored[weight.name]
        yield path
        scale = place.stored.get(f"{weight.name}_scale")
        if scale is not None and file.info(path).dtype == np.int8:
            yield scale


def _check_all_read(path: str, read: Container[str], file: Hdf5) -> None:
    """Check that a layer of the user's has a weight for each array that the file has for it.

    Raises:
        ValueError: some arrays, of the layer or of layers inside it, have none.
    """
    unread = [one for one in arrays_in(file, path) if one not in read and not _counts(one, file)]
    if unread:
        told = ", ".join(f"{one[len(path) :].lstrip('/')} {file.info(one).shape}" for one in unread)
        raise ValueError(
            f"{path or 'the model'}: the file has {told}, for which the layer has no weight: make "
            "its weights by add_weight, and the layers inside it as attributes of these names"
        )


def _counts(path: str, file: Hdf5) -> bool:
    """Whether an array is the state of a random generator or a counter, not a weight."""
    info = file.info(path)
    return info.dtype.kind in "iu" and info.dtype.itemsize > 1 and info.shape in ((), (2,))


def _numbered(layer: Layer, path: str, file: Hdf5) -> Stored:
    around = f"{path}/vars".lstrip("/")
    own = [weight.name for weight in _sorted(layer)]
    there = sum(name.isdecimal() for name in file.members(around))
    if there < len(own):
        told = _beside_it(path, file)
        raise ValueError(f"{path}: has {there} arrays in the file, and {len(own)} weights{told}")
    names = [*own, *_beside(own, there - len(own))]
    return {name: f"{around}/{number}" for number, name in enumerate(names)}


def _beside_it(path: str, file: Hdf5) -> str:
    """For a layer that is not in the file: the names of the layers at its level, for a message."""
    around, _, name = path.rpartition("/")
    there = [one for one in file.members(around) if one not in {"vars", *NOT_WEIGHTS}]
    if name in there or not there:
        return ""
    return (
        f"; the file has {listed(f'{around}/{one}' for one in there)}: layers inside a layer must "
        "be attributes of the same names as in Keras"
    )


def _beside(own: list[str], count: int) -> list[str]:
    """Names of what is stored after a layer's weights: the scales of int8 ones come first."""
    scale = "embeddings_scale" if own[0] == "embeddings" else "kernel_scale"
    return [scale, *(f"other_{i}" for i in range(count))][:count]


def by_name(
    model: Layer, names: list[str], children: Children, custom: Container[int], file: Hdf5
) -> list[Place]:
    """The places in an `.h5` file: in a group for each layer, in the order of `weight_names`.

    Args:
        model: the model.
        names: those of its layers in the file.
        children: see `Children`.
        custom: the ids of the layers of classes of the user's.
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
        elif _of_one(own) and not any(id(one) in custom for one in _owners(layer, children)):
            owner = own[0][0]  # with LoRA's weights, or scales of int8 weights
            found = [(owner, _last(one), one) for one in listed]
        else:
            told = f" ({', '.join(map(_last, listed))})" if listed else ""
            raise ValueError(
                f"{name}: has {len(listed)} arrays in the file{told}, and {len(own)} weights"
            )
        places: dict[int, Place] = {}
        for owner, weight_name, one in found:
            place = places.setdefault(id(owner), Place(owner, name, {}))
            place.stored[weight_name] = f"{path}/{one}"
        result += places.values()
    return result


def _of_one(own: list[tuple[Layer, Weight]]) -> bool:
    return len({id(owner) for owner, _ in own}) == 1


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
