"""Ten thousand live streams, one LSTM: only the streams with an event are computed.

    python examples/streaming.py
    python examples/streaming.py --streams 1000 --units 64 --share 0.02

Sensors, users or connections send events at irregular times. Their states stay in one place;
`LSTM.step` takes the events of a moment, computes one step for the streams that have one, and
leaves the others alone, so a moment costs only what its events cost. The program prints the events
per second, and how much longer a moment takes if all streams step, as without a mask.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

import fastmask as fm

FEATURES = 16


def seconds(step: Callable[[int], object], moments: int) -> float:
    """The mean time of a moment, leaving out the slowest tenth."""
    taken = []
    for moment in range(moments):
        start = time.perf_counter()
        step(moment)
        taken.append(time.perf_counter() - start)
    return float(np.mean(sorted(taken)[: max(1, moments * 9 // 10)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--share", type=float, default=0.05, help="of streams with an event")
    parser.add_argument("--moments", type=int, default=100)
    args = parser.parse_args()

    random = np.random.default_rng(0)
    layer = fm.layers.LSTM(args.units)
    x = random.normal(size=(args.streams, FEATURES)).astype(np.float32)
    events = random.random((args.moments, args.streams)) < args.share

    state = layer.get_initial_state(args.streams)
    layer.step(x, state)  # compiles the kernel
    some = seconds(lambda moment: layer.step(x, state, mask=events[moment]), args.moments)
    everybody = seconds(lambda _: layer.step(x, state), args.moments)

    print(f"{args.streams:,} streams, {args.units} units, {args.share:.0%} with an event")
    rate = events.mean() * args.streams / some
    print(f"only these:  {some * 1e3:7.2f} ms a moment, {rate:,.0f} events/s")
    print(f"all streams: {everybody * 1e3:7.2f} ms a moment, {everybody / some:.1f} times as long")


if __name__ == "__main__":
    main()
