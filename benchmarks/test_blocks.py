"""Parts of pages that benchmarks write."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.blocks import DOCS, write_block


def test_smoke_blocks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "before\n<!-- a-b: c -->\nkept\n<!-- end of a-b -->\n"
        "<!-- a: c -->\nold\n<!-- end of a -->\n"
    )
    write_block(page, "a", "new \\1\n")
    found = page.read_text()
    assert "kept" in found
    assert found.endswith("<!-- a: c -->\nnew \\1\n<!-- end of a -->\n")
    with pytest.raises(ValueError, match="one block b to write to, not 0"):
        write_block(page, "b", "")


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("cells.md", ["formulas"]),
        ("ragged.md", ["ragged"]),
        ("quantization.md", ["quantized", "accuracy", "folded"]),
        ("scaling.md", ["scaling"]),
        (
            "keras.md",
            [f"{b}{s}" for b in ("torch", "jax", "tensorflow") for s in ("", "-more", "-load")],
        ),
    ],
)
def test_smoke_pages_have_blocks(page: str, names: list[str], tmp_path: Path) -> None:
    copy = tmp_path / page
    copy.write_text((DOCS / page).read_text("utf-8"), "utf-8")
    for name in names:
        write_block(copy, name, "")
