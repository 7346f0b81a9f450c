"""Compiled kernels on disk: a cache that may help, and never stands in the way.

Each kernel has a file of its own for each signature, processor and setting, so that processes
which compile different kernels never write the same file. A file begins with digests, of what it
was compiled from and of its contents: only what this module wrote itself is unpickled, because
damaged pickles can do anything.

Whatever goes wrong with files, kernels are compiled again, and the user is warned once for each
folder, when the kernel is ready.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

_MAGIC = b"fastmask kernel 1\n"
_DIGEST = 32  # bytes of one
_noted: dict[str, str] = {}  # folder: what is wrong with it
_told: set[str] = set()

_SETTINGS = (
    *("BOUNDSCHECK", "OPT", "DEBUGINFO_DEFAULT", "ENABLE_PROFILING"),
    *("LOOP_VECTORIZE", "SLP_VECTORIZE", "LLVM_REFPRUNE_PASS", "LLVM_REFPRUNE_FLAGS"),
)


def settings_of(config: Any) -> tuple[Any, ...]:
    """The settings of Numba that change the code it generates, by name."""
    return tuple((name, getattr(config, name, None)) for name in _SETTINGS)


class KernelFiles:
    """The files of one kernel, in place of Numba's `IndexDataCacheFile`.

    A key has two parts. Keys that differ in the first have files of different names, side by side;
    a file whose second part differs is out of date, and is overwritten.

    Args:
        folder: where they are.
        name: what their names begin with.
        dumps: Numba's function that pickles what is saved.
    """

    def __init__(self, folder: str, name: str, dumps: Callable[[Any], bytes]) -> None:
        self._folder = Path(folder)
        self._name = name
        self._dumps = dumps

    def path_of(self, key: tuple[Any, Any]) -> Path:
        """Where a key's file is, if there is one."""
        return self._folder / f"{self._name}.{_digest(repr(key[0]).encode()).hex()[:16]}.nbc"

    def load(self, key: tuple[Any, Any]) -> Any:
        """What was saved under a key; None if nothing is up to date. Raises as `_parts_of`."""
        path = self.path_of(key)
        if not os.path.lexists(path):
            return None
        made_of, contents = _parts_of(path)
        if made_of != _digest(repr(key).encode()):
            return None
        return pickle.loads(contents)  # noqa: S301 - what `save` wrote, as the digest shows

    def save(self, key: tuple[Any, Any], data: Any) -> None:
        """Keep `data` under a key; a process that reads meanwhile sees all of it or nothing.

        Raises:
            OSError: it cannot be written.
        """
        contents = self._dumps(data)
        path = self.path_of(key)
        temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:16]}.tmp")
        try:
            with temporary.open("wb") as file:
                file.write(_MAGIC + _digest(repr(key).encode()) + _digest(contents) + contents)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def flush(self) -> None:
        """Do nothing: what is out of date is overwritten."""


def _parts_of(path: Path) -> tuple[bytes, bytes]:
    """The digest of what a file was compiled from, and its contents.

    Raises:
        ValueError: the file is damaged.
        OSError: it cannot be read.
    """
    if not path.is_file():  # a pipe would never end
        raise ValueError(f"{path.name} is not a file")
    data = path.read_bytes()
    begin = len(_MAGIC) + 2 * _DIGEST
    contents = data[begin:]
    if not data.startswith(_MAGIC) or data[begin - _DIGEST : begin] != _digest(contents):
        raise ValueError(f"{path.name} is damaged")
    return data[len(_MAGIC) : begin - _DIGEST], contents


def contents_of(folder: str) -> str:
    """What is in a folder, in words: how many kernels, and how many damaged ones."""
    size = good = bad = 0
    for path in Path(folder).glob(f"*.{'[0-9a-f]' * 16}.nbc"):
        try:
            size += len(_parts_of(path)[1])
            good += 1
        except (OSError, ValueError):
            bad += 1
    damaged = f", {bad} damaged" if bad else ""
    return f"{good} kernels, {size / 1e6:.0f} MB{damaged}"


class SafeCache:
    """A mixin, to be placed before one of Numba's caches, so that this never raises."""

    cache_path: str

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """See Numba; None where nothing can be loaded."""
        try:
            return super().load_overload(sig, target_context)  # type: ignore[misc]  # Numba's
        except Exception as error:  # from files, from pickles, or from what these load
            note(self.cache_path, f"{error}; the kernel is compiled anew")
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """See Numba; saves nothing where that is impossible."""
        try:
            super().save_overload(sig, data)  # type: ignore[misc]  # Numba's
        except PermissionError as error:
            # Windows does not replace a file that another process is reading: this one will do.
            if os.name != "nt":
                note_unusable(self.cache_path, error)
        except Exception as error:
            note_unusable(self.cache_path, error)


def note(folder: str, what: str) -> None:
    """Remember what is wrong with a folder; `tell` tells it."""
    if folder not in _told:
        _noted.setdefault(folder, what)


def note_unusable(folder: str, error: Exception) -> None:
    """Remember that nothing can be kept in a folder."""
    what = f"{type(error).__name__}: {error}; each process compiles kernels anew"
    note(folder, f"{what} (NUMBA_CACHE_DIR may name another folder)")


def tell() -> None:
    """Warn, once for each folder, of what was noted; call it last, because it may raise."""
    while _noted:
        folder, what = _noted.popitem()
        _told.add(folder)
        warnings.warn(f"cache of compiled kernels in {folder}: {what}", RuntimeWarning, 3)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
