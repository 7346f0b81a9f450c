"""mkdocs hooks: pages whose text comes from elsewhere in the repository."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
IN_ROOT = {name.lower(): name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")}


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """A root file with links that work in docs, or the kernels page with all kernels."""
    path = page.file.src_path
    if path == "reference/kernels.md":
        return "\n".join((markdown, *kernels()))
    if path not in IN_ROOT:
        return markdown
    text = (ROOT / IN_ROOT[path]).read_text("utf-8").replace("](docs/", "](")
    return re.sub(r"(?m)^## \[(.*?)\]", r"## \1", text)  # versions, whose links have no target here


def kernels() -> Iterator[str]:
    """A section for each kernel of the table, in Markdown."""
    from fastmask_kernels.spec import KERNELS

    for kernel in KERNELS.values():
        yield f"\n## `{kernel.name}`\n\n{kernel.summary}.\n"
        yield "| argument | dtype | shape | |\n|---|---|---|---|"
        for argument in kernel.arguments:
            shape = "" if argument.shape is None else f"({', '.join(argument.shape)})"
            role = "output" if argument.output else ""
            yield f"| `{argument.name}` | {argument.dtype} | {shape} | {role} |"
