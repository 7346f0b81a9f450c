"""Compiled code that XLA programs call; the entry point is `handler`."""
