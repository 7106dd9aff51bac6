from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.harness import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A directory to run commands in, with nothing left running at the end."""
    found = Site(tmp_path)
    yield found
    found.clear()
