"""How a process of ours starts another: the same interpreter, and the same packages.

``-P`` keeps the working directory off the module path: whoever runs hopbench may stand in a
directory that has a ``services`` of its own.
"""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

HOME: Final = str(Path(__file__).parents[1])
"""The directory that our packages lie in."""


def command(module: str, *arguments: str) -> list[str]:
    """The command line for ``python -m module``."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """``inherited``, with which a child finds the packages of a checkout that is not installed."""
    if HOME in site.getsitepackages():
        return dict(inherited)
    path = [HOME, *filter(None, (inherited.get("PYTHONPATH"),))]
    return {**inherited, "PYTHONPATH": os.pathsep.join(dict.fromkeys(path))}
