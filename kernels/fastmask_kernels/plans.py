"""What is wrong with offsets, steps and order that are no plan; each backend looks in its own code.

Time loops that trusted such arrays would read outside of others.
"""

from __future__ import annotations

FAULTS = (
    "",
    "offsets must begin with 0, not decrease, and end within steps",
    "order must name every row once",
    "order must name rows with more valid steps first, offsets[b + 1] - offsets[b] for row b",
    "steps[offsets[b]:offsets[b + 1]] must ascend within b * T, ..., b * T + T - 1",
)
"""By number; 0 is a plan. A plan with several faults has the first."""


def words_of(fault: int) -> str:
    """The message for a fault."""
    return f"offsets, steps and order are not a plan: {FAULTS[fault]}"
