"""Recurrent layers on the CPU: forward, backward, one step."""
