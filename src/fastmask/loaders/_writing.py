"""Files that are written completely or not at all.

A new file has no name, if the system allows that, until it is complete; then it replaces the old
file in one step. While it has a temporary name, its process holds a lock on it: temporary files
without a lock are left over, and the next write into the folder removes them.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from ._reading import check_regular

if sys.platform != "win32":
    import fcntl

_PREFIX, _SUFFIX = ".fastmask-", ".tmp"
_DAY = 24 * 3600.0

Fill = Callable[[IO[bytes]], None]


def write_whole(path: Path, fill: Fill) -> None:
    """Write a file; one that exists keeps its mode, and stays as it is until all is written.

    Args:
        path: its name, or a link to it.
        fill: writes into an open file; may be called a second time, for another one.

    Raises:
        ValueError: it exists and is not a regular file.
        OSError: it cannot be written.
    """
    target = Path(os.path.realpath(path))
    _check_folder(target.parent)
    try:
        known = os.stat(target) if os.path.lexists(target) else None
        if known is not None:
            check_regular(known, path)
        _remove_left_over(target.parent)
        try:
            _replace(target, known, fill, nameless=sys.platform == "linux")
        except _NoName:
            _replace(target, known, fill, nameless=False)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # not a temporary name


class _NoName(Exception):
    """Files without a name are not possible here."""


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        raise FileNotFoundError(errno.ENOENT, "No such folder", str(folder))
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "Not a folder", str(folder))


def _replace(target: Path, known: os.stat_result | None, fill: Fill, nameless: bool) -> None:
    """Fill a new file and put it in place of `target`, of which `known` is the state."""
    # Whoever could not read the old file must not be able to read the new one meanwhile.
    temporary, descriptor = _created(target.parent, 0o666 if known is None else 0o600, nameless)
    try:
        with open(descriptor, "w+b") as file:
            fill(file)
            file.flush()
            if known is not None:
                _take_over(descriptor, known)
            os.fsync(descriptor)
            if nameless:
                _give_name(descriptor, temporary)
            if sys.platform != "win32":  # while the lock is held
                os.replace(temporary, target)
        if sys.platform == "win32":  # Windows cannot replace a file by an open one
            os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _created(folder: Path, mode: int, nameless: bool) -> tuple[Path, int]:
    """Create a locked file; return its temporary name, if nameless for later, and descriptor."""
    while True:
        temporary = folder / f"{_PREFIX}{os.urandom(8).hex()}{_SUFFIX}"
        if nameless:
            descriptor = _open_nameless(folder, mode)
        else:
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0)
            descriptor = os.open(temporary, flags, mode)
        taken = _locked(descriptor) is False or not (nameless or _has_name(descriptor))
        if not taken:
            return temporary, descriptor
        os.close(descriptor)  # another process saw it before it was locked, and removed it


def _open_nameless(folder: Path, mode: int) -> int:
    if sys.platform == "linux":
        with suppress(OSError):
            return os.open(folder, os.O_TMPFILE | os.O_RDWR, mode)
    raise _NoName


def _give_name(descriptor: int, path: Path) -> None:
    try:
        # Python follows the link only if it is given the descriptor of a folder, which is not
        # used then.
        os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor)
    except OSError as error:
        raise _NoName from error


def _has_name(descriptor: int) -> bool:
    return sys.platform == "win32" or os.fstat(descriptor).st_nlink > 0


def _locked(descriptor: int) -> bool | None:
    """Lock a file until it is closed; False if another process has a lock, None without locks."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _take_over(descriptor: int, known: os.stat_result) -> None:
    """Give a file the mode and, as far as that is allowed, the owner of another one."""
    if sys.platform == "win32":
        return
    with suppress(OSError):
        os.fchown(descriptor, known.st_uid, known.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(known.st_mode))


def _remove_left_over(folder: Path) -> None:
    """Remove what killed processes left behind."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and entry.name.endswith(_SUFFIX):
                with suppress(OSError):
                    _remove_unlocked(entry.path)


def _remove_unlocked(path: str) -> None:
    if sys.platform == "win32":
        if time.time() - os.lstat(path).st_mtime > _DAY:
            os.unlink(path)
        return
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and _locked(descriptor):
            os.unlink(path)
    finally:
        os.close(descriptor)
