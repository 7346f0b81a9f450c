"""Turning a Python function into a compiled kernel, cached on disk.

It fixes two things that `numba.njit(cache=True)` gets wrong for a library:

- its cache notices edits only in the file of the cached function, so after an upgrade old
  code of a changed callee keeps running: here the digest of all kernel sources is in the key;
- it compiles again for every mix of writeable and read-only arrays: here each kernel is
  compiled once a dtype, with read-only inputs, which accept both.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
import numpy.ma  # now: Numba's first call would import it, and a fork would not wait for that
from llvmlite.binding import ffi
from numba import njit, types
from numba.core import config
from numba.core.caching import FunctionCache
from numba.core.compiler_lock import global_compiler_lock
from numba.core.serialize import dumps
from numba.np.numpy_support import from_dtype

from .. import JitDisabledError
from ..cache import KernelFiles, SafeCache, note_unusable, settings_of, tell
from ..forks import COMPILER, LLVM, hold_at_fork
from ..sources import source_digest
from .unique_names import UniqueCompiler

try:
    from .inlining import InnerCompiler, KernelCompiler
except (ImportError, AttributeError):
    # Numba's internals have changed: compile as it does, which takes two seconds more
    InnerCompiler = KernelCompiler = UniqueCompiler  # type: ignore[misc]  # instead

# Python's own locks, without the wrappers of Numba and llvmlite: see `fork_safe_lock`.
_compiler_lock = getattr(global_compiler_lock, "_lock", global_compiler_lock)
_llvm_lock = getattr(ffi.lib, "_lock", nullcontext())
hold_at_fork(_compiler_lock, COMPILER)
hold_at_fork(getattr(_llvm_lock, "_lock", _llvm_lock), LLVM)

_PACKAGE = Path(__file__).parent
SignatureOf = Callable[[Any], Any]
"""From the Numba type of the call's varying dtype to the kernel's signature."""


class _SourceCache(SafeCache, FunctionCache):  # type: ignore[misc]  # Numba is Any here
    """Numba's disk cache with our own files, and with the sources of all callees in its key.

    Numba's key contains the values that a function closes over, which differ between processes if
    they are functions; here the kernel's name tells what they are.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        super().__init__(function)
        self._kernel = function.__module__, name
        if Path(function.__code__.co_filename).is_relative_to(_PACKAGE):
            # All kernels in one folder, not in one for each folder of sources.
            self._cache_path = FunctionCache(inner).cache_path
        base = self._impl.filename_base + (f".{name}" if name else "")
        self._cache_file = KernelFiles(self._cache_path, base, dumps)

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, Any]:
        made_by = numba.__version__, llvmlite.__version__, np.__version__
        here = sig, codegen.magic_tuple(), *self._kernel, settings_of(config)
        # The kernel's own file, too, which may be outside of this package.
        return here, (made_by, self._impl.locator.get_source_stamp(), source_digest())


def inner(function: Callable[..., Any], forceinline: bool = False) -> Any:
    """A function that only compiled kernels call; LLVM decides where it is inlined."""
    return njit(
        error_model="numpy",
        forceinline=forceinline,  # even when False: otherwise callees inherit their first caller's
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        pipeline_class=InnerCompiler,
    )(function)


def inlined(function: Callable[..., Any]) -> Any:
    """A large function that kernels call at one place, where LLVM inlines it.

    Numba can inline it, too, but takes longer for that than for all type inference.
    """
    return inner(function, forceinline=True)


_pauses: list[bool] = []  # for each pause, whether the garbage collector was enabled before it


@contextmanager
def _no_collections() -> Iterator[None]:
    """Pause the garbage collector, which the compiler's many objects keep busy.

    It stays paused until the last of several threads is done. No finalizer may run in a thread that
    holds the compiler's lock: it might wait for another lock, which a forking thread holds.
    """
    _pauses.append(gc.isenabled() or any(_pauses))
    gc.disable()
    try:
        yield
    finally:
        if _pauses.pop() and not _pauses:
            gc.enable()
            if _pauses:  # another thread began meanwhile, after `not _pauses`
                gc.disable()


class CompiledKernel:
    """A function compiled on first use for each dtype that it meets, without the GIL.

    Args:
        function: Python source of the kernel.
        signature_of: gives the Numba signature for a dtype's Numba type.
        name: distinguishes kernels that are made from the same source.
        in_c: whether C calls it, at `address`.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        signature_of: SignatureOf,
        name: str = "",
        in_c: bool = False,
    ) -> None:
        self._function, self._name, self._signature_of = function, name, signature_of
        self._in_c = in_c
        self._ready: dict[Any, Any] = {}

    def _new_dispatcher(self) -> Any:
        if config.DISABLE_JIT:  # since this module was imported
            raise JitDisabledError
        dispatcher = njit(
            error_model="numpy",
            nogil=True,
            no_cfunc_wrapper=not self._in_c,
            pipeline_class=KernelCompiler,
        )(self._function)
        try:
            dispatcher._cache = _SourceCache(self._function, self._name)
        except Exception as error:  # for instance, no folder is writable
            note_unusable(config.CACHE_DIR or str(Path(__file__).parent), error)
        return dispatcher

    @property
    def cache_folder(self) -> str | None:
        """Where the compiled code is kept; None if no folder is writable."""
        try:
            return str(_SourceCache(self._function, self._name).cache_path)
        except Exception:
            return None

    def for_dtype(self, dtype: Any) -> Callable[..., Any]:
        """The compiled function that takes arrays of `dtype`.

        If warnings are errors it raises a warning of the cache once, and works from then on.
        """
        ready = self._ready.get(dtype)
        if ready is None:
            ready = self.for_dtype_silently(dtype)
            tell()
        return ready

    def for_dtype_silently(self, dtype: Any) -> Callable[..., Any]:
        """The same without warnings, for our worker threads, where nobody would catch them."""
        ready = self._ready.get(dtype)
        if ready is None:
            with _no_collections(), _compiler_lock:  # collections come after the lock
                ready = self._ready.get(dtype)
                if ready is None:
                    # A dispatcher for each dtype: one that may still compile does not accept
                    # read-only arrays, so calls of other threads would fail.
                    ready = self._new_dispatcher()
                    ready.compile(self._signature_of(from_dtype(dtype)))
                    ready.disable_compile()
                    self._ready[dtype] = ready
        return ready  # type: ignore[no-any-return]  # a dispatcher

    def address(self, dtype: Any) -> int:
        """Where the compiled function is, for compiled code to call, or C."""
        ready: Any = self.for_dtype_silently(dtype)
        (found,) = ready.overloads.values()
        names = found.fndesc
        name = names.llvm_cfunc_wrapper_name if self._in_c else names.llvm_func_name
        return int(found.library.get_pointer_to_function(name))


def compiled(
    signature_of: SignatureOf, name: str = "", in_c: bool = False
) -> Callable[[Callable[..., Any]], CompiledKernel]:
    """Decorator form of `CompiledKernel`."""
    return lambda function: CompiledKernel(function, signature_of, name, in_c)


def output(dtype: Any, ndim: int) -> Any:
    """Numba type of a C-contiguous array that a kernel writes."""
    return types.Array(dtype, ndim, "C")


def array(dtype: Any, ndim: int) -> Any:
    """Numba type of a C-contiguous array that a kernel only reads; it may be writeable or not."""
    return types.Array(dtype, ndim, "C", readonly=True)
