"""Runs the calls of `tests/attention_cases.py` through Keras.

    python tests/data/make_attention_golden.py            # writes attention_golden.npz here
    python tests/data/make_attention_golden.py --check    # compares with that file instead

Needs Keras and a backend, PyTorch unless `KERAS_BACKEND` says otherwise; all give the same.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
sys.path.insert(0, str(Path(__file__).parents[2]))

import keras
import numpy as np
from keras.src.backend.common import masking
from tests import attention_cases, golden_archive


def answer(name: str, masks: str) -> tuple[list[Any], Any]:
    """Keras's result for a case: the outputs, and the mask of the first one."""
    case = attention_cases.CASES[name]
    layer = case.make(keras.layers)
    several = isinstance(layer, keras.layers.MultiHeadAttention)
    layer.build(*(case.shapes if several else [list(case.shapes)]))
    layer.set_weights(attention_cases.weights(name, layer.get_weights()))
    tensors = [keras.ops.convert_to_tensor(array) for array in attention_cases.inputs(name)]
    for tensor, mask in zip(tensors, attention_cases.masks_for(name, masks), strict=True):
        if mask is not None:
            masking.set_keras_mask(tensor, keras.ops.convert_to_tensor(mask.copy()))
    outputs = layer(*tensors, **case.options) if several else layer(tensors, **case.options)
    listed = list(outputs) if isinstance(outputs, tuple) else [outputs]
    mask = masking.get_keras_mask(listed[0])
    arrays = [keras.ops.convert_to_numpy(one) for one in listed]
    return arrays, None if mask is None else keras.ops.convert_to_numpy(mask)


def main() -> int:
    """Write the file, or compare with it."""
    answers = {case: answer(*case) for case in attention_cases.all_cases()}
    if "--check" not in sys.argv:
        arrays = {}
        for (name, masks), (outputs, mask) in answers.items():
            arrays |= {f"{name}|{masks}|out{i}": one for i, one in enumerate(outputs)}
            arrays |= {} if mask is None else {f"{name}|{masks}|mask": mask}
        golden_archive.write(attention_cases.PATH, arrays)
        print(f"{len(answers)} answers of Keras {keras.__version__} on {keras.backend.backend()}")
        return 0
    wrong = []
    for case, (outputs, mask) in answers.items():
        stored, known = attention_cases.expected(*case)
        same = all(np.allclose(a, b, atol=5e-6) for a, b in zip(outputs, stored, strict=True))
        if not same or not np.array_equal(mask, known):
            wrong.append("|".join(case))
    print(f"{len(answers)} cases, {len(wrong)} differ: {', '.join(wrong) or 'none'}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
