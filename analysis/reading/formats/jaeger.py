"""Jaeger's own JSON: the UI's download and ``/api/traces``.

``{"data": [{"traceID", "spans", "processes"}]}``, times in µs, typed tags (an int64 beyond 2^53
arrives as a string), hex ids, unpadded in older releases. A span's kind is its tag ``span.kind``;
its parent is the first CHILD_OF reference within its trace, else the first FOLLOWS_FROM. Some
downloads repeat whole ancestors inside ``references[].span``: only the ids are read.
"""

from __future__ import annotations

from typing import Any, Final

from analysis.arrays import NONE
from analysis.reading.formats.content import Content, Format
from analysis.reading.recorder import (
    Malformed,
    Recorder,
    Skipped,
    Unreadable,
    listed,
    mapped,
    padded,
    text_of,
)
from analysis.spans.table import Kind, Status

_KINDS: Final = {kind.name.lower(): kind.value for kind in Kind}
_STATUSES: Final = {status.name: status.value for status in Status}
_ID_DIGITS: Final = (16,)


def _recognises(content: Content) -> bool:
    return any(_traces(document.value) is not None for document in content.documents[:1])


def _traces(document: Any) -> list[Any] | None:
    if isinstance(document, dict) and isinstance(document.get("data"), list):
        traces: list[Any] = document["data"]
        if all(isinstance(trace, dict) and "spans" in trace for trace in traces[:1]):
            return traces
    return None


def _read(content: Content, recorder: Recorder) -> None:
    recorder.skipped.extend(content.broken_lines)
    for offset, document in content.documents:
        for number, trace in enumerate(_traces(document) or ()):
            if not isinstance(trace, dict) or not isinstance(trace.get("spans"), list):
                raise Unreadable(f"data[{number}] is no trace", offset)
            try:
                processes = {
                    name: recorder.add_resource(_resource(process))
                    for name, process in mapped(
                        trace.get("processes"), "a table of processes"
                    ).items()
                }
            except Malformed as error:
                raise Unreadable(f"data[{number}]: {error}", offset) from error
            for place, span in enumerate(trace["spans"]):
                try:
                    _span(span, processes, recorder)
                except Malformed as error:
                    # JSON keeps no byte offsets; the place in the file is told in words.
                    reason = f"data[{number}].spans[{place}]: {error}"
                    recorder.skipped.append(Skipped(content.file, offset, reason))


def _resource(process: Any) -> dict[str, str]:
    process = mapped(process, "a process")
    return {
        **dict(_tags(process.get("tags"))),
        "service.name": str(process.get("serviceName", "")),
    }


def _span(span: Any, processes: dict[str, int], recorder: Recorder) -> None:
    span = mapped(span, "a span")
    trace, own = span.get("traceID"), span.get("spanID")
    if not isinstance(trace, str) or not isinstance(own, str) or not trace or not own:
        raise Malformed("no traceID and spanID")
    process = span.get("processID")
    if isinstance(process, str) and process in processes:
        resource = processes[process]
    elif isinstance(span.get("process"), dict):
        resource = recorder.add_resource(_resource(span["process"]))
    else:
        raise Malformed(f"unknown process {process!r}")
    start, duration = _us(span.get("startTime"), "startTime"), _us(span.get("duration"), "duration")
    if duration < 0:
        raise Malformed("a negative duration")
    tags = _tags(span.get("tags"))
    said = dict(tags)
    references = [
        mapped(reference, "a reference")
        for reference in listed(span.get("references"), "references")
    ]
    if "parentSpanID" in span and span["parentSpanID"] and not references:
        references = [
            {"refType": "CHILD_OF", "traceID": trace, "spanID": str(span["parentSpanID"])}
        ]
    parent, follows, links = _parent(trace, references)
    recorder.add(
        trace=recorder.traces[padded(trace)],
        span=recorder.ids[padded(own, _ID_DIGITS)],
        parent=NONE if parent is None else recorder.ids[padded(parent, _ID_DIGITS)],
        name=str(span.get("operationName", "")),
        kind=_KINDS.get(said.get("span.kind", "").lower(), 0),
        status=_STATUSES.get(said.get("otel.status_code", "").upper(), 0),
        start=start,
        end=start + duration,
        resource=resource,
        attributes=[recorder.pair(*tag) for tag in tags],
        links=[(recorder.traces[padded(t)], recorder.ids[padded(s, _ID_DIGITS)]) for t, s in links],
        follows=follows,
    )


def _parent(
    trace: str, references: list[dict[str, Any]]
) -> tuple[str | None, bool, list[tuple[str, str]]]:
    """The parent's id, whether it FOLLOWS_FROM, and every other reference as a link."""
    found: list[tuple[str, str, str]] = []
    for reference in references:
        of, span = reference.get("traceID", trace), reference.get("spanID")
        if isinstance(of, str) and isinstance(span, str) and span:
            found.append((str(reference.get("refType", "CHILD_OF")), of, span))
    parent: tuple[str, str, str] | None = None
    for kind in ("CHILD_OF", "FOLLOWS_FROM"):
        parent = next((r for r in found if r[0] == kind and r[1] == trace), None)
        if parent is not None:
            break
    links = [(of, span) for kind, of, span in found if (kind, of, span) != parent]
    if parent is None:
        return None, False, links
    return parent[2], parent[0] == "FOLLOWS_FROM", links


def _tags(tags: Any) -> list[tuple[str, str]]:
    found = []
    for tag in listed(tags, "tags"):
        if not isinstance(tag, dict) or "key" not in tag:
            raise Malformed("a tag without a key")
        found.append((str(tag["key"]), text_of(tag.get("value"))))
    return found


def _us(value: Any, what: str) -> int:
    """µs as ns."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise Malformed(f"{what} {value!r} is no integer")
    try:
        return int(value) * 1000
    except ValueError:
        raise Malformed(f"{what} {value!r} is no integer") from None


JAEGER: Final = Format("Jaeger JSON", _recognises, _read)
