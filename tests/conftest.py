"""Tests run on the checkout: in this process by ``pythonpath``, in processes they start by this."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.command_line import Hopbench

ROOT = Path(__file__).parents[1]


def pytest_configure() -> None:
    os.environ["PYTHONPATH"] = str(ROOT)


@pytest.fixture
def hopbench(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Hopbench:
    """The command line, in the test's own directory."""
    return Hopbench(tmp_path, capfdbinary)
