"""`python -m tests.soak`; see the package."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
import tempfile
import time


def main() -> int:
    """Run the program; the exit status is 1 if anything failed."""
    parser = argparse.ArgumentParser("python -m tests.soak", description="Random work for long.")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, help="of all cases; a new one by default")
    parser.add_argument("--loads", nargs="+", default=[], help="only these; see tests/soak/loads")
    parser.add_argument("--ways", nargs="+", default=[], help="only these; see tests/soak/ways.py")
    parser.add_argument("--case", help="WAY:LOAD:SEED, only this one, as a failure names it")
    parser.add_argument("--times", type=int, default=1, help="how often, with --case")
    options = parser.parse_args()
    # NumPy's OpenBLAS hangs at a fork while its own threads multiply.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if options.case:
        return _run(options)
    # A cache of our own, whose files will be damaged. It starts as a copy of NUMBA_CACHE_DIR;
    # without one it is empty, and compiling takes half an hour on a busy machine.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        known = os.environ.get("NUMBA_CACHE_DIR", "")
        if os.path.isdir(known):
            shutil.copytree(known, folder, dirs_exist_ok=True)
        os.environ["NUMBA_CACHE_DIR"] = folder
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    from .loads import find  # imports Numba, which reads NUMBA_CACHE_DIR then
    from .program import Case, Outcome, soak

    if options.case:
        way, load, seed = options.case.split(":")
        find(torch=load.startswith("torch"))
        outcome = Outcome()
        case = Case(way, load, int(seed))
        for _ in range(options.times):
            if not outcome.attempt(case):
                return 1
        return 0
    find(torch=not options.loads or any(load.startswith("torch") for load in options.loads))
    seed = secrets.randbits(32) if options.seed is None else options.seed
    print(f"soaking for {options.minutes:g} minutes with --seed {seed}", flush=True)
    begin = time.monotonic()
    outcome = soak(60 * options.minutes, seed, options.loads, options.ways)
    print(outcome.table())
    print(f"{len(outcome.failed)} failed, {time.monotonic() - begin:.0f} s")
    for case in outcome.failed:
        print(f"  {case}")
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    sys.exit(main())
