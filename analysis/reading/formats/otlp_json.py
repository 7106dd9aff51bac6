"""OTLP in JSON, and the answers that wrap it.

One export request, or one a line in any order (the collector's file exporter); Jaeger's API v3
(``{"result": {"resourceSpans": …}}``); Tempo's v1 (``batches``, base64 ids) and v2
(``{"trace": {"resourceSpans": …}}``). Lines with metrics or logs are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    text_of,
)
from analysis.spans.table import Kind, Status

_KINDS: Final = {f"SPAN_KIND_{kind.name}": kind.value for kind in Kind}
_STATUSES: Final = {f"STATUS_CODE_{status.name}": status.value for status in Status}
_TABLE: Final = 1 << 18
"""Entries of a table of repeating attributes, before it starts over."""
_OTHER_SIGNALS: Final = ("resourceMetrics", "resourceLogs", "resourceProfiles")


def _groups(document: Any) -> list[Any] | None:
    """The resource spans of a document; None where it is no such document."""
    if not isinstance(document, dict):
        return None
    for wrapper in ("result", "trace"):
        if isinstance(document.get(wrapper), dict):
            document = document[wrapper]
    for key in ("resourceSpans", "batches"):
        if isinstance(document.get(key), list):
            groups: list[Any] = document[key]
            return groups
    if any(key in document for key in _OTHER_SIGNALS):
        return []
    return None


def _recognises(content: Content) -> bool:
    return any(_groups(document.value) is not None for document in content.documents[:16])


class _Pairs(dict[tuple[str, str, str], int]):
    """Key, kind and text of an attribute → the recorder's code of the pair: few are ever new."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def of(self, given: Any) -> list[int]:
        """Codes of a span's attributes. Raises Malformed."""
        found = []
        for kv in listed(given, "attributes"):
            try:
                ((which, content),) = kv["value"].items()
                found.append(self[kv["key"], which, content])
            except (AttributeError, KeyError, TypeError, ValueError):
                # Of another kind than text and integers, or new, or wrong.
                found.append(self._recorder.pair(*_attribute(kv)))
        return found

    def __missing__(self, known: tuple[str, str, str]) -> int:
        key, which, content = known
        if len(self) > _TABLE:
            self.clear()
        if not (type(key) is type(content) is str and which in ("stringValue", "intValue")):
            raise KeyError(known)
        text = content if which == "stringValue" else text_of(_integer(content, "an attribute"))
        code = self[known] = self._recorder.pair(key, text)
        return code


def _read(content: Content, recorder: Recorder) -> None:
    pairs = _Pairs(recorder)
    recorder.skipped.extend(content.broken_lines)
    for offset, document in content.documents:
        groups = _groups(document)
        if groups is None:
            recorder.skipped.append(Skipped(content.file, offset, "no export request"))
            continue
        for group in groups:
            try:
                _group(group, recorder, pairs, content.file, offset)
            except Malformed as error:
                raise Unreadable(str(error), offset) from error


def _group(group: Any, recorder: Recorder, pairs: _Pairs, file: str, offset: int) -> None:
    group = mapped(group, "a resource's spans")
    said = mapped(group.get("resource"), "a resource")
    resource = recorder.add_resource(dict(_attributes(said.get("attributes"))))
    scopes = group.get("scopeSpans") or group.get("instrumentationLibrarySpans")
    for scope in listed(scopes, "scopes"):
        for span in listed(mapped(scope, "a scope").get("spans"), "spans"):
            try:
                _span(span, resource, recorder, pairs)
            except Malformed as error:
                recorder.skipped.append(Skipped(file, offset, str(error)))


def _span(span: Any, resource: int, recorder: Recorder, pairs: _Pairs) -> None:
    span = mapped(span, "a span")
    trace, own = span.get("traceId"), span.get("spanId")
    if not isinstance(trace, str) or not isinstance(own, str) or not trace or not own:
        raise Malformed("no traceId and spanId")
    parent = span.get("parentSpanId")
    # Zeros are how some exporters spell "none".
    has_parent = isinstance(parent, str) and parent.strip("0") != ""
    attributes = pairs.of(span.get("attributes"))
    links = [mapped(link, "a link") for link in listed(span.get("links"), "links")]
    recorder.add(
        trace=recorder.traces[trace],
        span=recorder.ids[own],
        parent=recorder.ids[str(parent)] if has_parent else NONE,
        name=str(span.get("name", "")),
        kind=_enum(span.get("kind", 0), _KINDS, "kind"),
        status=_enum(mapped(span.get("status"), "a status").get("code", 0), _STATUSES, "status"),
        start=_integer(span.get("startTimeUnixNano", 0), "startTimeUnixNano"),
        end=_integer(span.get("endTimeUnixNano", 0), "endTimeUnixNano"),
        resource=resource,
        attributes=attributes,
        links=[
            (recorder.traces[str(link["traceId"])], recorder.ids[str(link["spanId"])])
            for link in links
            if link.get("traceId") and link.get("spanId")
        ],
    )


def _enum(value: Any, names: Mapping[str, int], what: str) -> int:
    if isinstance(value, str) and not value.isdigit():
        if value not in names:
            raise Malformed(f"unknown {what} {value!r}")
        return names[value]
    return _integer(value, what)


def _integer(value: Any, what: str) -> int:
    """int64 is a string or a number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        return int(value)
    except (TypeError, ValueError):
        raise Malformed(f"{what} {value!r} is no integer") from None


def _attributes(given: Any) -> Iterator[tuple[str, str]]:
    for kv in listed(given, "attributes"):
        yield _attribute(kv)


def _attribute(kv: Any) -> tuple[str, str]:
    if not isinstance(kv, dict) or not isinstance(kv.get("key"), str):
        raise Malformed("an attribute without a key")
    return kv["key"], text_of(_value(kv.get("value")))


def _value(value: Any) -> object:
    """An ``AnyValue``: the one field that is there."""
    if not isinstance(value, dict) or not value:
        return ""
    which, content = next(iter(value.items()))
    match which:
        case "intValue":
            return _integer(content, "an attribute")
        case "arrayValue":
            values = listed(mapped(content, "an array").get("values"), "values")
            return [_value(item) for item in values]
        case "kvlistValue":
            values = listed(mapped(content, "a mapping").get("values"), "values")
            pairs = (mapped(item, "a pair") for item in values)
            return {str(pair.get("key")): _value(pair.get("value")) for pair in pairs}
        case _:
            return content


OTLP_JSON: Final = Format("OTLP JSON", _recognises, _read)
