"""Zip files without compression, whose contents cannot be longer than the file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable

from ._reading import Reader

HDF5, ZIP = b"\x89HDF\r\n\x1a\n", b"PK\3\4"  # how these files begin
OF_NUMPY = "as by numpy.savez_compressed: save it with numpy.savez"


def archive_in(file: Reader) -> zipfile.ZipFile:
    """Open a zip file; if it is not one, the error says what it is instead.

    Raises:
        ValueError: it is not a zip file, or only part of one.
    """
    try:
        return zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        file.seek(0)
        start = file.read(len(HDF5))
        if start == HDF5:
            raise ValueError("it is an HDF5 file: name it .h5") from error
        if start.startswith(ZIP):
            raise ValueError(
                "it is damaged or incomplete: the list of its members, at its end, is missing"
            ) from error
        raise ValueError("it is not a zip file" if start else "it is empty") from error


def names_told(names: Iterable[str]) -> str:
    """The first names of arrays in a file, for messages."""
    each = [name.removesuffix(".npy")[:40] for name in names]
    return ", ".join([*each[:5], *(["..."] if len(each) > 5 else [])]) or "nothing"


def check_stored(members: list[zipfile.ZipInfo], limit: int, compressed: str) -> None:
    """Check that members are as long as they claim, and together not longer than the file.

    Args:
        members: the members of the archive.
        limit: the size of the file.
        compressed: what messages say about compressed members.

    Raises:
        ValueError: they are compressed, too long, or have the same name.
    """
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError(f"its members are compressed, {compressed}")
    if any(member.file_size != member.compress_size for member in members):
        raise ValueError("the sizes of its members contradict each other")
    if sum(member.file_size for member in members) > limit:
        raise ValueError("its members claim to be longer than the file")
    if len({member.filename for member in members}) < len(members):
        raise ValueError("two of its members have the same name")
