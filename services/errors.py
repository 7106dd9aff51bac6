"""Errors that reach a person. Each carries what failed, where, and what to try."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

_SHOWN: Final = 20
"""Of further errors."""


@dataclass(slots=True, eq=False)
class BadInput(Exception):
    """The input is wrong; nothing was started. Exit code 2.

    ``file`` as the user named it (``-`` for standard input), ``line`` from 1, ``text`` what is
    wrong including the offending text, ``hint`` what would fix it.
    """

    text: str
    file: str | None = None
    line: int | None = None
    hint: str | None = None
    others: tuple[BadInput, ...] = ()
    """What else is wrong with the same input."""

    def __str__(self) -> str:
        place = "" if self.file is None else f"{self.file}: "
        if self.file is not None and self.line is not None:
            place = f"{self.file}:{self.line}: "
        said = [f"{place}{self.text}", *([f"  {self.hint}"] if self.hint else [])]
        said += map(str, self.others[:_SHOWN])
        if (left := len(self.others) - _SHOWN) > 0:
            said.append(f"and {left} more")
        return "\n".join(said)


class Errors:
    """Gathers what is wrong with parts that can be read apart, to tell it together."""

    def __init__(self) -> None:
        self._found: list[BadInput] = []

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """The block may raise BadInput: it is kept, and what follows goes on."""
        try:
            yield
        except BadInput as error:
            self._found += [error, *error.others]

    def end(self) -> None:
        """Raises BadInput where any was gathered: the first in the file, with the others."""
        if self._found:
            first, *others = sorted(self._found, key=lambda error: error.line or 0)
            raise BadInput(first.text, first.file, first.line, first.hint, tuple(others))


@dataclass(slots=True, eq=False)
class CannotStart(Exception):
    """A part did not come up. Exit code 5. ``log`` is the tail of its log, may be empty."""

    part: str
    text: str
    log: str = ""
    hint: str | None = None

    def __str__(self) -> str:
        return f"{self.part}: {self.text}" + (f"\n  {self.hint}" if self.hint else "")
