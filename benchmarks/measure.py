"""The measurements of the report: each function returns one section as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from benchmarks import memory, startup, wide
from benchmarks.cases import (
    Case,
    Problem,
    forward_cases,
    kind_cases,
    make_problem,
    quantized_cases,
    training_cases,
)
from benchmarks.limit import FORWARD, PEAK_SIZE, TRAINING, limit_calls, peak_calls
from benchmarks.padding import checked_calls, padding_cases
from benchmarks.peers import FASTMASK, PEERS, Peer, checked_error, contenders
from benchmarks.quantized_peers import QUANTIZED
from benchmarks.streaming import STEPPERS, streaming_cases
from benchmarks.timing import Timing, side_by_side, summarize
from benchmarks.training import TRAINERS

PEAKS = ("float32", "bfloat16", "int8")  # of multiply-adds, by what is multiplied

Section = dict[str, Any]
Calls = dict[str, Callable[[], object]]


def measure_forward(cell: str, threads: int, budget: float, quick: bool) -> Section:
    """Every case with every contender that can do it, then the kinds of mask."""
    return {
        "absent": absent(PEERS),
        "peak": measure_peak(threads, budget),
        "groups": [measure_case(case, threads, budget) for case in forward_cases(cell, quick)],
        "kinds": []
        if FASTMASK.missing()
        else [measure_kinds(cases, threads, budget) for cases in kind_cases(cell, quick)],
    }


def measure_quantized(threads: int, budget: float, quick: bool) -> Section:
    """Forward calls of quantised layers beside float32; nothing where fastmask is not installed."""
    if FASTMASK.missing():
        return {}
    return {
        "absent": absent(QUANTIZED),
        "peak": measure_peak(threads, budget, PEAKS),
        "groups": [
            measure_case(case, threads, budget, QUANTIZED) for case in quantized_cases(quick)
        ],
    }


def measure_training(threads: int, budget: float, quick: bool) -> Section:
    """Forward and backward calls of every cell."""
    return {
        "absent": absent(TRAINERS),
        "peak": measure_peak(threads, budget),
        "groups": [
            measure_case(case, threads, budget, TRAINERS, TRAINING)
            for case in training_cases(quick)
        ],
    }


def measure_memory(threads: int, quick: bool) -> Section:
    """The peak of every training step, each in a process of its own."""
    groups = []
    for case in memory.memory_cases(quick):
        peaks = {
            peer.name: memory.peak_growth(case, peer.name, threads)
            for peer in TRAINERS
            if not peer.missing()
        }
        megabytes = ", ".join(f"{name} {peak / 1e6:.0f}" for name, peak in peaks.items())
        print(f"{case.name} [MB]: {megabytes}", flush=True)
        groups.append({**asdict(case), "bytes": peaks})
    return {"groups": groups, "calls": [] if FASTMASK.missing() else measure_wide()}


def measure_wide() -> list[Section]:
    """The scratch memory of calls of very many rows."""
    found = []
    for call in wide.wide_calls():
        each = {str(threads): wide.wide_bytes(call, threads) for threads in wide.THREADS}
        print(f"{call.title}: {each}", flush=True)
        found.append({"title": call.title, "bytes": each})
    return found


def measure_streaming(threads: int, budget: float) -> Section:
    """One step of many streams."""
    cases = streaming_cases()
    return {"groups": [measure_case(case, threads, budget, STEPPERS, 0) for case in cases]}


def measure_rates(threads: int, budget: float) -> Section:
    """The processor's peak and what comes close to it; nothing where fastmask is not installed."""
    if FASTMASK.missing():
        return {}
    from benchmarks import peaks, rates

    return {
        "fma_flops": peaks.operations(peaks.FLOAT32),
        "meetings": rates.MEETINGS,
        "handover": plain(rates.measure_handover()),
        "shares": [measure_calls(c, rates.share_calls, budget) for c in rates.SHARE_CASES],
        "steps": [
            measure_calls(case, lambda problem: rates.step_calls(problem, threads), budget)
            for case in rates.STEP_CASES
        ],
    }


