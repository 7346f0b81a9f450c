"""Train a masked text classifier with Keras's fit, before and after fastmask.keras.convert.

The task: is a paragraph from Python's documentation or from NumPy's? The text comes with Python
(the topics of `help()`) and with NumPy (its docstrings), and its paragraphs have from 4 to 60
words, so most of a padded batch is masked. Both runs start from the same weights and see the same
batches; the curves coincide, and the epochs take less time.

Needs Keras 3 with any backend (KERAS_BACKEND)::

    KERAS_BACKEND=torch python examples/train_text_keras.py
"""

from __future__ import annotations

import argparse
import inspect
import re
import time
from collections import Counter
from pydoc_data.topics import topics
from typing import Any

import keras
import numpy as np
from keras import layers

import fastmask as fm
import fastmask.keras

WORDS = 4000
LONGEST = 60


def paragraphs(text: str) -> list[list[str]]:
    """The words of each paragraph that has at least four."""
    found = [re.findall(r"[a-z]+", part.lower())[:LONGEST] for part in text.split("\n\n")]
    return [words for words in found if len(words) >= 4]


def read() -> tuple[list[list[str]], np.ndarray]:
    """Paragraphs, and 1 for those of NumPy."""
    python = [p for topic in topics.values() for p in paragraphs(topic)]
    modules = (np, np.linalg, np.random, np.fft, np.ma, np.char, np.polynomial.polynomial)
    members = {id(value): value for module in modules for value in vars(module).values()}
    docs = [inspect.getdoc(value) or "" for value in members.values() if callable(value)]
    numpy = [p for text in dict.fromkeys(docs) for p in paragraphs(text)]
    count = min(len(python), len(numpy))
    rng = np.random.default_rng(0)
    chosen = [texts[i] for texts in (python, numpy) for i in rng.permutation(len(texts))[:count]]
    labels = np.repeat([0.0, 1.0], count).astype("float32")
    order = rng.permutation(2 * count)
    return [chosen[i] for i in order], labels[order]


def as_numbers(texts: list[list[str]]) -> np.ndarray:
    """Word ids: from 2 on by frequency, 1 for all other words, 0 for padding."""
    counts = Counter(word for words in texts for word in words)
    numbers = {word: i for i, (word, _) in enumerate(counts.most_common(WORDS - 2), 2)}
    rows = [[numbers.get(word, 1) for word in words] for words in texts]
    return fm.pad_sequences(rows, padding="post")


def classifier() -> Any:
    keras.utils.set_random_seed(7)
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(WORDS, 32, mask_zero=True),
            layers.Bidirectional(layers.LSTM(32, return_sequences=True)),
            layers.GRU(32),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model


class Seconds(keras.callbacks.Callback):
    """How long each epoch takes."""

    def on_train_begin(self, *_: Any) -> None:
        self.found: list[float] = []

    def on_epoch_begin(self, *_: Any) -> None:
        self.begin = time.perf_counter()

    def on_epoch_end(self, *_: Any) -> None:
        self.found.append(time.perf_counter() - self.begin)


def trained(convert: bool, x: Any, y: Any, held_out: tuple[Any, Any], epochs: int) -> Any:
    """Losses and seconds of the epochs, and the accuracy on held-out paragraphs."""
    model, seconds = classifier(), Seconds()
    if convert:
        print("converted:", fastmask.keras.convert(model))
    fit = model.fit(
        x, y, batch_size=64, epochs=epochs, shuffle=False, verbose=0, callbacks=[seconds]
    )
    return fit.history["loss"], seconds.found, model.evaluate(*held_out, verbose=0)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rows", type=int, default=4000, help="paragraphs to train on")
    options = parser.parse_args()
    texts, labels = read()
    ids = as_numbers(texts)
    x, y = ids[: options.rows], labels[: options.rows]
    held_out = ids[options.rows :][:1000], labels[options.rows :][:1000]
    print(f"{len(x)} paragraphs, {np.mean(x != 0):.0%} of the steps valid")
    (loss, seconds, score), (our_loss, our_seconds, our_score) = (
        trained(convert, x, y, held_out, options.epochs) for convert in (False, True)
    )
    print("epoch   loss: Keras  fastmask   seconds: Keras  fastmask")
    for epoch, row in enumerate(zip(loss, our_loss, seconds, our_seconds, strict=True), 1):
        print("{:5}   {:11.5f}  {:8.5f}   {:14.1f}  {:8.1f}".format(epoch, *row))
    print(f"accuracy on {len(held_out[0])} others: Keras {score:.3f}, fastmask {our_score:.3f}")


if __name__ == "__main__":
    main()
