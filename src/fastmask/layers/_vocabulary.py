"""The vocabulary of a layer: which tokens there are, and their ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .._checks import choice, flag, shown, whole_number
from .._typing import Array, Ints, Unpack
from ..backends.dispatch import real_array
from ._batches import batches_in
from ._hashes import farmhash, siphash
from ._keras_arguments import LayerArguments
from ._layer import Layer
from ._only_false import only_false
from ._text import text_array

MODES = ("int", "one_hot", "multi_hot", "count", "tf_idf")
OLD_MODES = {"binary": "multi_hot", "tf-idf": "tf_idf"}
_NOT_TAKEN = ("vocabulary_size", "has_input_vocabulary")  # of Keras's configs, known from the rest


class Table(dict[Hashable, int]):
    """Ids of tokens; `other` returns the id of any other token."""

    def __init__(self, ids: Iterable[tuple[Hashable, int]], other: Callable[[Any], int]) -> None:
        super().__init__(ids)
        self.other = other

    def __missing__(self, token: Hashable) -> int:
        return self.other(token)


class Rows(NamedTuple):
    """The keys of all tokens, row after row, and how many each row has."""

    keys: Iterable[Any]
    lengths: Ints
    shape: tuple[int, ...] | None = None  # of the inputs, where each token is one of them


class Vocabulary(Layer):
    """Base of the layers with a vocabulary; a subclass defines its tokens.

    Tables hold keys of tokens: UTF-8 bytes for strings, and integers themselves.
    """

    _options: ClassVar[tuple[str, ...]] = (
        *("max_tokens", "num_oov_indices", "mask_token", "oov_token", "invert", "output_mode"),
        *("pad_to_max_tokens", "sparse", "salt", "oov_method"),
    )

    def __init__(
        self,
        max_tokens: int | None,
        num_oov_indices: int,
        mask_token: Any,
        oov_token: Any,
        vocabulary: Any,
        idf_weights: Any,
        invert: bool,
        output_mode: str,
        pad_to_max_tokens: bool,
        sparse: bool,
        oov_method: str,
        salt: int | Sequence[int] | None,
        **layer_args: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**layer_args)
        self.max_tokens = None if max_tokens is None else whole_number(max_tokens, "max_tokens", 2)
        self.num_oov_indices = whole_number(num_oov_indices, "num_oov_indices", 0)
        self.mask_token = None if mask_token is None else self._token(mask_token, "mask_token")
        self.oov_token = None if oov_token is None else self._token(oov_token, "oov_token")
        self.invert = flag(invert, "invert")
        self.output_mode = choice(OLD_MODES.get(output_mode, output_mode), "output_mode", MODES)
        self.pad_to_max_tokens = flag(pad_to_max_tokens, "pad_to_max_tokens")
        self.sparse = only_false(sparse, "sparse")
        self.oov_method = choice(oov_method, "oov_method", ("floormod", "farmhash"))
        self.salt = _salt(salt)
        if self.pad_to_max_tokens and max_tokens is None:
            raise ValueError("max_tokens must be given where pad_to_max_tokens is True")
        if self.invert and (self.output_mode != "int" or oov_token is None):
            raise ValueError(
                f"output_mode must be 'int', and oov_token be given, where invert is True, "
                f"not {output_mode!r} and {oov_token!r}"
            )
        self._tokens: list[Any] = []
        self._idf: Array | None = None
        self._table = Table((), self._other)
        if vocabulary is not None:
            self.set_vocabulary(vocabulary, idf_weights)
        elif idf_weights is not None:
            raise ValueError("vocabulary must be given with idf_weights")
        self._given = vocabulary is not None

    def vocabulary_size(self) -> int:
        """Number of ids, including those of the mask and of unknown tokens."""
        return self._first + len(self._tokens)

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """The tokens by id.

        Args:
            include_special_tokens: whether the tokens for the mask and for unknown ones are
                included, so that a token's index is its id.

        Returns:
            A list.
        """
        special = flag(include_special_tokens, "include_special_tokens")
        return [*self._special(), *self._tokens] if special else list(self._tokens)

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Set the tokens.

        Args:
            vocabulary: list or array of tokens, in the order of their ids; those for the mask
                and for unknown tokens come first or not at all. Or the path of a text file with
                a token on each line.
            idf_weights: for `output_mode="tf_idf"` the weight of each token in the list.

        Raises:
            OSError: the file cannot be read.
            TypeError: an item is not a token.
            ValueError: a token comes twice or out of place, there are none or too many, or the
                weights are missing or do not fit.
        """
        if (self.output_mode == "tf_idf") != (idf_weights is not None):
            raise ValueError(
                "idf_weights must be given for output_mode 'tf_idf', and for no other, such as "
                f"{self.output_mode!r}"
            )
        named = isinstance(vocabulary, str)
        given = self._lines(vocabulary) if named else text_array(vocabulary, "vocabulary").tolist()
        if not isinstance(given, list) or not given:
            raise ValueError(f"vocabulary must be a list of tokens, not {shown(vocabulary)}")
        listed = [self._token(token, "each token in vocabulary") for token in given]
        special = self._special()
        found = listed[: self._first] == special
        tokens = listed[self._first :] if found else listed
        self._check(tokens)
        idf = None if idf_weights is None else self._checked_idf(idf_weights, len(listed), found)
        self._know(tokens, idf)

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Make the vocabulary from data, most frequent tokens first, ties in descending order.

        Args:
            data: array or list of inputs of the layer; or batches of these, as from a generator or
                a data set.
            steps: number of batches after which to stop; None for all.

        Raises:
            TypeError: the data does not hold tokens.
            ValueError: the layer was given a vocabulary, or there are no tokens in the data.
        """
        if self._given:
            raise ValueError(f"layer {self.name!r} was given a vocabulary, so it cannot adapt")
        counts: Counter[Any] = Counter()
        documents: Counter[Any] = Counter()
        number = 0
        for row in self._documents(data, steps):
            counts.update(row)
            number += 1
            if self.output_mode == "tf_idf":
                documents.update(set(row))
        for special in {self.mask_token, self.oov_token} - {None}:
            counts.pop(self._key(special), None)
        order = sorted(counts, key=lambda key: (counts[key], key), reverse=True)
        if self.max_tokens is not None:
            order = order[: max(self.max_tokens - self._first, 0)]
        if not order:
            raise ValueError("data must hold at least one token, for which there is an id")
        idf = None
        if self.output_mode == "tf_idf":
            in_documents = np.array([documents[key] for key in order])
            idf = self._padded_idf(np.log(1 + number / (1 + in_documents)))
        self._know([self._token_of(key) for key in order], idf)

    def _documents(self, data: Any, steps: int | None) -> Iterator[list[Any]]:
        """The keys of the tokens in each row of the data."""
        batches = batches_in(data, "data")
        for batch in [self._apart(data)] if batches is None else islice(batches, steps):
            keys, lengths, _ = self._rows(batch)
            each = iter(keys)
            yield from (list(islice(each, length)) for length in lengths.tolist())

    def _apart(self, data: Any) -> Array:
        """All of the data as rows; if it has one axis, each item is a row."""
        array = text_array(data, "data")
        return array[:, None] if array.ndim == 1 else array

    def get_config(self) -> dict[str, Any]:
        known = bool(self._tokens)
        idf = None if self._idf is None else self._idf[: self.vocabulary_size()].tolist()
        vocabulary = self.get_vocabulary() if known else None
        return {**super().get_config(), "vocabulary": vocabulary, "idf_weights": idf}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A layer made from what `get_config` returned, of this layer or of Keras's.

        Raises:
            ValueError: the vocabulary is the name of a file: a model must not choose which files
                are read.
        """
        if isinstance(config.get("vocabulary"), (str, bytes)):
            raise ValueError(
                f"vocabulary of a {cls.__name__} in a file must be a list of tokens, not the name "
                f"of another file: {shown(config['vocabulary'])}"
            )
        return cls(**{key: value for key, value in config.items() if key not in _NOT_TAKEN})

    @property
    def _first(self) -> int:
        """The id of the first token of the vocabulary."""
        return self._first_unknown + self.num_oov_indices

    @property
    def _first_unknown(self) -> int:
        return int(self.mask_token is not None and self.output_mode == "int")

    def _special(self) -> list[Any]:
        return [self.mask_token] * self._first_unknown + [self.oov_token] * self.num_oov_indices

    def _depth(self) -> int:
        if self.pad_to_max_tokens and self.max_tokens is not None:
            return self.max_tokens
        if not self._tokens:
            raise self._nothing_known()
        return self.vocabulary_size()

    def _nothing_known(self) -> ValueError:
        return ValueError(
            f"layer {self.name!r} has no vocabulary: give it one, with vocabulary= or "
            "set_vocabulary(list), or let it adapt(data)"
        )

    def _check(self, tokens: list[Any]) -> None:
        repeated = [token for token, count in Counter(tokens).items() if count > 1]
        if repeated:
            raise ValueError(f"vocabulary must have no token twice, but has {repeated[:5]}")
        for name in ("mask_token", "oov_token") if self.invert else ("mask_token",):
            token = getattr(self, name)
            if token is not None and token in tokens:
                raise ValueError(
                    f"vocabulary must have {name} {token!r} at its place or not at all: it begins "
                    f"with {self._special()} or has none of these"
                )
        size = self._first + len(tokens)
        if self.max_tokens is not None and size > self.max_tokens:
            raise ValueError(
                f"vocabulary must have at most max_tokens, {self.max_tokens}, with those for the "
                f"mask and for unknown tokens, not {size}"
            )
        if not tokens:
            raise ValueError("vocabulary must have a token besides those for mask and unknown ones")

    def _checked_idf(self, idf_weights: Any, count: int, found: bool) -> Array:
        idf = real_array(idf_weights, "idf_weights", np.dtype(np.float64))
        if idf.shape != (count,):
            raise ValueError(
                f"idf_weights must be one for each of {count} tokens, not of shape {idf.shape}"
            )
        return self._padded_idf(idf, 0 if found else self._first)

    def _padded_idf(self, idf: Array, before: int | None = None) -> Array:
        """The weights, with their mean for unknown tokens and 0 for what is not there."""
        before = self._first if before is None else before
        more = self.max_tokens - before - len(idf) if self.max_tokens is not None else 0
        more = more if self.pad_to_max_tokens else 0
        mean = np.full(before, idf.mean())
        return np.concatenate([mean, idf, np.zeros(more)]).astype(np.float64)

    def _know(self, tokens: list[Any], idf: Array | None) -> None:
        """Make the table of ids."""
        sized = self.output_mode != "int" and not self.pad_to_max_tokens
        if self.built and sized and self._tokens and len(tokens) != len(self._tokens):
            raise ValueError(
                f"vocabulary of layer {self.name!r} must keep its {len(self._tokens)} tokens, "
                f"which decide on the shape of its outputs, now that it is built, not {len(tokens)}"
            )
        ids = ((self._key(token), number) for number, token in enumerate(tokens, self._first))
        table = Table(ids, self._other)
        if self.mask_token is not None:
            table[self._key(self.mask_token)] = 0 if self.output_mode == "int" else -1
        self._tokens, self._idf, self._table = tokens, idf, table

    def _other(self, key: Any) -> int:
        """The id of a token that is not in the vocabulary."""
        if not self.num_oov_indices:
            raise ValueError(
                f"inputs of layer {self.name!r} hold {self._token_of(key)!r}, which is not in its "
                "vocabulary, and num_oov_indices is 0"
            )
        if self.num_oov_indices == 1:
            return self._first_unknown
        return self._first_unknown + self._bucket(key)

    def _bucket(self, key: Any) -> int:
        if isinstance(key, int):
            if self.oov_method == "floormod":
                return key % self.num_oov_indices
            key = str(key).encode()
        number = farmhash(key) if self.salt is None else siphash(key, self.salt)
        return number % self.num_oov_indices

    def _rows(self, inputs: Any) -> Rows:
        """The tokens in inputs."""
        raise NotImplementedError

    def _token(self, value: Any, name: str) -> Any:
        """A token from the user, in the form that `get_vocabulary` returns."""
        raise NotImplementedError

    def _key(self, token: Any) -> Any:
        """The key of a token in tables."""
        raise NotImplementedError

    def _token_of(self, key: Any) -> Any:
        """The token of a key."""
        raise NotImplementedError

    def _lines(self, path: str) -> list[Any]:
        """The tokens in a file."""
        with open(path, encoding="utf-8") as file:
            lines = file.read().split("\n")
        while lines and not lines[-1]:
            lines.pop()
        return lines


def _salt(value: int | Sequence[int] | None) -> list[int] | None:
    """The key of a hash, two numbers."""
    if value is None:
        return None
    both = list(value) if isinstance(value, (list, tuple)) else [value, value]
    if len(both) != 2:
        raise ValueError(f"salt must be an integer or two of them, not {value!r}")
    return [whole_number(one, "salt", -(2**63)) for one in both]
