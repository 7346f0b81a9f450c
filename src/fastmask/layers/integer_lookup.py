"""Look-up of integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._checks import choice, whole_number
from .._typing import Array, Unpack
from ..backends.dispatch import integer_array
from ._keras_arguments import LayerArguments
from ._lookup import Lookup


class IntegerLookup(Lookup):
    """The ids of integers in a vocabulary, or, with `invert`, the integers of ids.

    Works like `StringLookup`.

    Args:
        max_tokens: largest number of ids, including those of the mask and of unknown integers;
            None for no limit.
        num_oov_indices: number of ids for integers outside the vocabulary; 0 to refuse such
            integers.
        mask_token: the integer for masked steps; None for none.
        oov_token: the integer for ids outside the vocabulary.
        vocabulary: list or array of integers, without these two or with them in front; or the
            path of a text file with an integer on each line.
        vocabulary_dtype: accepted as in Keras; must be "int64".
        idf_weights: for `output_mode="tf_idf"` the weight of each integer.
        invert: whether to turn ids into integers.
        output_mode: see `StringLookup`.
        sparse: accepted as in Keras; must be False.
        pad_to_max_tokens: whether vectors have `max_tokens` entries instead of one for each id.
        oov_method: how unknown integers are divided among several ids: "floormod" by the remainder
            of a division, "farmhash" by a hash of the digits.
        salt: two integers, or one for both, as the key of SipHash, which then replaces FarmHash.
        **layer_args: `name`, `dtype` and others; see `Layer`.

    Called with
        inputs: integers, of any shape; for vectors of rows (B, T), or (T,) for one row.

    Returns:
        int64 ids of the same shape; or vectors, as `StringLookup` returns them.

    Raises:
        TypeError: an argument, or an input, is of a wrong kind.
        ValueError: an argument is out of range, there is no vocabulary, or an input is not in it
            and `num_oov_indices` is 0.

    Source:
        Keras: `keras.layers.IntegerLookup`.

    Examples:
        >>> import fastmask as fm
        >>> layer = fm.layers.IntegerLookup(vocabulary=[12, 36, 1138])
        >>> layer([[12, 1138], [7, 36]])
        array([[1, 3],
               [0, 2]])
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: int | None = None,
        oov_token: int | None = -1,
        vocabulary: Any = None,
        vocabulary_dtype: str = "int64",
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        sparse: bool = False,
        pad_to_max_tokens: bool = False,
        oov_method: str = "floormod",
        salt: int | Sequence[int] | None = None,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        choice(vocabulary_dtype, "vocabulary_dtype", ("int64",))
        if salt is not None and oov_method != "farmhash":
            raise ValueError(f"oov_method must be 'farmhash' with a salt, not {oov_method!r}")
        super().__init__(
            *(max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, idf_weights),
            *(invert, output_mode, pad_to_max_tokens, sparse, oov_method, salt),
            **layer_args,
        )

    def _keys_in(self, array: Array) -> Any:
        return integer_array(array, f"inputs of layer {self.name!r}").ravel().tolist()

    def _token(self, value: Any, name: str) -> int:
        return whole_number(value, name, -(2**63))

    def _key(self, token: int) -> int:
        return token

    def _token_of(self, key: int) -> int:
        return key

    def _lines(self, path: str) -> list[Any]:
        return [int(line) for line in super()._lines(path)]
