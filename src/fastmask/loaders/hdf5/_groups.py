"""The members of a group in an HDF5 file.

Source:
    HDF5 File Format Specification, version 3.0, sections III.A to III.D and IV.A.2.
"""

from __future__ import annotations

from ._bytes import NOWHERE, Bytes, Fields
from ._messages import LINK, LINK_INFO, SYMBOL_TABLE, Messages, single

_MOST = 2**16  # members
_ENTRY = "QQII16x"  # name's place, header's address, kind of what is kept, reserved


def is_group(found: Messages) -> bool:
    """Whether an object with these messages is a group."""
    return any(kind in (SYMBOL_TABLE, LINK_INFO) for kind, _ in found)


def members(file: Bytes, found: Messages) -> dict[str, int | None]:
    """Addresses of the members' headers by name; None for a link.

    Raises:
        ValueError: the group is damaged.
    """
    if not any(kind == SYMBOL_TABLE for kind, _ in found):
        return _of_links(found)
    tree, heap = Fields(single(found, SYMBOL_TABLE)).take("QQ")
    names = _names(file, heap)
    result: dict[str, int | None] = {}
    for entries in _symbol_nodes(file, tree):
        for name, address, kind, _ in entries:
            if name >= len(names) or len(result) > _MOST:
                raise ValueError("has members without names, or too many")
            key = names[name:].split(b"\0", 1)[0].decode()
            result[key] = address if kind != 2 else None
    return result


def _names(file: Bytes, address: int) -> bytes:
    """The texts in a local heap."""
    fields = Fields(file.at(address, 32))
    if fields.piece(4) != b"HEAP":
        raise ValueError("has no names for its members")
    size, _, place = fields.take("xxxxQQQ")
    return file.at(place, size)


def _symbol_nodes(file: Bytes, root: int) -> list[list[tuple[int, int, int, int]]]:
    """The entries of a group's nodes, found through its tree."""
    result: list[list[tuple[int, int, int, int]]] = []
    stack, seen = [root], {root}
    while stack:
        address = stack.pop()
        fields = Fields(file.at(address, 8))
        signature = fields.piece(4)
        if signature == b"SNOD":
            count = fields.take("xxH")
            entries = Fields(file.at(address + 8, 40 * count))
            result.append([entries.take(_ENTRY) for _ in range(count)])
            continue
        kind, _, count = fields.take("BBH")
        if signature != b"TREE" or kind != 0:
            raise ValueError("has a damaged list of members")
        pairs = Fields(file.at(address + 24, 16 * count))
        children = [pairs.take("QQ")[1] for _ in range(count)]
        if seen.intersection(children) or len(set(children)) < count or len(seen) > _MOST:
            raise ValueError("has a list of members that goes in a circle")
        seen.update(children)
        stack.extend(reversed(children))
    return result


def _of_links(found: Messages) -> dict[str, int | None]:
    """The members of a group in the form that can also hold links to other files."""
    result: dict[str, int | None] = {}
    for kind, content in found:
        if kind == LINK_INFO:
            fields = Fields(content)
            flags = fields.take("xB")
            fields.piece(8 * (flags & 1))
            if fields.take("Q") != NOWHERE:
                raise ValueError("has its members in a form that Keras does not write")
        if kind == LINK:
            fields = Fields(content)
            flags = fields.take("xB")
            link = fields.take("B") if flags & 8 else 0
            fields.piece(8 * bool(flags & 4) + bool(flags & 16))
            name = fields.piece(fields.take("BHIQ"[flags & 3])).decode()
            result[name] = None if link else fields.take("Q")
    return result
