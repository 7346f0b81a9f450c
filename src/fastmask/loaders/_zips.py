"""Zip files without compression, whose contents cannot be longer than the file."""

from __future__ import annotations

import zipfile


def check_stored(members: list[zipfile.ZipInfo], limit: int, writer: str) -> None:
    """Check that members are as long as they claim, and together not longer than the file.

    Args:
        members: the members of the archive.
        limit: the size of the file.
        writer: the function that writes such files, for messages.

    Raises:
        ValueError: they are compressed, too long, or have the same name.
    """
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError(f"its members are compressed, which {writer} does not do")
    if any(member.file_size != member.compress_size for member in members):
        raise ValueError("the sizes of its members contradict each other")
    if sum(member.file_size for member in members) > limit:
        raise ValueError("its members claim to be longer than the file")
    if len({member.filename for member in members}) < len(members):
        raise ValueError("two of its members have the same name")
