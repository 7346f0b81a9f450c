"""The cache of compiled kernels never breaks a call, whatever is in its folder."""

from __future__ import annotations

import errno
import os
import pickle
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import types
from numba.core import config

from fastmask_kernels import cache as _cache
from fastmask_kernels.cpu import jit as _compile
from fastmask_kernels.cpu.jit import CompiledKernel, array, output


def _double(out: Any, x: Any) -> None:
    for i in range(len(x)):
        out[i] = 2 * x[i]


def run_kernel(dtype: str = "float32") -> int:
    """Compile or load a kernel and call it; returns how often it came from the cache."""
    kernel = CompiledKernel(_double, lambda t: types.void(output(t, 1), array(t, 1)))
    out = np.zeros(3, dtype)
    kernel.for_dtype(out.dtype)(out, np.arange(3, dtype=dtype))
    np.testing.assert_array_equal(out, [0, 2, 4])
    ready: Any = kernel._ready[out.dtype]
    return sum(ready.stats.cache_hits.values())


def run_and_listen(dtype: str = "float32") -> tuple[int, list[str]]:
    """The same, with the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        hits = run_kernel(dtype)
    return hits, [str(warning.message) for warning in caught]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, about which no warning was given yet."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(_cache, "_told", set())
    monkeypatch.setattr(_cache, "_noted", {})
    return tmp_path


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()]


@pytest.mark.usefixtures("folder")
def test_all_kernels_of_the_package_are_in_one_folder() -> None:
    kernels = [
        value
        for name, module in list(sys.modules.items())
        if name.startswith("fastmask_kernels.cpu.")
        for value in vars(module).values()
        if isinstance(value, CompiledKernel)
    ]
    assert len({kernel._function.__code__.co_filename for kernel in kernels}) > 3
    assert len({kernel.cache_folder for kernel in kernels}) == 1


def test_it_helps(folder: Path) -> None:
    assert run_kernel() == 0
    assert run_kernel() == 1
    assert run_kernel("float64") == 0
    assert run_kernel() == run_kernel("float64") == 1
    assert len(files(folder)) == 2


def replaced_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "something").write_bytes(b"")


def overwritten_in_the_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replaced_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "cut in its head": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
    "foreign pickle": lambda path: path.write_bytes(pickle.dumps({"x": [1, 2]})),
    "overwritten": overwritten_in_the_middle,
    "folder": replaced_by_folder,
}
if hasattr(os, "mkfifo"):
    DAMAGES["pipe"] = replaced_by_pipe
    DAMAGES["endless"] = lambda path: (path.unlink(), path.symlink_to("/dev/zero"))
    DAMAGES["dangling link"] = lambda path: (path.unlink(), path.symlink_to("nowhere/at/all"))


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files(damage: str, folder: Path) -> None:
    run_kernel()
    (path,) = files(folder)
    DAMAGES[damage](path)
    hits, told = run_and_listen()
    assert hits == 0
    assert len(told) == 1
    assert str(path.parent) in told[0]
    assert run_and_listen("float64") == (0, [])  # one warning per folder
    if path.is_file():
        assert run_and_listen() == (1, [])  # repaired
    else:
        assert run_and_listen() == (0, [])


def test_a_file_of_another_kernel_is_not_taken(folder: Path) -> None:
    run_kernel()
    (path,) = files(folder)
    run_kernel("float64")
    (other,) = set(files(folder)) - {path}
    shutil.copy(other, path)
    assert run_and_listen() == (0, [])
    assert run_kernel() == 1


def test_what_is_out_of_date_is_compiled_anew_in_silence(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_kernel()
    monkeypatch.setattr(_compile, "source_digest", lambda: "edited")
    assert run_and_listen() == (0, [])
    assert run_and_listen() == (1, [])
    assert len(files(folder)) == 1  # overwritten


@pytest.mark.parametrize("setting", ["BOUNDSCHECK", "OPT", "DEBUGINFO_DEFAULT"])
def test_settings_that_change_the_code_are_in_the_key(
    setting: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_kernel() == 0
    monkeypatch.setattr(config, setting, 1)
    assert run_kernel() == 0
    assert run_kernel() == 1
    monkeypatch.undo()
    monkeypatch.setattr(config, "CACHE_DIR", str(folder))
    assert run_kernel() == 1  # both are kept


def test_keys_are_the_same_in_every_process() -> None:
    kernel = CompiledKernel(_double, lambda t: types.void(output(t, 1), array(t, 1)))
    ready: Any = kernel.for_dtype(np.dtype("float32"))
    key = repr(ready._cache._index_key(ready.signatures[0], ready.targetctx.codegen()))
    assert not re.search(r" at 0x|object at", key)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS])
def test_files_that_cannot_be_written(
    number: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, mode: str) -> Any:
        if "w" in mode:
            file = real(path, mode)
            file.write(b"what there was room for")
            file.close()
            raise OSError(number, os.strerror(number))
        return real(path, mode)

    real = Path.open
    monkeypatch.setattr(Path, "open", full)
    hits, told = run_and_listen()
    assert hits == 0
    assert len(told) == 1
    assert str(folder) in told[0]
    assert os.strerror(number) in told[0]
    assert run_and_listen() == (0, [])
    assert files(folder) == []  # no partial file
    monkeypatch.undo()
    monkeypatch.setattr(config, "CACHE_DIR", str(folder))
    run_kernel()
    assert run_kernel() == 1


def test_files_that_cannot_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    run_kernel()
    monkeypatch.setattr(Path, "read_bytes", refuse)
    hits, told = run_and_listen()
    assert hits == 0
    assert len(told) == 1
    assert str(folder) in told[0]


def test_a_folder_that_goes_away_comes_back(folder: Path) -> None:
    run_kernel()
    kernel = CompiledKernel(_double, lambda t: types.void(output(t, 1), array(t, 1)))
    dispatcher = kernel._new_dispatcher()
    shutil.rmtree(folder)
    dispatcher.compile(types.void(output(types.float32, 1), array(types.float32, 1)))
    assert run_and_listen() == (1, [])


def test_no_folder_at_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "makedirs", refuse)
    hits, told = run_and_listen()
    assert hits == 0
    assert len(told) == 1
    assert str(folder) in told[0]
    assert run_and_listen() == (0, [])
    kernel = CompiledKernel(_double, lambda t: types.void(output(t, 1), array(t, 1)))
    assert kernel.cache_folder is None


def test_sources_that_cannot_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(_compile, "source_digest", refuse)
    hits, told = run_and_listen()
    assert hits == 0
    assert len(told) == 1
    assert str(folder) in told[0]


def test_where_warnings_are_errors_the_kernel_is_ready_nonetheless(folder: Path) -> None:
    run_kernel()
    (path,) = files(folder)
    path.write_bytes(b"")
    kernel = CompiledKernel(_double, lambda t: types.void(output(t, 1), array(t, 1)))
    dtype = np.dtype("float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="cache of compiled kernels"):
            kernel.for_dtype(dtype)
        assert kernel.for_dtype(dtype) is kernel._ready[dtype]
        assert run_kernel() == 1


def test_a_silent_call_leaves_it_to_the_next_one_to_tell(folder: Path) -> None:
    run_kernel()
    (path,) = files(folder)
    path.write_bytes(b"")
    kernel = CompiledKernel(_double, lambda t: types.void(output(t, 1), array(t, 1)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kernel.for_dtype_silently(np.dtype("float32"))
    assert len(run_and_listen("float64")[1]) == 1


def test_contents_of_a_folder(folder: Path) -> None:
    assert _cache.contents_of(str(folder / "none")) == "0 kernels, 0 MB"
    run_kernel()
    run_kernel("float64")
    path, _ = files(folder)
    assert _cache.contents_of(str(path.parent)) == "2 kernels, 0 MB"
    path.write_bytes(b"")
    assert _cache.contents_of(str(path.parent)).startswith("1 kernels, 0 MB, 1 damaged")


@pytest.mark.timeout(350)
def test_processes_at_once_lose_no_entry(folder: Path) -> None:
    code = "import sys; from tests.kernels.test_cache import run_kernel; run_kernel(sys.argv[1])"
    dtypes = ("float32", "float64", "int64")
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder)}
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, dtype],
            env=environment,
            cwd=Path(__file__).parents[2],
        )
        for dtype in (*dtypes, dtypes[0])
    ]
    assert [process.wait(timeout=300) for process in started] == [0] * len(started)
    assert [run_and_listen(dtype) for dtype in dtypes] == [(1, [])] * len(dtypes)


def _sums_of_multiples(factor: int) -> Any:
    @_compile.inner
    def multiple(x: Any, n: int) -> Any:
        """Too large to be inlined three times."""
        total = x[0] * 0
        for i in range(n):
            for j in range(i):
                if x[j] > i + 1:
                    total += x[i] % (j + 3)
                elif x[j] > 2 * i + 1:
                    total -= x[j] % (i + 5)
                elif x[i] > 3 * j + 1:
                    total ^= x[i] % (j + 7)
            total += x[i] * factor
        return total

    def sums(out: Any, x: Any) -> None:
        for n in range(3):
            out[n] = multiple(x, n) + multiple(x, n + 1) + multiple(x, 2)

    return sums


def run_multiples(factors: list[int]) -> None:
    """Compile or load kernels that call different functions, and call them."""
    for factor in factors:
        kernel = CompiledKernel(
            _sums_of_multiples(factor),
            lambda t: types.void(output(t, 1), array(t, 1)),
            str(factor),
        )
        out = np.zeros(3, np.int64)
        kernel.for_dtype(out.dtype)(out, np.ones(4, np.int64))
        assert out.tolist() == [3 * factor, 5 * factor, 7 * factor]


@pytest.mark.timeout(350)
def test_functions_of_kernels_that_several_processes_compiled(folder: Path) -> None:
    code = (
        "import sys; from tests.kernels.test_cache import run_multiples;"
        "run_multiples([int(one) for one in sys.argv[1:]])"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder)}
    for factors in ("2", "3", "23"):
        command = [sys.executable, "-W", "error", "-c", code, *factors]
        subprocess.run(
            command, env=environment, cwd=Path(__file__).parents[2], timeout=300, check=True
        )


class FailingCache:
    """The worst cache that `SafeCache` may wrap."""

    cache_path = "/a/folder"

    def load_overload(self, *_: Any) -> Any:
        raise pickle.UnpicklingError("nonsense")

    def save_overload(self, *_: Any) -> None:
        raise MemoryError("no room")


class Safe(_cache.SafeCache, FailingCache):
    pass


@pytest.mark.usefixtures("folder")
def test_any_cache_is_made_safe() -> None:
    cache = Safe()
    assert cache.load_overload(None, None) is None
    cache.save_overload(None, None)
    with pytest.warns(RuntimeWarning, match=r"in /a/folder: nonsense; the kernel is compiled"):
        _cache.tell()
    _cache.tell()
