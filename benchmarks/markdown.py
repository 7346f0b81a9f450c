"""Numbers and tables as the report's page shows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

NOISY = 1.25  # a ratio of the quartiles beyond which a number is marked


def milliseconds(group: dict[str, Any], name: str) -> str:
    timing = group["seconds"].get(name)
    if timing is None:
        return ""
    mark = "~" if timing["q75"] > NOISY * timing["q25"] else ""
    return number(timing["median"] * 1e3) + mark


def rate(gflops: float | None, peak: float) -> tuple[str, str]:
    """A rate, and its share of the peak."""
    return ("", "") if gflops is None else (f"{gflops:.0f}", f"{gflops / peak:.0%}")


def number(value: float) -> str:
    """Three significant digits, never in powers of ten."""
    return f"{value:.0f}" if value >= 1000 else f"{value:#.3g}".rstrip(".")


def ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, the first column on the left and the others on the right."""
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
