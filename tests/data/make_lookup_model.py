"""Writes models/lookups.keras, a model with vocabularies and named calls, and what it computes.

    python tests/data/make_lookup_model.py

Needs Keras on TensorFlow, as Keras's text layers do.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import numpy as np
import tensorflow as tf
from keras import layers as L

FOLDER = Path(__file__).parent / "models"
TEXTS = np.array(["The cat sat!", "a dog, the dog", "", "cat é sat on the mat"])
WORDS = np.array([["a", "zz", "b"], ["c", "", "q"], ["b", "b", "a"], ["", "", ""]])
NUMBERS = np.array([[5, 7, 1], [9, 9, 2], [5, 5, 5], [0, 1, 2]])


def model() -> keras.Model:
    """A model with all kinds of lookups and five outputs."""
    counts = L.TextVectorization(12, ngrams=2, output_mode="tf_idf")
    counts.adapt(["the cat sat on the mat", "a dog and a cat", "the dog"])
    ids = L.StringLookup(num_oov_indices=3, mask_token="")
    ids.adapt([["a", "b"], ["b", "c"]])
    known = L.IntegerLookup(output_mode="multi_hot")
    known.adapt(np.array([5, 5, 7, 9]))
    scaled, bins = L.Normalization(), L.Discretization(num_bins=4)
    scaled.adapt(NUMBERS.astype("float32"))
    bins.adapt(NUMBERS.astype("float32"))
    texts, words = keras.Input((1,), dtype="string"), keras.Input((3,), dtype="string")
    numbers = keras.Input((3,), dtype="int64")
    x = L.Embedding(9, 4, mask_zero=True)(ids(words))
    heads = L.MultiHeadAttention(2, 3, use_gate=True)
    seen, weights = heads(query=x, value=x, return_attention_scores=True)
    floats = L.Rescaling(1.0)(numbers)
    groups = L.CategoryEncoding(4, "count")(bins(floats))
    return keras.Model(
        [texts, words, numbers],
        [
            counts(texts),
            L.GRU(3)(seen),
            weights,
            known(numbers),
            L.Add()([scaled(floats)] * 2),
            groups,
        ],
    )


def main() -> None:
    keras.utils.set_random_seed(0)
    made = model()
    texts, words = TEXTS[:, None], WORDS
    outputs = made.predict([tf.constant(texts), tf.constant(words), NUMBERS], verbose=0)
    made.save(FOLDER / "lookups.keras")
    inputs = {f"x{i}": one for i, one in enumerate((texts, words, NUMBERS))}
    expected = {f"y{i}": np.asarray(one) for i, one in enumerate(outputs)}
    np.savez_compressed(FOLDER / "lookups.io.npz", **inputs, **expected)
    print(f"written by Keras {keras.__version__}")


if __name__ == "__main__":
    main()
