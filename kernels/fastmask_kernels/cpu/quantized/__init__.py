"""Products with numbers of fewer bits: bfloat16, and int8 with scales."""
