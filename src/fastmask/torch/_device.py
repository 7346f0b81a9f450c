"""The types of devices that kernels are for."""

from __future__ import annotations

CUDA = "cuda"
