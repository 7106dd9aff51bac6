"""What Jaeger's query API answers: traces with their spans, by trace id, and what is no answer.

API v3: ``{"result": {"resourceSpans": …}}``, OTLP's JSON. The older API: ``{"data": [{"traceID",
"spans", "processes"}]}``. The spans themselves are read by analysis.reading.inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any, Final

import orjson


class NoAnswer(Exception):
    """An answer, but not one of the API; the text says what it is."""


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: traces with some or all of their spans."""

    raw: bytes
    document: Any
    spans: Mapping[str, Set[str]]
    """Ids of spans by trace, in lower-case hex, 16 and 32 digits."""

    def only(self, wanted: Set[str]) -> bytes:
        """The answer as one line of JSON, without the traces that are not ``wanted``."""
        if self.spans.keys() <= wanted:
            # A line break within JSON is white space: those within texts are escaped.
            return self.raw.replace(b"\r", b" ").replace(b"\n", b" ")
        return orjson.dumps(_without(self.document, wanted))


EMPTY: Final = Page(b"", {}, {})


def document_of(status: int, body: bytes) -> dict[str, Any]:
    """The JSON object of an answer. Raises NoAnswer."""
    if status != 200:
        raise NoAnswer(f"HTTP {status}{reason_in(body)}")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NoAnswer("its answer is not JSON") from error
    if not isinstance(document, dict):
        raise NoAnswer("its answer is no JSON object")
    return document


def reason_in(body: bytes) -> str:
    """The reason within an error's body, short."""
    try:
        document = orjson.loads(body)
        found = document.get("error") or document["errors"][0]
        text = str(found.get("message") or found.get("msg") or "")
    except (orjson.JSONDecodeError, AttributeError, KeyError, IndexError, TypeError):
        return ""
    return f": {text[:200]}" if text else ""


def _groups(document: Mapping[str, Any]) -> list[Any] | None:
    """Resource spans of an answer of API v3; None for another document."""
    result = document.get("result", document)
    if not isinstance(result, dict):
        raise NoAnswer("its result is no JSON object")
    groups = result.get("resourceSpans")
    if groups is None and "data" in document:
        return None
    if groups is None and "result" in document:
        return []
    if not isinstance(groups, list):
        raise NoAnswer("its answer has no traces")
    return groups


def _scopes(groups: list[Any]) -> Iterator[dict[str, Any]]:
    for group in groups:
        yield from group.get("scopeSpans") or ()


def span_ids(document: Mapping[str, Any]) -> dict[str, set[str]]:
    """Ids of spans by trace, of either API's answer. Raises NoAnswer."""
    found: dict[str, set[str]] = {}
    try:
        groups = _groups(document)
        if groups is not None:
            for scope in _scopes(groups):
                for span in scope.get("spans") or ():
                    trace = span["traceId"]
                    ids = found.get(trace)
                    if ids is None:
                        ids = found[trace] = set()
                    ids.add(span["spanId"])
        else:
            for trace in document["data"] or ():
                ids = found.setdefault(trace["traceID"], set())
                ids.update(span["spanID"].zfill(16) for span in trace["spans"])
    except (AttributeError, KeyError, TypeError) as error:
        raise NoAnswer(f"its answer holds no spans as Jaeger writes them ({error})") from error
    return {trace.lower().zfill(32): ids for trace, ids in found.items()}


def _without(document: Mapping[str, Any], wanted: Set[str]) -> dict[str, Any]:
    """An answer's ``wanted`` traces alone."""
    groups = _groups(document)
    if groups is None:
        data = [t for t in document["data"] if t["traceID"].lower().zfill(32) in wanted]
        return {"data": data}
    kept = []
    for group in groups:
        scopes = []
        for scope in _scopes([group]):
            spans = [
                span
                for span in scope.get("spans") or ()
                if span["traceId"].lower().zfill(32) in wanted
            ]
            if spans:
                scopes.append({**scope, "spans": spans})
        if scopes:
            kept.append({**group, "scopeSpans": scopes})
    return {"result": {"resourceSpans": kept}}
