"""Compiling functions that only kernels call, no further than the kernels need.

Numba optimizes every function by itself, with a copy of all its callees, generates machine code for
it, and does both again within each of its callers. Here a function is only lowered to LLVM IR;
everything else happens once, in the kernel that it is linked into.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llvmlite.binding import Linkage
from numba import _dynfunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import LoweringPass, register_pass
from numba.core.typed_passes import NativeLowering

from .unique_names import UniqueCompiler, UniqueNames


class _Lowered(JITCodeLibrary):  # type: ignore[misc]  # Numba is Any here
    """Lowered code that is not optimized."""

    _shared_module: Any
    _linking_libraries: list[Any]

    def add_llvm_module(self, module: Any) -> None:
        """Link the module as it is; Numba would run passes over each function."""
        self._final_module.link_in(module)

    def finalize(self) -> None:
        """Neither optimize nor generate machine code."""
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage == Linkage.external:
                function.linkage = "linkonce_odr"  # as Numba does in a copy of the whole
        self._finalized = True

    def _get_module_for_linking(self) -> Any:
        """The code with all its callees, for callers that do not link these one by one."""
        if self._shared_module is None:
            self._ensure_finalized()
            whole = self._final_module.clone()
            _link(whole, self._linking_libraries)
            self._shared_module = whole
        return self._shared_module


class _Kernel(JITCodeLibrary):  # type: ignore[misc]  # Numba is Any here
    """A kernel with all its callees."""

    _linking_libraries: list[Any]

    def finalize(self) -> None:
        """Link each function once; Numba would link it into each caller, and so on upwards."""
        for library in _link(self._final_module, self._linking_libraries):
            if hasattr(library, "_reload_init"):  # older Numba has none
                self._reload_init.update(library._reload_init)
        self._linking_libraries = []
        super().finalize()


def _link(module: Any, libraries: Iterable[Any]) -> Iterable[Any]:
    """Link libraries, and those that they call, into a module; returns them all."""
    found: dict[Any, None] = {}
    waiting = list(libraries)
    while waiting:
        library = waiting.pop()
        if library in found:
            continue
        found[library] = None
        own = library._final_module
        if isinstance(library, _Lowered):
            waiting += library._linking_libraries
        else:
            own = library._get_module_for_linking()
        module.link_in(own, preserve=True)
    return found


@register_pass(mutates_CFG=False, analysis_only=False)
class _Declare(LoweringPass):  # type: ignore[misc]  # Numba is Any here
    """Register the code with a function that callers find; Python cannot call it."""

    _name = "declare"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        lowered, library = state.cr, state.library
        description = lowered.fndesc
        handle = _dynfunc.make_function(
            description.lookup_module(), description.qualname, "", 0, lowered.env, (library,)
        )
        state.targetctx.insert_user_function(handle, description, [library])
        state.cr = lowered._replace(cfunc=handle)
        return True


class InnerCompiler(UniqueNames, CompilerBase):  # type: ignore[misc]  # Numba is Any here
    """Numba's compiler, stopped after lowering."""

    def define_pipelines(self) -> list[Any]:
        """Numba's passes, and one more."""
        state = self.state
        state.library = _Lowered(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        passes = DefaultPassBuilder.define_nopython_pipeline(state)
        passes.add_pass_after(_Declare, NativeLowering)
        passes.finalize()
        return [passes]


class KernelCompiler(UniqueCompiler):
    """Numba's compiler for functions that Python calls."""

    def define_pipelines(self) -> list[Any]:
        """Numba's passes, with a library of our own."""
        state = self.state
        state.library = _Kernel(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        pipelines: list[Any] = super().define_pipelines()
        return pipelines
