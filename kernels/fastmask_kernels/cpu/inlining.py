"""How Numba compiles functions that only kernels call: as far as the kernels need it.

Numba optimises every function by itself, with a copy of all that it calls, makes machine code of
it, and does both once more within each of its callers. Here a function is only lowered to LLVM's
language; whatever else is done with it is done once, in the kernel that it is linked into.
"""

from __future__ import annotations

from typing import Any

from numba import _dynfunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import LoweringPass, register_pass
from numba.core.typed_passes import NativeLowering

from .unique_names import UniqueNames


class _Lowered(JITCodeLibrary):  # type: ignore[misc]  # Numba is Any here
    """Code as it was lowered, with that of all it calls."""

    def add_llvm_module(self, module: Any) -> None:
        """Take it as it is, where Numba would run passes over each function."""
        self._final_module.link_in(module)

    def finalize(self) -> None:
        """Link, and neither optimise nor give anything to the machine."""
        for library in dict.fromkeys(self._linking_libraries):
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalized = True


@register_pass(mutates_CFG=False, analysis_only=False)
class _Declare(LoweringPass):  # type: ignore[misc]  # Numba is Any here
    """Tell callers under which function they find the code; it cannot be called from Python."""

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
    """Numba's compiler without its end."""

    def define_pipelines(self) -> list[Any]:
        """Numba's passes, and one more."""
        state = self.state
        state.library = _Lowered(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        passes = DefaultPassBuilder.define_nopython_pipeline(state)
        passes.add_pass_after(_Declare, NativeLowering)
        passes.finalize()
        return [passes]
