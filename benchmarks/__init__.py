"""Benchmarks of fastmask and of comparable libraries.

`python -m benchmarks.report` times every contender side by side and writes the tables and the
picture in docs/. `pytest benchmarks` runs the same cases under pytest-benchmark.
`python -m benchmarks.cuda` tests and measures on a GPU.
"""
