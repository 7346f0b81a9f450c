"""Names of compiled functions that no other process gives to other code.

Numba tells functions made by one factory apart by a number that begins anew in each process. In
code from the disk cache, which several processes compiled, two of them may then have one name, and
where LLVM did not inline them, the one that is loaded first runs in the place of both.
"""

from __future__ import annotations

import uuid
from typing import Any

from numba.core.compiler import Compiler


class UniqueNames:
    """What makes the names of a Numba compiler's functions unique, in front of its class."""

    def _compile_bytecode(self) -> Any:
        identity = self.state.func_id  # type: ignore[attr-defined]  # Numba's
        identity.unique_id = uuid.uuid4().hex
        identity.unique_name = f"{identity.func_qualname}${identity.unique_id}"
        return super()._compile_bytecode()  # type: ignore[misc]  # Numba's


class UniqueCompiler(UniqueNames, Compiler):  # type: ignore[misc]  # Numba is Any here
    """Numba's own compiler, with such names."""
