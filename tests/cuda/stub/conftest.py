"""Nothing here runs unless the driver is the stub."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from . import LOG, fail

if LOG not in os.environ:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(autouse=True)
def _nothing_fails_any_more() -> Iterator[None]:
    yield
    fail("", 0)
