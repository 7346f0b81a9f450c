"""Look-up of strings."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any, ClassVar

from .._checks import shown
from .._typing import Array, Unpack
from ._keras_arguments import LayerArguments
from ._lookup import Lookup
from ._text import encoded, texts_in


class Strings(Lookup):
    """Base of the layers whose tokens are strings."""

    encoding = "utf-8"
    _takes_texts = True

    def _keys_in(self, array: Array) -> list[bytes]:
        return texts_in(array, "inputs")

    def _token(self, value: Any, name: str) -> str:
        (key,) = encoded([value], name)
        return str(value) if isinstance(value, str) else self._token_of(key)

    def _key(self, token: str) -> bytes:
        return token.encode()

    def _token_of(self, key: bytes) -> str:
        try:
            return key.decode(self.encoding)
        except UnicodeDecodeError as error:
            raise ValueError(f"{shown(key)} is not a string in {self.encoding}: {error}") from None


class StringLookup(Strings):
    """The ids of strings in a vocabulary, or, with `invert`, the strings of ids.

    Id 0 is for `mask_token`, if there is one; then come `num_oov_indices` ids for strings outside
    the vocabulary, then those of the vocabulary, which `adapt(data)` finds, `set_vocabulary(list)`
    sets, and `get_vocabulary()` returns.

    Args:
        max_tokens: largest number of ids, including those of the mask and of unknown strings;
            None for no limit.
        num_oov_indices: number of ids for strings outside the vocabulary, chosen by a hash of the
            string; 0 to refuse such strings.
        mask_token: the string for masked steps; None for none.
        oov_token: the string for ids outside the vocabulary.
        vocabulary: list or array of strings, without these two or with them in front; or the
            path of a text file with a string on each line.
        idf_weights: for `output_mode="tf_idf"` the weight of each string.
        invert: whether to turn ids into strings.
        output_mode: "int" for ids; "one_hot" for a vector for each string; "multi_hot" or "count"
            for a vector for each row, which marks or counts its strings; "tf_idf" for
            counts times weights. The mask is never counted.
        pad_to_max_tokens: whether vectors have `max_tokens` entries instead of one for each id.
        sparse: accepted as in Keras; must be False.
        encoding: how bytes in the vocabulary are decoded.
        salt: two integers, or one for both, as the key of SipHash, which then hashes unknown
            strings; without it FarmHash does, as in Keras.
        oov_method: accepted because Keras's configs have it; has no effect on strings.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: strings, of any shape; for vectors of rows (B, T), or (T,) for one row. Arrays of
            str, bytes or objects, or lists. With `invert` ids.

    Returns:
        int64 ids of the same shape; or vectors (B, depth), with "one_hot" (B, T, depth), of which
        those of "tf_idf" are floats; or an array of str.

    Raises:
        TypeError: an argument, or an input, is of a wrong kind.
        ValueError: an argument is out of range, there is no vocabulary, or an input is not in it
            and `num_oov_indices` is 0.

    Source:
        Keras: `keras.layers.StringLookup`.

    Examples:
        >>> import fastmask as fm
        >>> layer = fm.layers.StringLookup(vocabulary=["a", "b", "c"])
        >>> layer([["a", "c"], ["b", "x"]])
        array([[1, 3],
               [2, 0]])
        >>> fm.layers.StringLookup(vocabulary=layer.get_vocabulary(), invert=True)([3, 0]).tolist()
        ['c', '[UNK]']
    """

    _options: ClassVar[tuple[str, ...]] = (*Lookup._options, "encoding")

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: str | None = None,
        oov_token: str | None = "[UNK]",
        vocabulary: Any = None,
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        pad_to_max_tokens: bool = False,
        sparse: bool = False,
        encoding: str = "utf-8",
        *,
        salt: int | Sequence[int] | None = None,
        oov_method: str = "floormod",
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        self.encoding = checked_encoding(encoding)
        super().__init__(
            *(max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, idf_weights),
            *(invert, output_mode, pad_to_max_tokens, sparse, oov_method, salt),
            **layer_args,
        )


def checked_encoding(encoding: str) -> str:
    """The name of an encoding.

    Raises:
        ValueError: there is none of that name.
    """
    try:
        codecs.lookup(encoding)
    except (LookupError, TypeError):
        raise ValueError(
            f"encoding must be the name of a text encoding, not {encoding!r}"
        ) from None
    return encoding
