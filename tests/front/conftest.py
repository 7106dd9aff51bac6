from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def chdir(tmp_path: Path) -> Iterator[None]:
    """The test runs in its own empty directory."""
    with contextlib.chdir(tmp_path):
        yield
