"""Train the demo model of fastmask in Keras and rebuild its data folder.

The task: which of nine men said "ae"?  Each utterance of the Japanese Vowels
set is a short sequence (7 to 29 frames) of 12 LPC cepstrum coefficients, so
batches must be padded and masked, which is what fastmask is about.

The script

1. reads ``JapaneseVowels_TRAIN.ts`` and ``JapaneseVowels_TEST.ts``, which come
   inside the sktime (or aeon) wheel;
2. writes the test set to ``japanese_vowels.npz``;
3. trains on the training set; ``--cross-validate`` first evaluates the
   settings *within the training set*;
4. folds the standardization of the inputs into the first LSTM, so that the
   model takes the raw coefficients;
5. writes Keras's own predictions for the test set to ``japanese_vowels_keras.npz``;
6. saves the model to ``japanese_vowels_lstm.keras``.

Needs Keras 3 with any backend (torch unless ``KERAS_BACKEND`` says otherwise)
and about a minute on one core, five with ``--cross-validate``::

    pip download --no-deps sktime
    python examples/train_japanese_vowels.py --sktime-wheel sktime-*.whl

If sktime is installed, no option is needed. A seeded run is reproducible on
one machine; another machine, thread count or version of the backend rounds
differently and so ends at slightly different weights.  Hence the three files
belong together: replace all of them or none.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import zipfile
from pathlib import Path
from typing import NamedTuple

# Before the imports, which read them.  The matrices are so small that a second
# thread gains little, and on a busy machine the threads wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np

N_COEFFICIENTS = 12
N_SPEAKERS = 9
N_FOLDS = 5
BATCH_SIZE = 27
LEARNING_RATE = 3e-3  # at the start; it falls to zero along a cosine
DROPOUT = 0.4
LABEL_SMOOTHING = 0.1  # 270 utterances are few, and the network is soon too sure of them

# Utterances per speaker, from the description of the set at UCI.
TRAIN_COUNTS = [30] * N_SPEAKERS
TEST_COUNTS = [31, 35, 88, 44, 29, 24, 40, 50, 29]

DEFAULT_OUT = Path(__file__).resolve().parents[1] / "src" / "fastmask" / "data"


class Utterances(NamedTuple):
    """Sequences of unequal length, each (frames, 12) float64, and who spoke them."""

    sequences: list[np.ndarray]
    labels: np.ndarray


class Scaling(NamedTuple):
    """Mean and standard deviation of each coefficient, float64 (12,)."""

    mean: np.ndarray
    std: np.ndarray


# --- reading -----------------------------------------------------------------


def read_ts_files(wheel: Path | None, folder: Path | None) -> tuple[str, str]:
    """Return the text of the TRAIN and the TEST file."""
    names = "JapaneseVowels_TRAIN.ts", "JapaneseVowels_TEST.ts"
    if wheel is not None:
        with zipfile.ZipFile(wheel) as archive:
            train, test = (read_member(archive, name) for name in names)
        return train, test
    if folder is None:
        folder = installed_sktime_folder()
    train, test = ((folder / name).read_text(encoding="utf-8") for name in names)
    return train, test


def read_member(archive: zipfile.ZipFile, name: str) -> str:
    """Return the text of the one file in a wheel that is called ``name``."""
    # By the end of its name: sktime and aeon keep the same file below different packages.
    found = [m for m in archive.namelist() if m.endswith(f"/JapaneseVowels/{name}")]
    if len(found) != 1:
        raise SystemExit(f"{archive.filename}: expected one {name}, found {len(found)}")
    return archive.read(found[0]).decode("utf-8")


def installed_sktime_folder() -> Path:
    """Return the folder of the two files in an installed sktime."""
    # find_spec only looks sktime up; importing it would take seconds.
    spec = importlib.util.find_spec("sktime")
    if spec is None or spec.origin is None:
        raise SystemExit("sktime is not installed: give --sktime-wheel or --data-dir")
    return Path(spec.origin).parent / "datasets" / "data" / "JapaneseVowels"


def parse_ts(text: str) -> Utterances:
    """Parse the ``.ts`` format, as far as this set uses it.

    After ``@data`` each line is one utterance: 12 comma-separated series, one
    per coefficient, then the speaker (1 to 9), all separated by colons.
    """
    _, _, body = text.partition("@data")
    sequences, labels = [], []
    for line in body.split():
        *series, speaker = line.split(":")
        columns = [np.array(one.split(","), dtype=np.float64) for one in series]
        sequences.append(np.stack(columns, axis=1))  # raises if lengths differ
        labels.append(int(speaker) - 1)
    return Utterances(sequences, np.array(labels))


def check_set(data: Utterances, counts: list[int]) -> None:
    """Compare a set with its published description; raise ValueError if it differs."""
    if np.bincount(data.labels, minlength=N_SPEAKERS).tolist() != counts:
        raise ValueError("the number of utterances per speaker is not as published")
    if {x.shape[1] for x in data.sequences} != {N_COEFFICIENTS}:
        raise ValueError("an utterance does not have 12 coefficients")
    if not all(7 <= len(x) <= 29 for x in data.sequences):
        raise ValueError("an utterance is not 7 to 29 frames long")
    frames = np.concatenate(data.sequences)
    if not np.isfinite(frames).all() or (frames == 0).all(axis=1).any():
        # A frame of zeros would pass for padding.
        raise ValueError("a frame is not finite, or is all zeros")


def write_test_set(data: Utterances, path: Path) -> None:
    """Write the utterances end to end, with their lengths and speakers."""
    values = np.concatenate(data.sequences)
    single = values.astype(np.float32)
    # The text has six decimals: float32 loses nothing if it gives them back.
    if not np.array_equal(single.astype(np.float64).round(6), values):
        raise ValueError("float32 does not hold what the text says")
    lengths = np.array([len(x) for x in data.sequences], dtype=np.int32)
    labels = data.labels.astype(np.uint8)
    np.savez_compressed(path, values=single, lengths=lengths, labels=labels)


# --- batches -----------------------------------------------------------------


def fit_scaling(data: Utterances) -> Scaling:
    """Return the mean and the standard deviation over all real frames."""
    frames = np.concatenate(data.sequences)
    return Scaling(frames.mean(axis=0), frames.std(axis=0))


def pad(data: Utterances, scaling: Scaling | None = None) -> np.ndarray:
    """Return float32 (utterances, frames, 12), padded with zeros at the end.

    With ``scaling`` the real frames are standardized; the padding stays zero,
    the value that ``Masking`` looks for.
    """
    mean, std = scaling if scaling is not None else (0.0, 1.0)
    longest = max(len(x) for x in data.sequences)
    shape = len(data.sequences), longest, N_COEFFICIENTS
    batch = np.zeros(shape, dtype=np.float32)
    for row, x in zip(batch, data.sequences, strict=True):
        row[: len(x)] = (x - mean) / std
    return batch


def subset(data: Utterances, keep: np.ndarray) -> Utterances:
    """Return the utterances where the boolean array ``keep`` is true."""
    chosen = [x for x, wanted in zip(data.sequences, keep, strict=True) if wanted]
    return Utterances(chosen, data.labels[keep])


def fold_of_each(data: Utterances) -> np.ndarray:
    """Return the fold (0 to 4) of each utterance; every speaker is in every fold."""
    folds = np.empty(len(data.labels), dtype=int)
    for speaker in range(N_SPEAKERS):
        mine = np.flatnonzero(data.labels == speaker)
        # Runs of neighbors, which were likely spoken in one go: dealing them out
        # would put near copies on both sides and flatter the model.
        folds[mine] = np.arange(len(mine)) * N_FOLDS // len(mine)
    return folds


# --- model -------------------------------------------------------------------


def build_model(dropout: float = 0.0) -> keras.Sequential:
    """Return the network; without dropout it is the one to be saved."""
    model = keras.Sequential(
        [
            keras.Input((None, N_COEFFICIENTS)),
            keras.layers.Masking(mask_value=0.0),
            keras.layers.LSTM(64, return_sequences=True),
        ]
    )
    if dropout:
        model.add(keras.layers.Dropout(dropout))
    model.add(keras.layers.LSTM(48))
    if dropout:
        model.add(keras.layers.Dropout(dropout))
    model.add(keras.layers.Dense(N_SPEAKERS, activation="softmax"))
    return model


def train(
    data: Utterances,
    epochs: int,
    seed: int,
    held_out: Utterances | None = None,
) -> tuple[keras.Sequential, Scaling, dict[str, list[float]]]:
    """Train a fresh model; return it, its scaling and the course of the training."""
    keras.utils.set_random_seed(seed)
    scaling = fit_scaling(data)
    model = build_model(DROPOUT)
    steps = epochs * -(-len(data.labels) // BATCH_SIZE)
    model.compile(
        optimizer=keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
        ),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=LABEL_SMOOTHING),
        metrics=["accuracy"],
    )
    speakers = np.eye(N_SPEAKERS, dtype=np.float32)
    check = held_out and (pad(held_out, scaling), speakers[held_out.labels])
    history = model.fit(
        pad(data, scaling),
        speakers[data.labels],
        batch_size=BATCH_SIZE,
        epochs=epochs,
        validation_data=check,
        verbose=0,
    )
    return model, scaling, history.history


def cross_validate(data: Utterances, epochs: int, seed: int) -> None:
    """Print how well the network does on held-out utterances."""
    folds = fold_of_each(data)
    accuracies = []
    for fold in range(N_FOLDS):
        fitted, held_out = subset(data, folds != fold), subset(data, folds == fold)
        _, _, history = train(fitted, epochs, seed + fold, held_out)
        accuracies.append(history["val_accuracy"][-1])
        print(f"fold {fold}: held-out accuracy {accuracies[-1]:.3f}", flush=True)
    print(f"mean held-out accuracy {np.mean(accuracies):.4f}")


def fold_scaling(weights: list[np.ndarray], scaling: Scaling) -> list[np.ndarray]:
    """Return the weights of the same network for inputs that are not standardized.

    ``((x - mean) / std) @ kernel + bias`` is
    ``x @ (kernel / std) + (bias - (mean / std) @ kernel)``.
    """
    kernel, recurrent_kernel, bias, *rest = weights
    kernel = kernel.astype(np.float64)  # round once, at the end
    new_kernel = kernel / scaling.std[:, None]
    new_bias = bias - (scaling.mean / scaling.std) @ kernel
    folded = [new_kernel, recurrent_kernel, new_bias, *rest]
    return [w.astype(np.float32) for w in folded]


def predict(model: keras.Sequential, batch: np.ndarray) -> np.ndarray:
    """Return the probabilities of the nine speakers, float32 (utterances, 9)."""
    return model.predict(batch, batch_size=len(batch), verbose=0)


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of utterances given to the right speaker."""
    return float((probabilities.argmax(axis=1) == labels).mean())


