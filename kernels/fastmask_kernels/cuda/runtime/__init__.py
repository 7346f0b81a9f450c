"""Kernels, arrays, streams and errors of a CUDA device."""
