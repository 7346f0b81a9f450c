"""Turns texts into ids of their words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, ClassVar

import numpy as np

from .._checks import choice, whole_number
from .._typing import Array, Ints, Shape, Unpack
from ._keras_arguments import LayerArguments
from ._only_false import only_false
from ._text import (
    SPLITS,
    STANDARDS,
    Split,
    Standard,
    split_up,
    standardized,
    text_array,
    texts_in,
    with_ngrams,
)
from ._vocabulary import Rows
from .string_lookup import Strings, checked_encoding


class TextVectorization(Strings):
    """Turns texts into ids of their tokens, or into vectors that count them.

    Id 0 pads rows, id 1 stands for tokens outside the vocabulary. `adapt(texts)`
    finds the vocabulary, or `set_vocabulary(list)` sets it; `get_vocabulary()` returns it.

    Args:
        max_tokens: largest number of ids, including these two; None for no limit.
        standardize: what is done to a text first: "lower", which means ASCII letters, as in
            Keras; "strip_punctuation"; "lower_and_strip_punctuation" for both; None for nothing;
            or a function of an array of str that returns one.
        split: how tokens are found: "whitespace", or "character" for each character; None for
            inputs that are tokens already; or a function of an array of str, (B,), that returns
            a list of tokens for each.
        ngrams: a number n for n-grams of up to n tokens, joined by spaces, besides the tokens; a
            tuple of widths for n-grams of these widths alone; None for the tokens alone.
        output_mode: "int" for ids; "multi_hot" or "count" for a vector for each text, which marks
            or counts its tokens; "tf_idf" for counts times weights; "one_hot" for
            a vector for each token.
        output_sequence_length: number of ids of each text, which is padded with 0 or truncated;
            by default that of the longest text in the batch.
        pad_to_max_tokens: whether vectors have `max_tokens` entries instead of one for each id.
        vocabulary: list or array of tokens, without those for ids 0 and 1, '' and '[UNK]', or
            with them in front; or the path of a text file with a token on each line.
        idf_weights: for `output_mode="tf_idf"` the weight of each token.
        sparse: accepted as in Keras; must be False.
        ragged: accepted as in Keras; must be False.
        encoding: how bytes in the vocabulary are decoded.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: texts, (B,) or (B, 1); tokens, (B, T), with `split=None`. Arrays of str, bytes or
            objects, or lists.

    Returns:
        int64 ids, (B, T); or vectors (B, depth), with "one_hot" (B, T, depth), of which those of
        "tf_idf" are floats.

    Raises:
        TypeError: an argument, or an input, is of a wrong kind.
        ValueError: an argument is out of range, or there is no vocabulary.

    Source:
        Keras: `keras.layers.TextVectorization`.

    Examples:
        >>> import fastmask as fm
        >>> layer = fm.layers.TextVectorization(output_sequence_length=4)
        >>> layer.adapt(["The cat sat.", "A cat!"])
        >>> layer.get_vocabulary()
        ['', '[UNK]', 'cat', 'the', 'sat', 'a']
        >>> layer(["the cat and the dog", "Sat"])
        array([[3, 2, 1, 3],
               [4, 0, 0, 0]])
    """

    _way = "none"
    _options: ClassVar[tuple[str, ...]] = (
        *("max_tokens", "standardize", "split", "ngrams", "output_mode"),
        *("output_sequence_length", "pad_to_max_tokens", "sparse", "ragged", "encoding"),
    )

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: Standard = "lower_and_strip_punctuation",
        split: Split = "whitespace",
        ngrams: int | Sequence[int] | None = None,
        output_mode: str = "int",
        output_sequence_length: int | None = None,
        pad_to_max_tokens: bool = False,
        vocabulary: Any = None,
        idf_weights: Any = None,
        sparse: bool = False,
        ragged: bool = False,
        encoding: str = "utf-8",
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        self.standardize = _name_or_function(standardize, "standardize", STANDARDS)
        self.split = _name_or_function(split, "split", SPLITS)
        self._instead_of_ragged = (
            "pad it, x.to_masked().data"
            if split is None
            else "it takes one text for each row, so join the tokens of each"
        )
        self.ngrams, self._widths = _ngrams(ngrams)
        self.output_sequence_length = output_sequence_length
        self.ragged = only_false(ragged, "ragged")
        self.encoding = checked_encoding(encoding)
        super().__init__(
            *(max_tokens, 1, "", "[UNK]", vocabulary, idf_weights, False, output_mode),
            *(pad_to_max_tokens, sparse, "floormod", None),
            **layer_args,
        )
        if output_sequence_length is not None:
            whole_number(output_sequence_length, "output_sequence_length", 0)
            if self.output_mode != "int":
                raise ValueError(
                    "output_sequence_length must be None for output_mode "
                    f"{output_mode!r}, not {output_sequence_length}"
                )

    def _steps(self) -> int | None:
        return self.output_sequence_length

    def _rows(self, inputs: Any) -> Rows:
        array = text_array(inputs, "inputs")
        self._check_input_shape(array.shape)
        texts = standardized(texts_in(array, "inputs"), self.standardize, array.shape)
        if self.split is not None:
            rows = split_up(texts, self.split)
        elif array.ndim == 1 and self.output_mode in ("int", "one_hot"):
            return Rows(texts, np.array([len(texts)]), array.shape)
        else:
            size = 1 if array.ndim == 1 else array.shape[1]
            rows = [texts[n * size : (n + 1) * size] for n in range(len(array))]
        if self._widths is not None:
            rows = [with_ngrams(row, self._widths) for row in rows]
        lengths: Ints = np.fromiter(map(len, rows), np.int64, len(rows))
        return Rows(chain.from_iterable(rows), lengths)

    def _apart(self, data: Any) -> Array:
        array = text_array(data, "data")
        return array[:, None] if array.ndim == 1 and self.split is None else array

    def _check_input_shape(self, shape: Shape) -> None:
        axes = len(shape)
        if self.split is None:
            alone = self._widths is not None or self.output_sequence_length is not None
            if axes == 2 or (axes == 1 and not alone):
                return
            wanted = "(batch, tokens)" if alone else "(batch, tokens) or (tokens,)"
        elif axes == 1 or (axes == 2 and shape[1] in (1, None)):
            return
        else:
            wanted = "(batch,) or (batch, 1), or split must be None"
        raise ValueError(
            f"inputs of layer {self.name!r} must have shape {wanted}, not {tuple(shape)}"
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, *others = input_shape
        if self.output_mode == "int":
            if self.split is None and not others:
                return (batch,)
            plain = self.split is None and self._widths is None and self._steps() is None
            return (batch, others[0] if plain else self._steps())
        if self.output_mode != "one_hot":
            return (batch, self._depth())
        if self.split is None and not others:
            return (batch, self._depth())
        steps = others[0] if self.split is None and self._widths is None else None
        return (batch, steps, self._depth())


def _name_or_function(value: Any, name: str, names: Sequence[str]) -> Any:
    return value if value is None or callable(value) else choice(value, name, names)


def _ngrams(value: Any) -> tuple[int | tuple[int, ...] | None, Sequence[int] | None]:
    """The argument, and the widths that it means."""
    if value is None:
        return None, None
    if isinstance(value, (list, tuple)):
        widths = tuple(whole_number(one, "each number in ngrams", 1) for one in value)
        if not widths:
            raise ValueError("ngrams must have a width, or be None")
        return widths, widths
    most = whole_number(value, "ngrams", 1)
    return most, range(1, most + 1)
