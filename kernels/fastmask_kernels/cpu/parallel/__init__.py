"""Worker threads inside compiled code: `run` is the protocol of every shared call."""
