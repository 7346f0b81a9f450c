"""Calls of text and category layers that are compared with Keras.

Keras's answers are in `data/text_golden.json`, written by `data/make_text_golden.py`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

PATH = Path(__file__).parent / "data" / "text_golden.json"
TEXTS = [
    "The cat, sat on the mat!",
    "dog",
    "",
    "  É ÉCOLE  the\x1cx\u00a0y\tcat \x0b dog\u2003don't",
    "the the the cat sat (mat) [on] 漢字 漢 😀",
]
SOME = ["b b a a c d e e", "f a", "E! e? 漢"]
WORDS = ["the", "cat", "sat", "the cat", "cat sat on", "école", "É", "漢"]
LETTERS = [*"the é漢", "É"]
TOKENS = [["the", "cat", "x"], ["", "cat", "cat"]]
MANY = [
    "the",
    "x",
    "",
    "a" * 9,
    "b" * 20,
    "c" * 33,
    "d" * 64,
    "e" * 65,
    "f" * 128,
    "g" * 200,
    "漢字",
]
NUMBERS = [[5, 7, 9], [0, 5, 5]]
REAL = [[-1.5, 1.0, 3.4, 0.5], [0.0, 3.0, 1.3, 0.0]]
IDF = [0.5, 0.2, 0.1, 0.4, 0.3, 0.6, 0.7, 0.8]


class Case(NamedTuple):
    """A layer, the data it adapts to or None, and its input."""

    make: Callable[[Any], Any]
    inputs: Any
    adapt: Any = None


CASES: dict[str, Case] = {}
for _how, _split in itertools.product(
    ("lower_and_strip_punctuation", "lower", "strip_punctuation", None), ("whitespace", "character")
):
    CASES[f"text_{_how}_{_split}"] = Case(
        lambda L, how=_how, split=_split: L.TextVectorization(
            standardize=how, split=split, vocabulary=WORDS if split == "whitespace" else LETTERS
        ),
        TEXTS,
    )
for _mode in ("int", "multi_hot", "count", "tf_idf"):
    _idf = IDF if _mode == "tf_idf" else None
    CASES[f"text_{_mode}"] = Case(
        lambda L, mode=_mode, idf=_idf: L.TextVectorization(
            output_mode=mode, ngrams=2, vocabulary=WORDS, idf_weights=idf
        ),
        [[text] for text in TEXTS],
    )
    CASES[f"text_{_mode}_padded"] = Case(
        lambda L, mode=_mode, idf=_idf: L.TextVectorization(
            *(12, "lower", "whitespace", (3, 1), mode),
            pad_to_max_tokens=True,
            vocabulary=WORDS,
            idf_weights=idf,
        ),
        TEXTS,
    )
    CASES[f"text_{_mode}_adapted"] = Case(
        lambda L, mode=_mode: L.TextVectorization(max_tokens=6, output_mode=mode), SOME, SOME
    )
    CASES[f"text_{_mode}_tokens"] = Case(
        lambda L, mode=_mode, idf=_idf: L.TextVectorization(
            split=None, output_mode=mode, vocabulary=WORDS, idf_weights=idf
        ),
        TOKENS,
    )
    CASES[f"strings_{_mode}_adapted"] = Case(
        lambda L, mode=_mode: L.StringLookup(output_mode=mode), TOKENS, [*TOKENS, ["the", "x", "x"]]
    )
for _mode in ("int", "one_hot", "multi_hot", "count", "tf_idf"):
    _idf = IDF if _mode == "tf_idf" else None
    CASES[f"strings_{_mode}"] = Case(
        lambda L, mode=_mode, idf=_idf: L.StringLookup(
            num_oov_indices=2, mask_token="", output_mode=mode, vocabulary=WORDS, idf_weights=idf
        ),
        TOKENS,
    )
    CASES[f"strings_{_mode}_row"] = Case(
        lambda L, mode=_mode, idf=_idf: L.StringLookup(
            12, output_mode=mode, vocabulary=WORDS, idf_weights=idf, pad_to_max_tokens=True
        ),
        TOKENS[0],
    )
    CASES[f"strings_{_mode}_column"] = Case(
        lambda L, mode=_mode, idf=_idf: L.StringLookup(
            output_mode=mode, vocabulary=WORDS, idf_weights=idf
        ),
        [["the"], ["x"]],
    )
    CASES[f"integers_{_mode}"] = Case(
        lambda L, mode=_mode, idf=_idf: L.IntegerLookup(
            num_oov_indices=3,
            mask_token=0,
            output_mode=mode,
            vocabulary=[5, 7],
            idf_weights=idf and idf[:2],
        ),
        NUMBERS,
    )
for _mode in ("one_hot", "multi_hot", "count"):
    CASES[f"categories_{_mode}"] = Case(lambda L, mode=_mode: L.CategoryEncoding(10, mode), NUMBERS)
    CASES[f"categories_{_mode}_row"] = Case(
        lambda L, mode=_mode: L.CategoryEncoding(10, mode), NUMBERS[0]
    )
for _mode in ("int", "one_hot", "multi_hot", "count"):
    CASES[f"intervals_{_mode}"] = Case(
        lambda L, mode=_mode: L.Discretization([0.0, 1.0, 2.0], output_mode=mode), REAL
    )
    CASES[f"intervals_{_mode}_adapted"] = Case(
        lambda L, mode=_mode: L.Discretization(num_bins=4, output_mode=mode), REAL, REAL
    )
CASES |= {
    "text_cut": Case(
        lambda L: L.TextVectorization(output_sequence_length=3, vocabulary=WORDS), TEXTS
    ),
    "text_filled_up": Case(
        lambda L: L.TextVectorization(output_sequence_length=12, vocabulary=WORDS), TEXTS
    ),
    "text_special": Case(
        lambda L: L.TextVectorization(vocabulary=["", "[UNK]", "cat", "the"]), TEXTS
    ),
    "text_tokens_cut": Case(
        lambda L: L.TextVectorization(
            split=None, ngrams=2, output_sequence_length=4, vocabulary=WORDS
        ),
        TOKENS,
    ),
    "text_many_adapted": Case(lambda L: L.TextVectorization(), TEXTS, TEXTS),
    "text_ngrams_adapted": Case(lambda L: L.TextVectorization(8, ngrams=2), SOME, SOME),
    "strings_many": Case(lambda L: L.StringLookup(num_oov_indices=997, vocabulary=WORDS), MANY),
    "strings_salt": Case(
        lambda L: L.StringLookup(num_oov_indices=997, vocabulary=WORDS, salt=[133, 137]), MANY
    ),
    "strings_none_unknown": Case(
        lambda L: L.StringLookup(num_oov_indices=0, mask_token="", vocabulary=WORDS), ["the", ""]
    ),
    "strings_special": Case(
        lambda L: L.StringLookup(
            output_mode="tf_idf", vocabulary=["[UNK]", "the", "cat"], idf_weights=[0.9, 0.2, 0.1]
        ),
        TOKENS,
    ),
    "strings_invert": Case(
        lambda L: L.StringLookup(vocabulary=WORDS, invert=True), [[0, 1, 8], [9, -1, 100]]
    ),
    "strings_invert_mask": Case(
        lambda L: L.StringLookup(
            num_oov_indices=2, mask_token="", oov_token="?", vocabulary=WORDS, invert=True
        ),
        [[0, 1, 2], [3, 10, 11]],
    ),
    "integers_invert": Case(
        lambda L: L.IntegerLookup(vocabulary=[5, 7], mask_token=0, invert=True), [[0, 1, 2, 3, 4]]
    ),
    "integers_adapted": Case(
        lambda L: L.IntegerLookup(max_tokens=4), NUMBERS, [3, 3, 1, 2, 2, -1, 5]
    ),
    "integers_negative": Case(
        lambda L: L.IntegerLookup(num_oov_indices=3, vocabulary=[5, -7]), [5, -7, -2, -1, 100]
    ),
    "integers_farmhash": Case(
        lambda L: L.IntegerLookup(num_oov_indices=97, vocabulary=[5, 7], oov_method="farmhash"),
        [5, 0, 1, -12, 123456789012],
    ),
    "integers_siphash": Case(
        lambda L: L.IntegerLookup(
            num_oov_indices=97, vocabulary=[5, 7], oov_method="farmhash", salt=9
        ),
        [5, 0, 1, -12, 123456789012],
    ),
    "intervals_many_adapted": Case(
        lambda L: L.Discretization(num_bins=7),
        [0.5, 30.0, 77.7],
        [[float(n * n % 101) for n in range(400)]],
    ),
}


class Answer(NamedTuple):
    """A layer's output, and its vocabulary or boundaries, if any."""

    output: Any
    known: Any


@cache
def _stored() -> dict[str, Any]:
    stored: dict[str, Any] = json.loads(PATH.read_text("utf-8"))
    return stored


def expected(name: str) -> Answer:
    """Keras's answer."""
    return Answer(*_stored()[name])


def knows(layer: Any) -> Any:
    """The vocabulary or the boundaries of a layer, if it has any."""
    if hasattr(layer, "get_vocabulary"):
        listed = layer.get_vocabulary()
        return [str(one) if isinstance(one, str) else int(one) for one in listed]
    return getattr(layer, "bin_boundaries", None)
