"""Random work for hours: what tests of single things cannot see.

    python -m tests.soak --minutes 10 --seed 1

Several threads compute random problems (`loads/`) whose right results are known, while the
program is disturbed (`disturb.py`): threads are set, processes are forked, exceptions come in
the middle of calls, garbage is collected by finalisers that compute themselves, and files of the
cache of compiled kernels are damaged. A problem follows from its seed alone; the command that
repeats just that one is printed with each failure.
"""
