"""Names of compiled functions that are unique across processes.

Numba distinguishes functions made by one factory by a number that starts again in each process. In
code from the disk cache, which several processes compiled, two of them may then have one name, and
where LLVM did not inline them, the one that is loaded first runs in place of both.
"""

from __future__ import annotations

import uuid
from typing import Any

from numba.core.compiler import Compiler


class UniqueNames:
    """A mixin, placed before a Numba compiler, that makes the names of its functions unique."""

    def _compile_bytecode(self) -> Any:
        identity = self.state.func_id  # type: ignore[attr-defined]  # Numba's
        identity.unique_id = uuid.uuid4().hex
        identity.unique_name = f"{identity.func_qualname}${identity.unique_id}"
        return super()._compile_bytecode()  # type: ignore[misc]  # Numba's


class UniqueCompiler(UniqueNames, Compiler):  # type: ignore[misc]  # Numba is Any here
    """Numba's own compiler, with unique names."""
