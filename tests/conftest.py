"""Tests run on the checkout: in this process by ``pythonpath``, in processes they start by this."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]


def pytest_configure() -> None:
    os.environ["PYTHONPATH"] = str(ROOT)
