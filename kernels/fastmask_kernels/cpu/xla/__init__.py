"""Calls from XLA programs, in compiled code: `handler` is what XLA calls."""
