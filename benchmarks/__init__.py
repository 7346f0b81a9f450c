"""Benchmarks of fastmask beside the libraries it stands next to.

`python -m benchmarks.report` times every contender side by side and writes the tables and the
picture in docs/. `pytest benchmarks` runs the same cases under pytest-benchmark.
`python -m benchmarks.cuda` tests and measures with a GPU.
"""
