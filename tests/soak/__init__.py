"""Random work for hours, to find what tests of single things cannot.

    python -m tests.soak --minutes 10 --seed 1

Several threads compute random problems (`loads/`) with known results while the program is disturbed
(`disturbances.py`, `ways.py`): the number of threads changes, processes fork, exceptions interrupt
calls, finalizers that compute run in garbage collection, and files of the cache of compiled kernels
are damaged. The seed alone determines a problem; each failure prints the command that repeats it.
"""
