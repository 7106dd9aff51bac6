"""What goes where: one machine document on stdout, everything for people beside it.

With ``--json -`` stdout carries the document alone and people are served on stderr; without it
people are served on stdout, and progress and notes always go to stderr.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

import orjson
from rich.console import Console, RenderableType

from hopbench import disk
from services.errors import BadInput

STDOUT = "-"


class RefusedTarget(BadInput):
    """What ``--json`` names takes no document: not even that of this error."""


class _Console(Console):
    """Text is shown as it is: ``:bug:`` is a name as good as any."""

    def __init__(self, *, stderr: bool, quiet: bool = False) -> None:
        super().__init__(stderr=stderr, quiet=quiet, highlight=False, emoji=False)

    def on_broken_pipe(self) -> None:
        """Whoever reads has seen enough (``report | head -1``), which changes nothing else."""
        deafen(sys.stderr if self.stderr else sys.stdout)


@dataclass(frozen=True, slots=True)
class Output:
    """``json`` is None, ``-`` or a file; ``quiet`` drops notes and progress, not results."""

    json: str | None = None
    quiet: bool = False

    def __post_init__(self) -> None:
        """Raises RefusedTarget for a file that can't be made: better now than after an
        hour's run."""
        check_target("--json", self.json, RefusedTarget)

    @property
    def people(self) -> Console:
        return _Console(stderr=self.json == STDOUT)

    @property
    def notes(self) -> Console:
        return _Console(stderr=True, quiet=self.quiet)

    def show(self, result: RenderableType) -> None:
        """A result, for people. Plain text is printed as it is, whatever the width."""
        if self.quiet and self.json == STDOUT:
            return
        if isinstance(result, str):
            self.people.print(result, markup=False, soft_wrap=True)
        else:
            self.people.print(result)

    def reason(self, text: str) -> None:
        """Why the exit code is what it will be: told even when quiet."""
        _Console(stderr=True).print(text, markup=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """What goes on, for people."""
        self.notes.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Show that something takes its time, where somebody looks."""
        notes = self.notes
        if self.quiet or not notes.is_terminal:
            yield
            return
        with notes.status(what):
            yield

    def document(self, document: object) -> None:
        """The machine's document, where ``--json`` asked for it."""
        if self.json is not None:
            write_document(self.json, document)


def check_target(flag: str, target: str | None, refused: type[BadInput] = BadInput) -> None:
    """Whether what ``flag`` names can be written. Raises ``refused`` where it can't."""
    if target is None or target == STDOUT:
        return
    path = Path(target)
    if not target or path.is_dir():
        raise refused(f"{flag} {target!r} names no file", hint=f"{flag} FILE, or {flag} -")
    if _written_through(path) and path.exists():
        if not os.access(path, os.W_OK):
            raise refused(f"{flag} {target} cannot be written to")
        return
    parent = Path(os.path.realpath(path)).parent
    if not os.access(parent, os.W_OK | os.X_OK):
        why = "cannot be written to" if parent.is_dir() else "is no directory"
        raise refused(f"{flag} {target}: {parent} {why}")


def write_document(target: str, document: object) -> None:
    """``target`` is as of :func:`write`. Raises OSError where it can't be written."""
    write(target, orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def write(target: str, text: bytes) -> None:
    """To a file, which is there whole or not at all; through a link, a pipe or a device, which stay
    what they are; or to standard output, by ``-``. Raises OSError where it can't be written."""
    path = Path(target)
    if target == STDOUT or _is_standard_output(path):
        try:
            sys.stdout.buffer.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            deafen(sys.stdout)
    elif _written_through(path):
        with path.open("wb") as file:
            file.write(text)
    else:
        with disk.whole(path) as file:
            file.write(text)


def _written_through(path: Path) -> bool:
    return path.is_symlink() or (path.exists() and not path.is_file())


def _is_standard_output(path: Path) -> bool:
    """``/dev/stdout``, for one. Opened a second time, a file would be written from its beginning,
    over what was said before."""
    try:
        return os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):
        return False


def deafen(stream: TextIO) -> None:
    """Give up an output that takes no more: the interpreter would try again at its end, and
    complain."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def be_legible() -> None:
    """What the terminal's encoding cannot say is replaced, and ends nothing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def json_target(arguments: Sequence[str]) -> str | None:
    """What ``--json`` says, of a command line that may be wrong otherwise."""
    for i, argument in enumerate(arguments):
        if argument == "--json":
            return arguments[i + 1] if i + 1 < len(arguments) else None
        if argument.startswith("--json="):
            return argument.removeprefix("--json=")
    return None


def complain(text: str, log: str = "") -> None:
    """An error, for people; ``log`` is the tail of what the failed part wrote."""
    console = _Console(stderr=True)
    console.print("[bold red]error:[/] ", end="")
    console.print(text, markup=False, soft_wrap=True)
    if log:
        console.print("the end of its log:", style="dim")
        for line in log.rstrip().splitlines():
            console.print(f"  | {line}", markup=False, soft_wrap=True, style="dim")
