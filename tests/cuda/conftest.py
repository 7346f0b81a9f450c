"""Where the tests of the CUDA backend run.

Tests of its kernels run in Numba's simulator, in processes of their own that test_simulated.py
starts, or on a GPU if there is one. Others inspect what the kernels compile to.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
ANYWHERE = (
    "test_simulated.py",
    "test_compiled.py",
    "test_compiled_command.py",
    "test_compiled_recurrent.py",
    "test_compiled_sizes.py",
    "test_compiled_tools.py",
    "test_launched.py",
    "test_on_the_stub.py",
    "test_imports.py",
)


def on_gpu() -> bool:
    """Whether the kernels can run on a GPU in this process."""
    if find_spec("numba_cuda") is None:
        return False
    from numba import cuda

    return bool(cuda.is_available())


if SIMULATED:
    collect_ignore = list(ANYWHERE)
elif not on_gpu():
    collect_ignore_glob = [
        path.name
        for path in os.scandir(os.path.dirname(__file__))
        if path.name.startswith("test_") and path.name not in ANYWHERE
    ]


@pytest.fixture
def reference_on_the_host() -> Iterator[None]:
    """The reference kernels compute on NumPy arrays."""
    from fastmask.backends import table as _table

    before = _table._table
    _table.use_kernels("reference")
    yield
    _table._table = before


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts launches by stream, plans, and waits of the host."""
    from fastmask_kernels import cuda
    from fastmask_kernels.cuda import gather
    from fastmask_kernels.cuda.runtime import device as _device
    from fastmask_kernels.cuda.runtime import kernel as _kernel

    counted: Counter[str] = Counter()

    def count(owner: Any, name: str, as_name: str) -> None:
        function = getattr(owner, name)

        def counting(*args: Any, **kwargs: Any) -> Any:
            counted[as_name] += 1
            return function(*args, **kwargs)

        monkeypatch.setattr(owner, name, counting)

    for module, name in ((m, n) for m in (_device, gather) for n in ("to_host", "to_device")):
        if hasattr(module, name):
            count(module, name, "waits")
    count(_device, "wait", "waits")
    count(cuda, "plan_steps", "plans")
    launch = _kernel.Kernel.launch

    def launching(self: Any, *args: Any, **kwargs: Any) -> None:
        counted[f"stream {_device.stream_of_launch()}"] += 1
        launch(self, *args, **kwargs)

    monkeypatch.setattr(_kernel.Kernel, "launch", launching)
    return counted
