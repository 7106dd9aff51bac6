from __future__ import annotations

import sys
from pathlib import Path

from hopbench import statistics
from tests.test_imports import imported


def test_it_needs_numpy_and_nothing_else() -> None:
    folder = Path(statistics.__file__).parent
    names = {
        name.split(".")[0]
        for path in folder.glob("*.py")
        for name in imported(path.read_text(), "hopbench.statistics")
    }
    assert names - sys.stdlib_module_names == {"numpy", "hopbench"}
