"""Worker threads inside compiled code: one protocol for every shared call."""
