"""Kernels of fastmask: plain arrays in, plain arrays out.

`spec.KERNELS` lists every kernel; `reference` (plain NumPy) and `cpu` (Numba) export one
function for each, under the same name and with the same arguments.
"""
