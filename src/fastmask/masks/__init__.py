"""Masks, padding and plans: which steps of a batch exist."""
