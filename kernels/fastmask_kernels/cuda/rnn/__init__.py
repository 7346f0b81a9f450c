"""Recurrent layers on CUDA devices: forward, backward, one step."""
