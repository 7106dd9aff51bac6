"""``hopbench`` in this process: from a command line to how it ended, and what it said."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hopbench import cli
from hopbench.exits import Exit


@dataclass(frozen=True, slots=True)
class Ended:
    code: Exit
    out: bytes
    err: str

    @property
    def document(self) -> Any:
        """What ``--json -`` printed."""
        return json.loads(self.out)


class Hopbench:
    """Called with the words of a command line; runs them in ``directory``. What processes that it
    starts say is heard, too."""

    def __init__(self, directory: Path, capture: pytest.CaptureFixture[bytes]) -> None:
        self.directory = directory
        self._capture = capture

    def __call__(self, *words: object, **environment: str) -> Ended:
        self._capture.readouterr()
        with contextlib.chdir(self.directory), pytest.MonkeyPatch.context() as variables:
            for name, value in environment.items():
                variables.setenv(name, value)
            code = cli.invoke([str(word) for word in words])
        out, err = self._capture.readouterr()
        return Ended(code, out, err.decode())
