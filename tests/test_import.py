"""`import fastmask` is light: no Numba, no framework, little besides NumPy.

`benchmarks/startup.py` measures how long it takes.
"""

from __future__ import annotations

import operator
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

import fastmask as fm
import fastmask_kernels

HEAVY = ["numba", "llvmlite", "torch", "keras", "tensorflow", "onnx", "onnxruntime", "h5py"]
# Modules of the standard library; NumPy may import some itself, as newer versions import
# `inspect`, which layers need.
SLOW = [
    *("argparse", "asyncio", "concurrent.futures", "email", "http", "importlib.metadata"),
    *("json", "logging", "multiprocessing", "subprocess", "tempfile", "unittest"),
    *("urllib", "zipfile"),
]


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_to_install_is_on_every_package_index() -> None:
    """pip cannot find `fastmask-rnn[torch]` by name, so no message may suggest it."""
    folders = [Path(str(one.__file__)).parent for one in (fm, fastmask_kernels)]
    files = [path for one in folders for path in one.rglob("*.py")]
    assert [one for one in files if "fastmask-rnn[" in one.read_text("utf-8")] == []


def test_imports_nothing_heavy() -> None:
    code = f"import fastmask, sys; print([m for m in {HEAVY} if m in sys.modules])"
    assert run(code) == "[]"


def test_building_a_model_needs_no_kernel() -> None:
    code = """
import sys
from pathlib import Path
import fastmask as fm
model = fm.Sequential([fm.layers.Embedding(9, 4, mask_zero=True), fm.layers.LSTM(3)])
model.build((None, None))
model.set_weights(model.get_weights())
mask = fm.Mask([[1, 0]])
mask.lengths, mask.fill
print("numba" in sys.modules)
"""
    assert run(code) == "False"


def test_imports_little_besides_numpy() -> None:
    code = """
import sys
import numpy
before = set(sys.modules)
import fastmask
print(*sorted(name for name in sys.modules if name not in before))
"""
    added = [name for name in run(code).split() if not name.startswith(("fastmask", "numpy."))]
    assert {name.partition(".")[0] for name in added} <= sys.stdlib_module_names
    assert not [name for name in added if name in SLOW]
    assert len(added) < 20, added  # today 2 to 13, by Python's version


def test_all_names_exist() -> None:
    for name in fm.__all__:
        assert getattr(fm, name) is not None
    for name in fm.layers.__all__:
        assert getattr(fm.layers, name) is not None
    assert "fastmask" in fm.__name__
    assert fm.__version__


@pytest.mark.optional
@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
def test_torch_is_imported_when_asked_for() -> None:
    code = """
import sys
import fastmask as fm
assert "torch" not in sys.modules
print(fm.torch.LSTM(3, 5), fm.torch is sys.modules["fastmask.torch"])
"""
    assert run(code) == "LSTM(3, 5) True"


def test_torch_is_an_attribute_only_where_it_is_installed() -> None:
    code = """
import sys
sys.modules["torch"] = None
import fastmask as fm
assert not hasattr(fm, "torch")
for action in (lambda: fm.torch, lambda: exec("from fastmask import torch")):
    try:
        action()
    except (AttributeError, ImportError) as error:
        print(type(error).__name__, error)
"""
    message = "fastmask.torch needs PyTorch: pip install torch"
    assert run(code).splitlines() == [
        f"AttributeError {message}",
        f"ModuleNotFoundError {message}",
    ]


@pytest.mark.optional
@pytest.mark.skipif(find_spec("keras") is None, reason="keras is not installed")
def test_a_keras_backend_that_is_not_installed() -> None:
    code = """
import sys
sys.modules["jax"] = None
try:
    import fastmask.keras
except ImportError as error:
    print(type(error).__name__, error.name, error)
"""
    told = run(code, KERAS_BACKEND="jax")
    assert told.startswith("ModuleNotFoundError jax fastmask.keras needs Keras's backend jax,")
    assert "set KERAS_BACKEND to one that is (torch, jax or tensorflow)" in told


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match="module 'fastmask' has no attribute 'touch'"):
        _ = fm.touch  # type: ignore[attr-defined]  # on purpose
    code = (
        "import fastmask as fm\n"
        "for name in ('keras', 'jax'):\n"
        "    try: getattr(fm, name)\n"
        "    except AttributeError as error: print(error)\n"
    )
    assert run(code).splitlines() == [
        f"module 'fastmask' has no attribute '{name}': import fastmask.{name}"
        for name in ("keras", "jax")
    ]


