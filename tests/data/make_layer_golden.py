"""Runs the layers of `tests/layer_zoo.py` through Keras.

    python tests/data/make_layer_golden.py            # writes layer_golden.npz beside this file
    python tests/data/make_layer_golden.py --check    # compares with that file instead

Needs Keras and a backend, PyTorch unless `KERAS_BACKEND` says otherwise. TensorFlow rounds
`time_distributed_norm`, whose outputs go up to 150, a little differently; the rest is the same.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
sys.path.insert(0, str(Path(__file__).parents[2]))

import keras
import numpy as np
from keras.src.backend.common import masking
from tests import layer_zoo

TOLERANCE = 5e-6


def answer(name: str, masks: str) -> layer_zoo.Answer:
    """What Keras computes for a case."""
    case = layer_zoo.CASES[name]
    arrays = layer_zoo.inputs(name)
    given = layer_zoo.masks_for(name, masks)
    layer = case.make(keras.layers)
    shapes = [array.shape for array in arrays]
    layer.build(shapes if len(shapes) > 1 else shapes[0])
    layer.set_weights(layer_zoo.weights(name, layer.get_weights()))
    if name == "normalization":
        layer.finalize_state()
    tensors = [keras.ops.convert_to_tensor(array) for array in arrays]
    options: dict[str, Any] = {"training": True} if case.training else {}
    for tensor, mask in zip(tensors, given, strict=True):
        if mask is not None and case.expand_mask:
            options["mask"] = keras.ops.convert_to_tensor(mask[:, :, None])
        elif mask is not None:
            masking.set_keras_mask(tensor, keras.ops.convert_to_tensor(mask))
    output = layer(tensors if len(tensors) > 1 else tensors[0], **options)
    carried = masking.get_keras_mask(output)
    mask = None if carried is None else keras.ops.convert_to_numpy(carried)
    if mask is not None and case.expand_mask:
        mask = mask[:, :, 0]
    after = [np.asarray(w) for w in layer.get_weights()] if case.training else []
    return layer_zoo.Answer(keras.ops.convert_to_numpy(output), mask, after)


def differs(ours: layer_zoo.Answer, stored: layer_zoo.Answer) -> bool:
    """Whether two answers are not the same."""
    if (ours.mask is None) != (stored.mask is None):
        return True
    pairs = [(ours.output, stored.output), *zip(ours.weights, stored.weights, strict=True)]
    if ours.mask is not None:
        pairs.append((ours.mask, stored.mask))
    return not all(
        a.shape == b.shape and np.allclose(a, b, rtol=1e-6, atol=TOLERANCE, equal_nan=True)
        for a, b in pairs
    )


def main() -> int:
    """Write the file, or compare with it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    warnings.simplefilter("ignore")
    answers = {f"{name}|{masks}": answer(name, masks) for name, masks in layer_zoo.ALL}
    if not check:
        layer_zoo.write(answers)
        print(f"{len(answers)} answers of Keras {keras.__version__} on {keras.backend.backend()}")
        return 0
    wrong = [
        key for key, one in answers.items() if differs(one, layer_zoo.expected(*key.split("|")))
    ]
    print(f"{len(answers)} cases, {len(wrong)} differ: {', '.join(wrong) or 'none'}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
