"""What all models have, and what those have that know the calls inside them."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from .._checks import whole_number
from ..layers import Embedding, Layer, Masking
from ..layers._batches import batches_in
from ..layers._calls import flat
from ..layers._symbolic import Apply
from ..layers._watch import watching
from ..masks.masked import Masked
from .predict import predict, predict_batches
from .summary import Summary, summarise, symbolic_inputs


class Model(Layer):
    """Layers put together by calling them on symbolic tensors; or the base of your own models.

    A model has any number of inputs and outputs; layers, which may be models, can be called
    more than once. It is a layer itself. A subclass defines `call` instead, as layers do.

    Args:
        inputs: symbolic tensor that `fastmask.Input` made, or a list of them.
        outputs: symbolic tensor that layers returned, or a list of them.
        name: see `Layer`.

    Raises:
        TypeError: the inputs or outputs are not symbolic tensors.
        ValueError: an output needs an input that is not among the inputs, an input is not
            needed, or two layers have the same name.

    Source:
        Keras: `keras.Model`.

    Examples:
        >>> import fastmask as fm
        >>> title, body = fm.Input((None,), "int32"), fm.Input((None,), "int32")
        >>> embedding = fm.layers.Embedding(5000, 16, mask_zero=True)
        >>> read = fm.layers.LSTM(8, return_sequences=True)(embedding(body))
        >>> model = fm.Model([title, body], [fm.layers.LSTM(4)(embedding(title)), read])
        >>> first, second = model([[[711, 632, 0]], [[73, 8, 3215, 55, 0]]])
        >>> first.shape, second.mask.lengths
        ((1, 4), array([4]))
    """

    _casts_inputs = False

    def __init__(self, inputs: Any = None, outputs: Any = None, name: str | None = None) -> None:
        if type(self) is Model:
            from .functional import Functional

            # In __new__ it would hide the arguments from help() and editors.
            self.__class__ = Functional
            Functional.__init__(self, inputs, outputs, name)  # type: ignore[arg-type]  # it is one
            return
        if inputs is not None or outputs is not None:
            raise TypeError(f"{type(self).__name__} must define call instead of taking inputs")
        super().__init__(name=name)

    @property
    def layers(self) -> list[Layer]:
        """The layers that it is made of."""
        return [layer for layer in self._sublayers() if isinstance(layer, Layer)]

    def get_layer(self, name: str) -> Layer:
        """The layer of that name.

        Args:
            name: the name.

        Returns:
            The layer.

        Raises:
            ValueError: there is none.

        Examples:
            >>> import fastmask as fm
            >>> fm.Sequential([fm.layers.LSTM(4, name="reader")]).get_layer("reader")
            <LSTM 'reader'>
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = ", ".join(repr(layer.name) for layer in self.layers)
        raise ValueError(f"name must be that of a layer of {self.name!r} ({names}), not {name!r}")

    def summary(self) -> Summary:
        """Print the layers, with output shapes, parameters and what they do with a mask.

        Returns:
            The rows that are printed, a list with a readable form. What a layer does is one of
            made, kept, changed, used, dropped, or -, where there is no mask. The layers that
            a layer or model of your own calls follow it, as they are called on zeros.

        Source:
            Keras: `keras.Model.summary`.

        Examples:
            >>> import fastmask as fm
            >>> ids = fm.Input((None,), "int32", name="ids")
            >>> x = fm.layers.Embedding(100, 8, mask_zero=True, name="words")(ids)
            >>> model = fm.Model(ids, fm.layers.LSTM(4, name="reader")(x), name="small")
            >>> rows = model.summary()
            small: 1,008 parameters
            layer              output shape     parameters  mask
            -----------------  ---------------  ----------  ----
            words (Embedding)  (None, None, 8)         800  made
            reader (LSTM)      (None, 4)               208  used
        """
        rows = summarise(self)
        sys.stdout.write(f"{rows}\n")
        return rows

    def predict(
        self,
        x: Any,
        batch_size: int | None = 32,
        verbose: int | str = 1,
        steps: int | None = None,
    ) -> Any:
        """The outputs for many inputs, computed batch by batch.

        Args:
            x: array or `Masked`, (N, ...); or a plain list of N sequences of different lengths,
                which are padded to the longest, and masked, a batch at a time. For a model with
                several inputs a list with one of these for each input; so two inputs with N
                sequences each are `[first_sequences, second_sequences]`. Sequences that all
                have one length are an array like any other, without a mask.
            batch_size: number of rows computed at once.
            verbose: 0 for silence; otherwise work of more than a second shows its progress in
                a terminal, with tqdm where that is installed.
            steps: number of batches after which to stop; None for all.

        Returns:
            What the model returns for all of `x` at once, in the order of `x`. For sequences
            of different lengths: what it returns for `fastmask.pad(x)`. For an empty list, what
            it returns for no rows.

        Raises:
            TypeError: `batch_size` is not an integer.
            ValueError: `batch_size` is less than 1, or the inputs do not fit; `x` is an empty
                list and the model has not been built; or a layer is stateful and the batches
                would not all have one size, or another one than the states that it keeps.

        Source:
            Keras: `keras.Model.predict`.

        Examples:
            >>> import numpy as np
            >>> import fastmask as fm
            >>> model = fm.Sequential([fm.layers.LSTM(4)])
            >>> model.predict(np.ones((100, 6, 2)), verbose=0).shape
            (100, 4)
            >>> model.predict([np.ones((3, 2)), np.ones((7, 2))], verbose=0).shape
            (2, 4)
        """
        size = 32 if batch_size is None else whole_number(batch_size, "batch_size", 1)
        most = None if steps is None else whole_number(steps, "steps", 1)
        count = self._input_count()
        batches = batches_in(x, "x")
        if batches is not None:
            return predict_batches(self, batches, count, most, bool(verbose))
        if count > 1 and (not isinstance(x, (list, tuple)) or len(x) != count):
            raise ValueError(f"x must be a list of {count} inputs for model {self.name!r}")
        inputs = [x] if count == 1 else list(x)
        if most is not None:
            inputs = [_first_rows(one, most * size) for one in inputs]
        if any(isinstance(one, (list, tuple)) and not one for one in inputs):
            inputs = self._without_rows(inputs)
        return predict(self, inputs, count == 1, size, bool(verbose))

    def _without_rows(self, inputs: list[Any]) -> list[Any]:
        """The inputs, with arrays of the right shape and no rows for empty lists."""
        known = symbolic_inputs(self)
        specs = list(flat(known))
        if known is None or len(specs) != len(inputs):
            raise ValueError(
                f"x has no rows, and model {self.name!r} has not been built, so that the shape of "
                "its outputs is not known: build it, or call it once, before"
            )
        return [
            np.zeros((0, *(n or 0 for n in spec.shape[1:])), spec.dtype)
            if isinstance(one, (list, tuple)) and not one
            else one
            for one, spec in zip(inputs, specs, strict=True)
        ]

    def _input_count(self) -> int:
        return 1