@pytest.mark.parametrize(
    ("module", "name", "place"),
    [
        (fm, "LSTM", "fastmask.layers.LSTM"),
        (fm, "Layer", "fastmask.layers.Layer"),
        (fm, "relu", "fastmask.activations.relu"),
        (fm, "Orthogonal", "fastmask.initializers.Orthogonal"),
        (fm, "lstm", "fastmask.ops.lstm"),
        (fm.layers, "Input", "fastmask.Input"),
        (fm.layers, "InputLayer", "fastmask.Input"),
        (fm.layers, "Sequential", "fastmask.Sequential"),
        (fm.models, "load_model", "fastmask.load_model"),
        (fm.models, "LSTM", "fastmask.layers.LSTM"),
        (fm.initializers, "Dense", "fastmask.layers.Dense"),
        (fm.ops, "Masking", "fastmask.layers.Masking"),
        (fm.utils, "pad", "fastmask.pad"),
        (fm.activations, "HeNormal", "fastmask.initializers.HeNormal"),
    ],
)
def test_names_that_another_module_has(module: ModuleType, name: str, place: str) -> None:
    with pytest.raises(AttributeError) as raised:
        getattr(module, name)
    told = f"module {module.__name__!r} has no attribute {name!r}: it is {place}"
    assert str(raised.value) == told
    assert operator.attrgetter(place.removeprefix("fastmask."))(fm) is not None


def test_python_suggests_names_that_are_similar() -> None:
    for module in (fm, fm.layers, fm.models, fm.ops):
        with pytest.raises(
            AttributeError, match=rf"^module '{module.__name__}' .* 'Masq'$"
        ) as raised:
            _ = module.Masq
        assert (raised.value.name, raised.value.obj) == ("Masq", module)
    assert not hasattr(fm.layers, "__wrapped__")


def shown(module: ModuleType) -> set[str]:
    """What completion shows of a module."""
    return {name for name in dir(module) if not name.startswith("_")}


def test_completion_shows_the_public_names_of_the_package() -> None:
    code = """
import sys
import fastmask as fm
print(*dir(fm))
assert not {"numba", "torch"} & sys.modules.keys()
"""
    listed = set(run(code).split())
    assert {*fm.__all__, "__doc__", "__file__", "__path__", "models"} <= listed
    assert {one for one in listed if not one.startswith("_")} <= {*fm.__all__, "models"}


def test_completion_shows_no_imports() -> None:
    """Nor modules whose classes and functions the package has itself."""
    from fastmask_kernels import cells, formula, machine_code, reference

    for module in (fm.layers, fm.ops, fm.utils, fm.activations, fm.initializers, fm.models):
        assert shown(module) == set(module.__all__)
        assert all(hasattr(module, name) for name in dir(module))
    for module in (fm.cells, cells, formula, machine_code):
        assert set(module.__all__) <= shown(module)
    assert shown(fm.cells) == set(fm.cells.__all__)
    assert shown(fm.losses) == {"masked_mean"}
    kinds = ("binary", "categorical", "sparse_categorical")
    assert shown(fm.metrics) == {f"{one}_accuracy" for one in kinds}
    assert shown(reference) == {*reference.__all__, "kernels_of"}
    assert {"cells", "reference"} <= shown(fastmask_kernels)
    assert not {"forks", "names"} & shown(fastmask_kernels)


@pytest.mark.optional
@pytest.mark.parametrize("name", ["torch", "keras"])
def test_completion_of_adapters_shows_what_they_export(name: str) -> None:
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    code = f"""
import fastmask as fm, fastmask.{name} as m
print(set(m.__all__) == {{n for n in dir(m) if n[0] != "_"}}, {name!r} in dir(fm))
"""
    assert run(code, KERAS_BACKEND="torch") == "True True"
