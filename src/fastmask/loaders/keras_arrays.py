"""The arrays in an HDF5 file of Keras 3 that are weights."""

from __future__ import annotations

from collections.abc import Iterator

from .hdf5 import Hdf5

NOT_WEIGHTS = {"optimizer", "seed_generator"}
_MOST_GROUPS = 2**16


def arrays_in(file: Hdf5, around: str = "") -> Iterator[str]:
    """The paths of the arrays that are weights.

    Args:
        file: the file.
        around: the group that they are in.

    Raises:
        ValueError: there are too many groups, for example because one contains itself.
    """
    stack, count = [around], 0
    while stack:
        path = stack.pop()
        count += 1
        if count > _MOST_GROUPS or path.count("/") > 64:
            raise ValueError(f"it has more than {_MOST_GROUPS} groups, or one inside itself")
        if path.rpartition("/")[2] in NOT_WEIGHTS:
            continue
        if file.is_array(path):
            yield path
        else:
            stack.extend(f"{path}/{name}".lstrip("/") for name in reversed(file.members(path)))