def measure_calls(case: Case, calls: Callable[[Problem], Calls], budget: float) -> Section:
    """Some calls of one case side by side."""
    problem = make_problem(case)
    timings = side_by_side(calls(problem), budget)
    log(case.name, timings)
    return {**asdict(case), "flops": problem.flops, "seconds": plain(timings)}


def absent(peers: tuple[Peer, ...]) -> dict[str, list[str]]:
    """What is missing for those of `peers` that cannot take part."""
    return {peer.name: peer.missing() for peer in peers if peer.missing()}


def measure_peak(threads: int, budget: float, kinds: tuple[str, ...] = ("float32",)) -> Section:
    """A large square matrix product, and multiply-adds alone."""
    calls = peak_calls(threads)
    operations = dict.fromkeys(calls, 2 * PEAK_SIZE**3)
    if not FASTMASK.missing():
        from benchmarks import peaks

        for kind in kinds:
            calls[kind] = peaks.threads_call(kind, threads)
            operations[kind] = threads * peaks.operations(kind, peaks.ROUNDS_OF_THREADS)
    return {"operations": operations, "seconds": plain(side_by_side(calls, budget))}


def measure_case(
    case: Case,
    threads: int,
    budget: float,
    peers: tuple[Peer, ...] = PEERS,
    products: int = FORWARD,
) -> Section:
    """All contenders and the limit, of `products` matrix products, on one case."""
    problem = make_problem(case)
    ready = contenders(problem, threads, peers)
    tolerances = {peer.name: peer.tolerance for peer in peers}
    errors = {
        name: checked_error(name, one, problem, tolerances[name]) for name, one in ready.items()
    }
    calls: Calls = {name: one.call for name, one in ready.items()}
    if products:
        calls |= limit_calls(problem, threads, products)
    timings = side_by_side(calls, budget)
    log(case.name, timings)
    return {
        **asdict(case),
        "steps": problem.steps,
        "flops": max(products, FORWARD) * problem.flops,
        "errors": errors,
        "seconds": plain(timings),
    }


def measure_kinds(cases: tuple[Case, ...], threads: int, budget: float) -> Section:
    """fastmask on the same lengths with the padding at different places."""
    calls: Calls = {}
    for case in cases:
        problem = make_problem(case)
        contender = FASTMASK.prepare(problem, threads)
        checked_error(FASTMASK.name, contender, problem)
        calls[case.kind] = contender.call
    timings = side_by_side(calls, budget)
    log(f"{cases[0].name} beside other kinds", timings)
    return {**asdict(cases[0]), "seconds": plain(timings)}


def measure_padding(budget: float) -> Section:
    """Every padding case with every library."""
    groups = []
    for case in padding_cases():
        timings = side_by_side(checked_calls(case), budget)
        log(case.name, timings)
        groups.append({**asdict(case), "seconds": plain(timings)})
    return {"groups": groups}


def measure_startup(rounds: int, cold_rounds: int) -> Section:
    """Imports and first calls, in turns; nothing where fastmask is not installed."""
    if FASTMASK.missing():
        return {}
    with startup.new_cache() as cache:
        starts = startup.warm_calls(cache)
        turns: dict[str, list[list[float]]] = {name: [] for name in starts}
        for _ in range(rounds):
            for name, start in starts.items():
                turns[name].append([start()])
    cold = [[startup.cold_first_call()] for _ in range(cold_rounds)]
    timings = {name: summarize(values) for name, values in turns.items()}
    timings["first LSTM call, nothing compiled"] = summarize(cold)
    log("startup", timings)
    return {"imports_numba": startup.imports_numba(), "seconds": plain(timings)}


def plain(timings: Mapping[str, Timing]) -> dict[str, dict[str, float]]:
    """Timings as JSON can hold them."""
    return {name: asdict(timing) for name, timing in timings.items()}


def log(title: str, timings: Mapping[str, Timing]) -> None:
    """One line of progress."""
    numbers = ", ".join(f"{name} {t.median * 1e3:.3g}" for name, t in timings.items())
    print(f"{title} [ms]: {numbers}", flush=True)