# --- writing -----------------------------------------------------------------


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--sktime-wheel", type=Path, help="a wheel of sktime (or aeon), not installed"
    )
    source.add_argument(
        "--data-dir", type=Path, help="a folder with the two JapaneseVowels .ts files"
    )
    parser.add_argument("--epochs", type=int, default=40, help="default: 40")
    parser.add_argument(
        "--cross-validate", action="store_true", help="first, within the training set"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="default: the package's data")
    parser.add_argument(
        "--weights-out", type=Path, help="also write Keras's weights here (w0, w1, ...)"
    )
    return parser.parse_args()


def main() -> None:
    """Run all six steps."""
    args = parse_arguments()
    texts = read_ts_files(args.sktime_wheel, args.data_dir)
    train_set, test_set = (parse_ts(text) for text in texts)
    check_set(train_set, TRAIN_COUNTS)
    check_set(test_set, TEST_COUNTS)
    args.out.mkdir(parents=True, exist_ok=True)
    write_test_set(test_set, args.out / "japanese_vowels.npz")

    if args.cross_validate:
        cross_validate(train_set, args.epochs, args.seed)
    trained, scaling, _ = train(train_set, args.epochs, args.seed)
    model = build_model()
    model.set_weights(fold_scaling(trained.get_weights(), scaling))

    # The test set is used here for the first time, and only to report.
    reference = predict(model, pad(test_set))
    change = np.abs(reference - predict(trained, pad(test_set, scaling))).max()
    on_train = accuracy(predict(model, pad(train_set)), train_set.labels)
    print(f"folding changed the probabilities by at most {change:.1e}")
    print(f"accuracy: train {on_train:.4f}", end=", ")
    print(f"test {accuracy(reference, test_set.labels):.4f}")

    weights = model.get_weights()
    if args.weights_out is not None:
        named = {f"w{i}": w for i, w in enumerate(weights)}
        np.savez(args.weights_out, **named)
    np.savez_compressed(args.out / "japanese_vowels_keras.npz", probabilities=reference)
    model.save(args.out / "japanese_vowels_lstm.keras")


if __name__ == "__main__":
    main()
