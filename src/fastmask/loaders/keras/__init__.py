"""Models in files of Keras, `.keras` and `.h5`, read without Keras.

A description (`version3`, `version2`) says what layers there are; `making` makes them, as the
tables in `catalog` say, and `connecting` calls them on each other; `places` tells where the
weights of each are in the file. A model is first made without memory for its weights, so that
everything that is wrong with it is known before any weight is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...layers import Layer
from ...layers._weights import change, filling
from ...models.config import NeedsObjects
from .._json import parsed
from .._reading import Reader, opened, refusing
from ..description import not_supported
from ..hdf5 import Hdf5
from . import version2, version3
from .archive import Archive
from .described import MOST_LAYERS, Described, name_all, placed
from .forms import misfits, read
from .known_part import note_operations, shown_layers
from .making import Maker
from .own import by_hand
from .places import Place, by_name, by_path

_MOST_LINES = 40
_MOST = 6000  # characters of an error, which lists all that is not supported


class KerasFile:
    """An open file of Keras.

    Args:
        file: the file.

    Attributes:
        size: how many bytes it has.
        what: the model that is described in it.
        weights: its weights; None where there are none.

    Raises:
        ValueError: it is damaged, or not such a file.
    """

    def __init__(self, file: Reader) -> None:
        self.size = file.size
        self.archive: Archive | None = None
        self.weights: Hdf5 | None
        if str(file.name).lower().endswith(".keras"):
            self.archive = Archive(file)
            self.weights = self.archive.weights
            self.what = version3.described(self.archive.config)
            placed(self.what)
        else:
            self.weights = Hdf5(file, file.size)
            self.what = _of_attributes(self.weights)
            group = "model_weights" if "model_weights" in self.weights else ""
            children = [one for one in self.what.children or () if one.kind != "InputLayer"]
            name_all(children, self.weights.texts(group, "layer_names") or [])
        count = sum(1 for _ in self.what.everything())
        if count > MOST_LAYERS:
            raise ValueError(f"it describes {count} layers; at most {MOST_LAYERS} are read")

    def assets(self, what: Described) -> tuple[list[str] | None, Any]:
        """The vocabulary of a look-up layer, and the weights of its tokens."""
        if self.archive is None:
            return None, None
        lines = self.archive.lines(f"{what.stored}/vocabulary.txt")
        if lines is None:
            lines = self.archive.lines(f"{what.stored}/_lookup_layer/vocabulary.txt")
        path = f"{what.stored}/vars/idf_weights"
        stored = self.weights is not None and self.weights.is_array(path)
        return lines, self.weights.array(path) if self.weights and stored else None

    def places(self, model: Layer, maker: Maker) -> list[Place]:
        """Where the weights of the layers of a model are.

        Raises:
            ValueError: they are not there.
        """
        if self.weights is None:
            raise ValueError("it has no weights")
        if self.archive is not None:
            found = by_path(
                model, maker.children_of, maker.kind_of, maker.custom_layers, self.weights
            )
        else:
            names = [one.name for one in self.what.children or () if one.path in maker.layers]
            found = by_name(model, names, maker.children_of, maker.custom_layers, self.weights)
        alphas = maker.lora_alphas
        return [one._replace(lora_alpha=alphas.get(id(one.layer))) for one in found]


def load(path: Path, custom_objects: Mapping[str, Any] | None) -> Any:
    """See `fastmask.load_model`."""
    custom = checked(custom_objects)
    with opened(path) as file, refusing(path, "is not a model that can be read", _MOST):
        found = KerasFile(file)
        with filling("shapes", found.size):
            check_weights(found, *_made(found, custom))
        with filling("uninitialized"):
            model, maker = _made(found, custom)
        assert found.weights is not None
        places, weights, version = found.places(model, maker), found.weights, found.what.version

        def write() -> None:
            for place in places:
                read(place, weights, version)

        change([layer._weights for layer in model._all_layers()], write)
        if found.archive is not None:
            found.archive.finish()
    return model


def checked(custom_objects: object) -> Mapping[str, Any]:
    """The user's own classes and functions.

    Raises:
        TypeError: they are not in a mapping from names.
    """
    if custom_objects is None:
        return {}
    if not isinstance(custom_objects, Mapping):
        raise TypeError(f"custom_objects must be like {{'Mine': Mine}}, not {custom_objects!r}")
    for key, value in custom_objects.items():
        if not isinstance(key, str) or not callable(value):
            raise TypeError(
                "custom_objects must hold classes of layers, cells or functions by their names, "
                f"like {{'Mine': Mine}}, not {key!r}: {value!r}"
            )
    return custom_objects


def _made(found: KerasFile, custom: Mapping[str, Any]) -> tuple[Layer, Maker]:
    maker = Maker(custom, found.assets, found.size)
    model = maker.make(found.what)
    if model is None:
        note_operations(found.what, maker)
        kind = NeedsObjects if maker.problems.unknown else ValueError
        raise kind(_told(maker.problems.lines(), _counted(found.what, maker)))
    return model, maker


def check_weights(found: KerasFile, model: Layer, maker: Maker) -> None:
    """Check that all weights of a model are in its file.

    Raises:
        ValueError: they are not; the message lists all that is wrong.
    """
    unbuilt = [layer.name for layer in model._all_layers() if not layer.built and _builds(layer)]
    if unbuilt and id(model) in maker.custom_layers:
        raise ValueError(
            f"build of {type(model).__name__} does not build its layer {unbuilt[-1]!r}: leave "
            f"build out, and the layers are built by calling the model on zeros; or "
            f"{by_hand(model)}"
        )
    if unbuilt:
        raise ValueError(f"layer {unbuilt[-1]!r} had not been built when it was saved")
    wrong = [
        line
        for place in found.places(model, maker)
        for line in misfits(place, found.weights)  # type: ignore[arg-type]  # places needs them
    ]
    if wrong:
        raise ValueError(_told(wrong, _things(len(wrong), "with its weights")))


def _builds(layer: Layer) -> bool:
    """Whether building a layer does anything: one that is an activation is never built."""
    return type(layer).build is not Layer.build


def _counted(what: Described, maker: Maker) -> str:
    """How many layers are not supported, or how many things that are not layers."""
    layers = shown_layers(what, maker)
    wrong = sum(bool(maker.problems.inside(one)) for one in layers)
    others = len(maker.problems.lines(without=layers))
    if others or not wrong:
        return _things(others + wrong, "in it")
    return not_supported(wrong, len(layers))


def _things(count: int, where: str) -> str:
    return f"{f'1 thing {where} is' if count == 1 else f'{count} things {where} are'} not supported"


def _told(lines: list[str], many: str) -> str:
    shown = lines[:_MOST_LINES]
    if len(lines) > _MOST_LINES:
        shown.append(f"and {len(lines) - _MOST_LINES} more")
    return "\n  ".join([f"{many}:", *shown])


def _of_attributes(file: Hdf5) -> Described:
    """The model that an `.h5` file describes."""
    text = file.text("", "model_config")
    if text is None:
        raise ValueError("it holds weights alone, which model.load_weights reads")
    version = file.text("", "keras_version") or file.text("model_weights", "keras_version") or "2"
    config = parsed(text)
    # tf_keras counts on, beyond 2.
    new = version.startswith("3") and '"batch_shape"' in text
    described: Callable[[Any], Described] = version3.described if new else version2.described
    return described(config)
