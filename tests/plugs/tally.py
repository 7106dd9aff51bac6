"""A format of traces: a line a span, ``trace span parent service name start_ns end_ns``."""

from __future__ import annotations

from analysis.arrays import NONE
from analysis.reading.formats.content import Content, Format
from analysis.reading.recorder import Recorder

_MAGIC = b"tally 1\n"


def _recognises(content: Content) -> bool:
    return content.data.startswith(_MAGIC)


def _read(content: Content, recorder: Recorder) -> None:
    for line in content.data.decode().splitlines()[1:]:
        trace, span, parent, service, name, start, end = line.split()
        recorder.add(
            trace=recorder.traces[trace],
            span=recorder.ids[span],
            parent=NONE if parent == "-" else recorder.ids[parent],
            name=name,
            kind=2,
            status=0,
            start=int(start),
            end=int(end),
            resource=recorder.add_resource({"service.name": service}),
            attributes=[],
        )


TALLY = Format("tally", _recognises, _read)
