"""Inputs of an analysis: files, directories, spools and answers, each read by the format of its
content.

What a file is called decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from analysis.reading.formats import FORMATS
from analysis.reading.formats.content import Content, uncollected, uncompressed
from analysis.reading.formats.jaeger import JAEGER
from analysis.reading.formats.otlp_json import OTLP_JSON
from analysis.reading.normalisation import REPAIRS, normalise
from analysis.reading.recorder import Recorder, Skipped, Unreadable
from analysis.spans.parquet import holds_spans, read_parquet
from analysis.spans.table import SpanTable, concat
from services.errors import BadInput

ANSWERS: Final = "traces.jaeger"
"""A round's spool of what a query API answered."""
_SPOOLS: Final = ("traces.otlp", ANSWERS)
_PARQUET: Final = b"PAR1"


@dataclass(frozen=True, slots=True)
class Read:
    """Everything read, and what was repaired or left out on the way."""

    spans: SpanTable
    files: int
    repairs: dict[str, int]
    skipped: tuple[Skipped, ...]
    address: str | None = None
    """Where the traces come from, where that are no files; ``files`` then counts answers."""


def read(paths: Sequence[Path], *, skew: bool = False) -> Read:
    """Trace files and directories: run directories, what ``hopbench collect`` wrote, or any that
    hold trace files.

    Traces may be spread over files. One malformed span is skipped and counted. Raises BadInput for
    a file that cannot be read, with its name and offset.
    """
    recorder = Recorder()
    tables: list[SpanTable] = []
    files = 0
    for path in paths:
        if path.is_dir():
            inside = [_load(each, recorder, tables, required=False) for each in _inside(path)]
            files += sum(inside)
            if not any(inside):
                raise BadInput(
                    "no traces in this directory",
                    file=str(path),
                    hint="a run directory, what `hopbench collect` wrote, or files of "
                    + ", ".join(f.name for f in FORMATS),
                )
        else:
            files += _load(path, recorder, tables, required=True)
    return _taken(recorder, tables, files, skew=skew)


def read_spools(paths: Iterable[Path]) -> SpanTable:
    """A round's spools, whose cut tail is no error: requests of OTLP, or answers, a line each."""
    recorder = Recorder()
    tables: list[SpanTable] = []
    for path in paths:
        if path.name == ANSWERS:
            with path.open("rb") as lines:
                _pages(((str(path), line) for line in lines), recorder)
        else:
            _load(path, recorder, tables, required=False)
    return _taken(recorder, tables, 0).spans


def read_pages(pages: Iterable[tuple[str, bytes]], *, skew: bool = False) -> Read:
    """Documents out of somewhere else than files, each with a name for it; a span may be in
    several. What is no trace is skipped and counted; BadInput for one that breaks off the API's
    form."""
    recorder = Recorder()
    return _taken(recorder, [], _pages(pages, recorder), skew=skew)


def _taken(
    recorder: Recorder, tables: Sequence[SpanTable], files: int, *, skew: bool = False
) -> Read:
    """What was recorded, and ``tables`` behind it."""
    repairs = dict.fromkeys(REPAIRS, 0)
    if len(recorder):
        found = normalise(recorder, skew=skew)
        repairs, tables = found.repairs, [found.spans, *tables]
    return Read(concat(tables), files, repairs, tuple(recorder.skipped))


def _pages(pages: Iterable[tuple[str, bytes]], recorder: Recorder) -> int:
    """Record one document after another, so that one alone is held as objects; how many."""
    count = 0
    for name, data in pages:
        count += 1
        with uncollected():
            _page(Content(name, data), recorder)
    return count


def _page(content: Content, recorder: Recorder) -> None:
    found = next((f for f in (OTLP_JSON, JAEGER) if f.recognises(content)), None)
    if found is None:
        # The last line of a spool whose writer was killed.
        recorder.skipped.append(Skipped(content.file, None, _unknown(content)))
        return
    try:
        found.read(content, recorder)
    except Unreadable as error:
        raise BadInput(error.reason, file=content.file) from error


def _inside(directory: Path) -> Iterable[Path]:
    """Files that may hold traces, in a fixed order. In a trial, what was read before goes first:
    its spool holds the same spans."""
    for path in sorted(directory.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _inside(path)
        elif not path.is_file():
            continue  # a pipe or a socket: reading it may never end
        elif path.name not in _SPOOLS or not (directory / "spans.parquet").exists():
            yield path


def _load(path: Path, recorder: Recorder, tables: list[SpanTable], *, required: bool) -> bool:
    """Read one file into ``recorder`` or ``tables``. False where it holds no traces, which is an
    error where it was asked for."""
    file = str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", file=file) from error
    if data.startswith(_PARQUET):
        return _load_parquet(path, tables, required=required)
    try:
        content = Content(file, uncompressed(data))
        with uncollected():
            found = next((f for f in FORMATS if f.recognises(content)), None)
        if found is None:
            if not required:
                return False
            raise BadInput(
                "the file is empty" if not content.data.strip() else _unknown(content),
                file=file,
                hint="known formats: " + ", ".join(f.name for f in FORMATS),
            )
        with uncollected():
            found.read(content, recorder)
    except Unreadable as error:
        where = "" if error.offset is None else f" at byte {error.offset}"
        raise BadInput(f"{error.reason}{where}", file=file) from error
    return True


def _load_parquet(path: Path, tables: list[SpanTable], *, required: bool) -> bool:
    if not required and not holds_spans(path):
        return False
    tables.append(read_parquet(path))
    return True


def _unknown(content: Content) -> str:
    if content.broken_lines:
        return f"{content.broken_lines[0].reason} at byte {content.broken_lines[0].offset}"
    return "no known trace format at byte 0"
