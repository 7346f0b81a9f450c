"""Which line of a program a warning is about."""

from __future__ import annotations

import os
import sys

_PACKAGE = os.path.dirname(__file__) + os.sep


def frames_of_fastmask(*others: str) -> int:
    """The `stacklevel` of the first caller outside the package, for a warning by our caller.

    Python 3.12 has `skip_file_prefixes` for this.

    Args:
        others: folders of other packages whose frames are skipped, too.
    """
    folders = (_PACKAGE, *others)
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(folders):
        level, frame = level + 1, frame.f_back
    return level
