"""The base of all models."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any, ClassVar, NoReturn

import numpy as np

from .._checks import refuse_unknown, whole_number
from .._typing import DTypeLike, Unpack
from ..layers import Layer
from ..layers._batches import batches_in
from ..layers._calls import CallSpec, flat
from ..layers._infer import SIZES
from ..layers._keras_arguments import KerasArguments
from ..layers._shapes import shapes
from ..layers._symbolic import Symbols
from ..masks.masked import Masked
from .building import build_on_zeros
from .mistakes import explain
from .predict import predict, predict_batches
from .summary import Summary, summarize, symbolic_inputs

_INSTEAD = {
    "mask": "give the rows themselves, in a list or a Ragged; or fastmask.Masked(x, mask), "
    "unless a layer makes the mask itself, as Masking does",
    "length": "give the rows themselves, in a list or a Ragged; or fastmask.Masked(x, mask) with "
    "the mask fastmask.Mask.from_lengths(lengths, steps), unless a layer makes the mask itself",
}
_BY_PLACE = {"index": "take model.layers[index]; inputs are not among the layers, unlike in Keras"}


class Model(Layer):
    """Layers connected by calling them on symbolic tensors; also the base of your own models.

    A model has any number of inputs and outputs; layers, which may be models, can be called
    more than once. `inputs` lists the inputs in order, with name, shape and dtype; `input_names`
    are the names by which a dict can hold them. `output_names` are, as in Keras, the names of the
    layers that made the outputs; for a dict of outputs, in the order of its sorted keys. A model
    is a layer itself. A subclass defines `call` instead, as layers do.

    Args:
        inputs: symbolic tensor made by `fastmask.Input`, or a list or dict of them; a dict is for
            inputs that are passed by name.
        outputs: symbolic tensor returned by a layer, or a list or dict of them; with a dict the
            model returns a dict.
        name: see `Layer`.
        dtype: see `Layer`; of a subclass, which alone takes it and the arguments below.
        **layer_args: see `Layer`.

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
    _functional: ClassVar[type[Model]]  # the class of `Model(inputs, outputs)`, set by its module

    def __init__(
        self,
        inputs: Symbols | None = None,
        outputs: Symbols | None = None,
        name: str | None = None,
        dtype: DTypeLike | None = None,
        **layer_args: Unpack[KerasArguments],
    ) -> None:
        if type(self) is Model:  # in __new__ it would hide the arguments from help() and editors
            if dtype is not None or layer_args:
                argument = "dtype" if dtype is not None else next(iter(layer_args))
                raise TypeError(
                    f"Model(inputs, outputs) does not take {argument}, which its layers take"
                )
            self.__class__ = Model._functional
            self._connect(inputs, outputs, name)
            return
        if inputs is not None or outputs is not None:
            raise TypeError(f"{type(self).__name__} must define call instead of taking inputs")
        super().__init__(name=name, dtype=dtype, **layer_args)

    def _connect(self, inputs: Symbols | None, outputs: Symbols | None, name: str | None) -> None:
        """Become the model that computes `outputs` from `inputs`."""
        raise NotImplementedError

    @property
    def layers(self) -> list[Layer]:
        """The layers of the model."""
        return [layer for layer in self._sublayers() if isinstance(layer, Layer)]

    def get_layer(self, name: str | None = None, **unknown: NoReturn) -> Layer:
        """Find a layer by its name.

        Args:
            name: the name.
            **unknown: nothing; for an error that says how to find a layer by its place.

        Returns:
            The layer.

        Raises:
            TypeError: there is another argument.
            ValueError: there is no such layer.

        Examples:
            >>> import fastmask as fm
            >>> fm.Sequential([fm.layers.LSTM(4, name="reader")]).get_layer("reader")
            <LSTM 'reader'>
        """
        refuse_unknown(unknown, Model.get_layer, _BY_PLACE)
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = ", ".join(repr(layer.name) for layer in self.layers)
        raise ValueError(f"name must be that of a layer of {self.name!r} ({names}), not {name!r}")

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Load weights from a file, which another library may have written.

        The file is read without that library, and safely: nothing in it is run or imported. For
        PyTorch state dicts, gates are reordered and the two biases are added where fastmask has
        one. Each layer takes the module in the file with the same shapes. If there are several, it
        takes the one with its own name, provided that all of these layers find one; otherwise the
        first layer takes the first one, and so on.

        Args:
            path: name of the file. The extension gives its format: .weights.h5 and .weights.json
                from Keras's `save_weights`; .keras and .h5 of a model with the same structure;
                .npz from `save_model` or `numpy.savez(path, *model.get_weights())`; .pt, .pth and
                .safetensors for state dicts of PyTorch; .onnx, from which the weights of LSTM,
                GRU, RNN, dense and embedding nodes are read in the order of computation.

        Raises:
            TypeError: `path` is not the name of a file.
            ValueError: the model is not built, the extension is unknown, or the file is damaged or
                holds something other than weights; or weights do not fit: then one error lists all
                of these, and no weight is changed.
            OSError: the file cannot be read.

        Source:
            Keras: `keras.Model.load_weights`.

        Examples:
            >>> import tempfile
            >>> import numpy as np
            >>> import fastmask as fm
            >>> model = fm.Sequential([fm.layers.LSTM(4)])
            >>> model.build((None, None, 3))
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     np.savez(f"{folder}/weights.npz", *[np.zeros_like(w) for w in model.weights])
            ...     model.load_weights(f"{folder}/weights.npz")
            >>> float(model(np.ones((1, 2, 3))).sum())
            0.0
        """
        load_weights: Callable[..., None] = import_module("fastmask.loaders.weights").load_weights
        load_weights(self, path)

    def summary(self) -> Summary:
        """Print inputs, outputs, and layers with shapes, parameters and what they do with a mask.

        Returns:
            The printed rows, a list that prints as a table. The type of a layer is followed
            by its format if it is quantized, and by "folded" for an embedding that only recurrent
            layers use (see `fastmask.set_fold_limit`), or "shared" if the layer has been called
            before, in a row that has its parameters. What a layer does is one of made, kept,
            changed, used, dropped, or - if there is no mask. Your own layer or model is followed by
            the layers that it calls when it is called on zeros.

        Source:
            Keras: `keras.Model.summary`.

        Examples:
            >>> import fastmask as fm
            >>> ids = fm.Input((None,), "int32", name="ids")
            >>> x = fm.layers.Embedding(100, 8, mask_zero=True, name="words")(ids)
            >>> model = fm.Model(ids, fm.layers.LSTM(4, name="reader")(x), name="small")
            >>> rows = model.summary()
            small: 1,008 parameters
            inputs: ids (None, None) int32
            outputs: reader (None, 4) float32
            layer                      output shape     parameters  mask
            -------------------------  ---------------  ----------  ----
            words (Embedding, folded)  (None, None, 8)         800  made
            reader (LSTM)              (None, 4)               208  used
        """
        rows = summarize(self, self.layers)
        sys.stdout.write(f"{rows}\n")
        return rows

    def predict(
        self,
        x: Any,
        batch_size: int | None = 32,
        verbose: int | str = 1,
        steps: int | None = None,
        **unknown: NoReturn,
    ) -> Any:
        """Compute the outputs for many inputs, batch by batch.

        Args:
            x: array, `Masked` or `Ragged`, (N, ...); or a plain list of N sequences of different
                lengths, or a column of these, which are padded to the longest of all, or to the
                number of steps that the model needs, and masked; the padding is 0, or the value of
                a `Masking` layer that they go to. For a model with several inputs:
                a list of these, one for each input, or a dict of them by name; two inputs
                with N sequences each are `[first_sequences, second_sequences]`. Sequences of equal
                length are an array like any other, without a mask; lists of tokens that differ in
                length, a `Ragged`. If all sequences are empty, they are padded to one step.
            batch_size: number of rows computed at once.
            verbose: 0 for no output; otherwise a terminal shows the progress of work that takes
                longer than a second, with tqdm if it is installed.
            steps: number of batches after which to stop; None for all.
            **unknown: nothing; for an error that says how a mask is given.

        Returns:
            What the model returns for all of `x` at once, in the order of `x`: an array; or a
            `Masked`, whose array is `.data`, if the output has steps and the mask of the inputs
            reaches it; or a `Ragged`, if `x` is one and the output has steps. A `Ragged` is not
            padded unless a layer needs it. For sequences of different lengths: what the model
            returns for them padded to one batch. For an empty list, outputs of the right shape
            without rows.

        Raises:
            TypeError: `batch_size` is not an integer; there is another argument; or the inputs hold
                what the model does not take, such as texts where it looks up ids.
            ValueError: `batch_size` is less than 1, or the inputs do not fit; `x` is an empty
                list and the model has not been built; or a layer is stateful and the batches
                would differ in size, from each other or from the states that it keeps.

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
        refuse_unknown(unknown, Model.predict, _INSTEAD)
        size = 32 if batch_size is None else whole_number(batch_size, "batch_size", 1)
        most = None if steps is None else whole_number(steps, "steps", 1)
        count = self._input_count()
        x = self._in_order(x)
        batches = batches_in(x, "x")
        if batches is not None:
            return self._named(predict_batches(self, batches, count, most, bool(verbose)))
        if count > 1 and (not isinstance(x, (list, tuple)) or len(x) != count):
            names = ", ".join(repr(one.name) for one in flat(symbolic_inputs(self)))
            raise ValueError(
                f"x must be a list of {count} inputs ({names}) for model {self.name!r}, not "
                f"{len(x) if isinstance(x, (list, tuple)) else type(x).__name__}"
            )
        inputs = [x] if count == 1 else list(x)
        if most is not None:
            inputs = [_first_rows(one, most * size) for one in inputs]
        whole = partial(predict, self, alone=count == 1, size=size, shown=bool(verbose))
        if any(isinstance(one, (list, tuple)) and not one for one in inputs):
            with suppress(ValueError):  # of a layer that needs some steps, even of no row
                return self._named(whole(self._without_rows(inputs, 0)))
            inputs = self._without_rows(inputs, SIZES[0])
        return self._named(whole(inputs))

    def build(self, input_shape: Any) -> None:
        """Make the weights, of a subclass that has no `build` by calling it on zeros.

        Args:
            input_shape: shape of the inputs, with None for sizes that may vary; a list of
                shapes for a model called on a list.

        Raises:
            ValueError: its `call` does not take zeros; then call the model on data.
        """
        if type(self).build is Model.build:
            build_on_zeros(self, input_shape)

    def _build_for(self, inputs: Any, options: dict[str, Any]) -> None:
        if type(self).build is Model.build:
            self._note_built(shapes(inputs))  # the call that follows builds the layers
        else:
            super()._build_for(inputs, options)

    def _run(
        self, spec: CallSpec, inputs: Any, mask: Any, training: bool | None, kwargs: dict[str, Any]
    ) -> Any:
        try:
            return super()._run(spec, inputs, mask, training, kwargs)
        except (TypeError, ValueError) as error:
            explain(self, inputs, "inputs", error)
            raise

    def _listed(self, inputs: Any) -> Any:
        """Call the model; named outputs come as a list, not a dict."""
        return self(inputs)

    def _in_order(self, inputs: Any) -> Any:
        """Inputs given by name, as a list; others unchanged."""
        return inputs

    def _named(self, outputs: Any) -> Any:
        """Outputs with their names, if they have any."""
        return outputs

    def _without_rows(self, inputs: list[Any], steps: int) -> list[Any]:
        """The inputs, with empty lists replaced by arrays of the right shape without rows."""
        known = symbolic_inputs(self)
        specs = flat(known)
        if known is None or len(specs) != len(inputs):
            raise ValueError(
                f"x has no rows, and model {self.name!r} has not been built, so the shape of its "
                "outputs is not known: build it first, or call it once"
            )
        return [
            np.zeros((0, *(steps if n is None else n for n in spec.shape[1:])), spec.dtype)
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
