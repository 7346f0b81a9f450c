"""The measurements of the report: each function returns one section as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from benchmarks import startup
from benchmarks.cases import Case, kind_cases, lstm_cases, make_problem
from benchmarks.limit import PEAK_SIZE, limit_calls, peak_calls
from benchmarks.padding import checked_calls, padding_cases
from benchmarks.peers import FASTMASK, PEERS, checked_error, contenders
from benchmarks.timing import Timing, side_by_side, summarise

Section = dict[str, Any]


def measure_lstm(threads: int, budget: float, quick: bool) -> Section:
    """Every case with every contender that can do it, then the kinds of mask."""
    return {
        "absent": {peer.name: peer.missing() for peer in PEERS if peer.missing()},
        "peak": measure_peak(threads, budget),
        "groups": [measure_case(case, threads, budget) for case in lstm_cases(quick)],
        "kinds": []
        if FASTMASK.missing()
        else [measure_kinds(cases, threads, budget) for cases in kind_cases(quick)],
    }


def measure_peak(threads: int, budget: float) -> Section:
    """A large square matrix product."""
    timings = side_by_side(peak_calls(threads), budget)
    return {"flops": 2 * PEAK_SIZE**3, "seconds": plain(timings)}


def measure_case(case: Case, threads: int, budget: float) -> Section:
    """All contenders and the limit on one case."""
    problem = make_problem(case)
    ready = contenders(problem, threads)
    errors = {name: checked_error(name, one, problem) for name, one in ready.items()}
    calls: dict[str, Callable[[], object]] = {name: one.call for name, one in ready.items()}
    timings = side_by_side(calls | limit_calls(problem, threads), budget)
    log(case.name, timings)
    return {
        **asdict(case),
        "steps": problem.steps,
        "flops": problem.flops,
        "errors": errors,
        "seconds": plain(timings),
    }


def measure_kinds(cases: tuple[Case, ...], threads: int, budget: float) -> Section:
    """fastmask on the same lengths with the padding at different places."""
    calls: dict[str, Callable[[], object]] = {}
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
    timings = {name: summarise(values) for name, values in turns.items()}
    timings["first LSTM call, nothing compiled"] = summarise(cold)
    log("startup", timings)
    return {"imports_numba": startup.imports_numba(), "seconds": plain(timings)}


def plain(timings: Mapping[str, Timing]) -> dict[str, dict[str, float]]:
    """Timings as JSON can hold them."""
    return {name: asdict(timing) for name, timing in timings.items()}


def log(title: str, timings: Mapping[str, Timing]) -> None:
    """One line of progress."""
    numbers = ", ".join(f"{name} {t.median * 1e3:.3g}" for name, t in timings.items())
    print(f"{title} [ms]: {numbers}", flush=True)