def _first_rows(inputs: Any, count: int) -> Any:
    if isinstance(inputs, Masked):
        return Masked(inputs.data[:count], inputs.mask.valid[:count])
    return inputs[:count]


class Flow(Model):
    """Base of models that know the calls inside them."""

    supports_masking = True
    _takes_gpu = True

    def _flow(self, inputs: Any, apply: Apply) -> Any:
        """Go through the layers, each by `apply(layer, inputs, options)`."""
        raise NotImplementedError

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Call the layers; see the class."""
        return self._flow(inputs if mask is None else with_mask(inputs, mask), _call)

    def _first_layers(self) -> list[Layer]:
        """The layers that are called on the inputs."""
        raise NotImplementedError

    def _explicit(self, mask: Any, inputs: Any) -> Any:
        return super()._explicit(self._readable(mask), inputs)

    def _readable(self, mask: Any) -> Any:
        """The mask; where every layer makes its own, shares from 0 to 1 are no error.

        Keras's guide gives random numbers to such a model, and nobody looks at them.
        """
        if type(mask) is not np.ndarray or not all(map(_ignores_masks, self._first_layers())):
            return mask
        shares = mask.dtype.kind == "f" and bool(((mask >= 0) & (mask <= 1)).all())
        return mask != 0 if shares else mask

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The masks of the outputs, found by computing them."""
        with watching(None):  # the same calls again
            outputs = self(inputs, mask=mask)
        if isinstance(outputs, (list, tuple)):
            return [one.mask.valid if isinstance(one, Masked) else None for one in outputs]
        return outputs.mask.valid if isinstance(outputs, Masked) else None

    def _carry(self, outputs: Any, *_: Any) -> Any:
        return outputs  # the layers have seen to the masks

    def _build_for(self, inputs: Any) -> None:
        """Nothing: each layer is built when it is called."""

    def _note_built(self, input_shape: Any) -> None:
        """Nothing: each layer remembers its own shape."""


def _ignores_masks(layer: Layer) -> bool:
    return isinstance(layer, Masking) or (isinstance(layer, Embedding) and layer.mask_zero)


def with_mask(inputs: Any, mask: Any) -> Any:
    """Inputs of a layer and their masks, taken apart by its call, together again."""
    if not isinstance(inputs, list):
        return Masked(inputs, mask)
    return [
        array if one is None else Masked(array, one)
        for array, one in zip(inputs, mask, strict=True)
    ]


def _call(layer: Layer, inputs: Any, options: dict[str, Any]) -> Any:
    return layer(inputs, **options)
