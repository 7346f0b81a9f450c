"""Kernels of fastmask: plain arrays in, plain arrays out.

`spec.KERNELS` lists every kernel; `reference` (plain NumPy), `cpu` (Numba) and `cuda` (Numba, for
GPUs) export one function for each, under the same name and with the same arguments.
"""
