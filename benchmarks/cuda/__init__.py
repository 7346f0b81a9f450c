"""Testing and measuring with a GPU: `python -m benchmarks.cuda --out FILE`.

One command, no network: the CUDA test suite on the device, then timings beside cuDNN (through
PyTorch) and FlashRNN, and compute-sanitizer, as far as these are installed. A part, a test file or
a case that fails, crashes or hangs is recorded with its message, and the rest goes on: whatever
touches the device runs in a process of its own, which can be killed.
"""
