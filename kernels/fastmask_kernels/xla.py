"""The frame by which XLA's foreign function interface describes a call, of version 0.3.

Those parts of the structures of the header c_api.h that a handler reads, as words of eight bytes.
"""

from __future__ import annotations

# Of a frame, which leads to inputs, outputs and attributes: a number and, two words later, or
# three, the address of pointers to each.
EXTENSION, API, STAGE, INPUTS, OUTPUTS, ATTRIBUTES, FRAME_WORDS = 1, 2, 4, 7, 12, 17, 22
DTYPE, DATA, RANK, DIMENSIONS, BUFFER_WORDS = 2, 3, 4, 5, 6  # of an input or an output
HALF = 0xFFFFFFFF  # of a word: DTYPE and STAGE are numbers of four bytes
EXECUTE = 3  # the stage of a call
STRING = 4  # the type of an attribute
