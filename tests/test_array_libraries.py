"""The libraries whose arrays on a GPU fastmask knows by name."""

from __future__ import annotations

import pytest

from fastmask.backends.cuda import libraries, library_of

LIBRARIES = {
    "torch": "torch",
    "torch.cuda": "torch",
    "cupy": "CuPy",
    "cupy._core.core": "CuPy",
    "numba.cuda.cudadrv.devicearray": "numba",
    "fastmask_kernels.cuda.runtime.device": "numba",
    "fastmask.backends.cuda.torch_numpy": "torch",
    "fastmask.backends.cuda.simulated": "numba's simulator",
}


@pytest.mark.parametrize("module", LIBRARIES)
def test_of_known_libraries(module: str) -> None:
    array = type("Array", (), {"__module__": module})()
    found = library_of(array)
    assert found.name == LIBRARIES[module]
    assert library_of(array) is found
    assert all(hasattr(found, name) for name in ("stream", "empty", "multiply"))


def test_of_a_derived_class() -> None:
    base = type("Tensor", (), {"__module__": "torch"})
    assert library_of(type("Own", (base,), {"__module__": "program"})()).name == "torch"


def test_of_other_libraries() -> None:
    array = type("Array", (), {"__module__": "elsewhere.arrays"})()
    with pytest.raises(TypeError, match=r"torch, CuPy or numba, not elsewhere\.arrays\.Array"):
        library_of(array)


def test_every_known_module_is_there() -> None:
    assert set(libraries._KNOWN) <= {name.partition(".")[0] for name in LIBRARIES} | set(LIBRARIES)
