"""Zipkin v2 JSON: a flat list of spans, or a list of traces of them.

Times in µs; a duration is at least 1, and may be absent where it is unknown; without a timestamp a
span has no place in its trace. A server span with ``shared: true`` reuses its client's id.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from analysis.arrays import NONE
from analysis.reading.formats.content import Content, Format
from analysis.reading.recorder import Malformed, Recorder, Skipped, mapped, padded, text_of
from analysis.spans.table import Kind

_KINDS: Final = {kind.name: kind.value for kind in Kind if kind > Kind.INTERNAL}
_ID_DIGITS: Final = (16,)


def _spans(document: Any) -> Iterator[Any]:
    for item in document if isinstance(document, list) else ():
        if isinstance(item, list):
            yield from item
        else:
            yield item


def _recognises(content: Content) -> bool:
    if not content.documents:
        return False
    document = content.documents[0].value
    first = next(_spans(document), None)
    # No traces is an answer, too.
    return document == [] or (isinstance(first, dict) and "traceId" in first and "id" in first)


def _read(content: Content, recorder: Recorder) -> None:
    recorder.skipped.extend(content.broken_lines)
    resources: dict[str, int] = {}
    for offset, document in content.documents:
        for place, span in enumerate(_spans(document)):
            try:
                _span(span, resources, recorder)
            except Malformed as error:
                reason = f"span {place}: {error}"
                recorder.skipped.append(Skipped(content.file, offset, reason))


def _span(span: Any, resources: dict[str, int], recorder: Recorder) -> None:
    span = mapped(span, "a span")
    trace, own, parent = span.get("traceId"), span.get("id"), span.get("parentId")
    if not isinstance(trace, str) or not isinstance(own, str) or not trace or not own:
        raise Malformed("no traceId and id")
    # Zeros, or nothing, are how some senders spell "none".
    has_parent = isinstance(parent, str) and parent.strip("0") != ""
    start, duration = span.get("timestamp"), span.get("duration", 1)
    if not isinstance(start, int) or isinstance(start, bool):
        raise Malformed("no timestamp")
    if not isinstance(duration, int) or isinstance(duration, bool):
        raise Malformed(f"duration {duration!r} is no integer")
    service = _endpoint(span.get("localEndpoint"))
    if service not in resources:
        resources[service] = recorder.add_resource({"service.name": service})
    tags = mapped(span.get("tags"), "a table of tags")
    attributes = [recorder.pair(str(key), text_of(value)) for key, value in tags.items()]
    peer = _endpoint(span.get("remoteEndpoint"))
    if peer and "peer.service" not in tags:
        attributes.append(recorder.pair("peer.service", peer))
    recorder.add(
        trace=recorder.traces[padded(trace)],
        span=recorder.ids[padded(own, _ID_DIGITS)],
        parent=recorder.ids[padded(parent, _ID_DIGITS)] if has_parent else NONE,
        name=str(span.get("name", "")),
        kind=_KINDS.get(str(span.get("kind", "")).upper(), 0),
        status=0,
        start=start * 1000,
        end=(start + max(duration, 1)) * 1000,
        resource=resources[service],
        attributes=attributes,
        shared=span.get("shared") is True,
    )


def _endpoint(endpoint: Any) -> str:
    return str(endpoint.get("serviceName") or "") if isinstance(endpoint, dict) else ""


ZIPKIN: Final = Format("Zipkin v2 JSON", _recognises, _read)
