"""The call frame of XLA's foreign function interface, version 0.3.

Offsets, in words of eight bytes, of the fields that a handler reads; see the header c_api.h.
"""

from __future__ import annotations

# Of a call frame. INPUTS, OUTPUTS and ATTRIBUTES are counts; the address of an array of pointers to
# them follows two words later, for attributes three.
EXTENSION, API, STAGE, INPUTS, OUTPUTS, ATTRIBUTES, FRAME_WORDS = 1, 2, 4, 7, 12, 17, 22
DTYPE, DATA, RANK, DIMENSIONS, BUFFER_WORDS = 2, 3, 4, 5, 6  # of an input or an output
HALF = 0xFFFFFFFF  # a mask, because DTYPE and STAGE have only four bytes
EXECUTE = 3  # the stage in which a call is computed
STRING = 4  # the type of a string attribute
