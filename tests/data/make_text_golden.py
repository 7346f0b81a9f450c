"""Runs the calls of `tests/text_cases.py` through Keras, on TensorFlow, which these layers need.

python tests/data/make_text_golden.py            # writes text_golden.json beside this file
python tests/data/make_text_golden.py --check    # compares with that file instead
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
sys.path.insert(0, str(Path(__file__).parents[2]))

import keras
import numpy as np
from tests import text_cases


def answer(case: text_cases.Case) -> tuple[Any, Any]:
    """Keras's result for a case, as JSON stores it."""
    layer = case.make(keras.layers)
    if case.adapt is not None:
        layer.adapt(np.array(case.adapt))
    output = layer(np.array(case.inputs)).numpy()
    listed = np.char.decode(output.astype(bytes), "utf-8") if output.dtype == object else output
    return np.round(listed, 6).tolist() if listed.dtype.kind == "f" else listed.tolist(), (
        text_cases.knows(layer)
    )


def main() -> int:
    """Write the file, or compare with it."""
    answers = {name: answer(case) for name, case in text_cases.CASES.items()}
    if "--check" not in sys.argv:
        rows = [f"  {json.dumps(name)}: {json.dumps(one)}" for name, one in answers.items()]
        text_cases.PATH.write_text("{\n" + ",\n".join(rows) + "\n}\n", "utf-8")
        print(f"{len(answers)} answers of Keras {keras.__version__}")
        return 0
    wrong = [name for name, one in answers.items() if tuple(text_cases.expected(name)) != one]
    print(f"{len(answers)} cases, {len(wrong)} differ: {', '.join(wrong) or 'none'}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
