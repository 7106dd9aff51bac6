"""Errors that reach a person. Each carries what failed, where, and what to try."""

from __future__ import annotations

from dataclasses import dataclass


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

    def __str__(self) -> str:
        place = "" if self.file is None else f"{self.file}: "
        if self.file is not None and self.line is not None:
            place = f"{self.file}:{self.line}: "
        return f"{place}{self.text}" + (f"\n  {self.hint}" if self.hint else "")


@dataclass(slots=True, eq=False)
class CannotStart(Exception):
    """A part did not come up. Exit code 5. ``log`` is the tail of its log, may be empty."""

    part: str
    text: str
    log: str = ""
    hint: str | None = None

    def __str__(self) -> str:
        return f"{self.part}: {self.text}" + (f"\n  {self.hint}" if self.hint else "")
