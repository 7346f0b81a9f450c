"""The digest of the kernel sources, a part of the keys of compilation caches."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path


@cache
def source_digest() -> str:
    """Digest of every source file of this distribution's kernels."""
    return digest_of(Path(__file__).parent)


def digest_of(folder: Path) -> str:
    """Digest of the names and contents of all Python files in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()
