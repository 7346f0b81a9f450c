"""What mkdocs is to do beside its own: pages that stand in the root of the repository, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
IN_ROOT = {name.lower(): name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")}


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The file in the root, with its links as they are in docs; other pages as they are."""
    name = IN_ROOT.get(page.file.src_path)
    if name is None:
        return markdown
    return (ROOT / name).read_text("utf-8").replace("](docs/", "](")
