"""Packed sequences against padded ones, by length: pytorch#149194, with fastmask as a third.

torch.nn.LSTM takes many times as long on a PackedSequence as on the padded batch, and the ratio
grows with the length of the sequences (https://github.com/pytorch/pytorch/issues/149194). As in
that issue, a batch has lengths that rise evenly from 1 to T, so half of the padded steps are valid,
and runs through two layers; forward and backward are timed separately. `padded` computes all steps,
so its final states are wrong; `packed` packs, computes and pads again; `masked` is fastmask.torch
with a mask. The last two give the same outputs.

    python examples/packed_against_padded.py
    python examples/packed_against_padded.py --lengths 10 100 1000 --threads 1
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import fastmask as fm
from fastmask.torch import convert

LENGTHS = (10, 20, 50, 100, 200, 500, 1000)


def ways(args: argparse.Namespace, time_steps: int) -> dict[str, Callable[[Any], Any]]:
    """From an input (T, B, F) to outputs (T, B, H), in three ways with the same weights."""
    lengths = torch.linspace(1, time_steps, args.batch).round().long()
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(args.features, args.units, num_layers=2)
    fast = torch.nn.LSTM(args.features, args.units, num_layers=2)
    fast.load_state_dict(lstm.state_dict())
    convert(fast)
    mask = fm.Mask.from_lengths(lengths.numpy(), time_steps)

    def packed(x: Any) -> Any:
        sequences = pack_padded_sequence(x, lengths, enforce_sorted=False)
        return pad_packed_sequence(lstm(sequences)[0])[0]

    return {
        "padded": lambda x: lstm(x)[0],
        "packed": packed,
        "masked": lambda x: fast(x, mask=mask)[0],
    }


def timed(run: Callable[[Any], Any], x: Any, seconds: float) -> tuple[float, float]:
    """The shortest times of forward and of backward, in milliseconds, of three calls or more."""
    best = [float("inf"), float("inf")]
    end = time.perf_counter() + seconds
    calls = 0
    while calls < 4 or time.perf_counter() < end:
        start = time.perf_counter()
        out = run(x)
        middle = time.perf_counter()
        out.backward(torch.ones_like(out))
        stop = time.perf_counter()
        if calls:  # the first one compiles, or loads what was compiled
            best = [min(best[0], middle - start), min(best[1], stop - middle)]
        calls += 1
    return best[0] * 1e3, best[1] * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=1.0, help="of measuring, at least")
    parser.add_argument("--threads", type=int, help="of torch and of fastmask")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
        fm.set_num_threads(args.threads)
    print(
        f"LSTM, 2 layers, {args.features} features, {args.units} units, batches of {args.batch}; "
        f"{torch.get_num_threads()} threads\nms, and in % of padded\n"
    )
    print("            forward                                 backward")
    print("    T    padded      packed        masked        padded      packed        masked")
    for length in args.lengths:
        x = torch.randn(length, args.batch, args.features)
        runs = ways(args, length)
        torch.testing.assert_close(runs["masked"](x), runs["packed"](x), rtol=1e-4, atol=1e-4)
        found = {name: timed(run, x, args.seconds) for name, run in runs.items()}
        cells = []
        for part in (0, 1):
            padded, packed, masked = (found[name][part] for name in ("padded", "packed", "masked"))
            cells.append(
                f"{padded:8.2f} {packed:8.2f} {packed / padded:5.0%} {masked:8.2f} "
                f"{masked / padded:5.0%}"
            )
        print(f"{length:5d} " + "   ".join(cells), flush=True)


if __name__ == "__main__":
    main()
