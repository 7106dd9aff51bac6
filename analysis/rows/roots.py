"""The critical path of each root, section by section: the rows of ``traces`` in
``critical-path``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.spans.table import SpanTable
from analysis.traces.critical_path import PRESETS, Preset, critical_path


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of time that is one span's own; Unix ns."""

    span_id: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class RootRow:
    trace_id: str
    root_span_id: str
    root_duration_ns: int
    sections: tuple[Section, ...]
    """In time order; they add up to ``root_duration_ns``."""
    exclusive_ns: Mapping[str, int]
    """By ``[service] operation``, the operation as the span was recorded; adds up as well."""


def root_rows(spans: SpanTable, preset: Preset) -> tuple[RootRow, ...]:
    """One for each root, in the order of the table."""
    path = critical_path(spans, PRESETS[preset])
    trace_ids, span_ids = spans.trace_ids.to_list(), spans.span_ids.to_list()
    span, service, label = spans.span.tolist(), spans.service.tolist(), spans.label.tolist()

    exclusive: dict[int, dict[str, int]] = defaultdict(dict)
    on = np.flatnonzero(path.on_path)
    for row, root, own in zip(
        on.tolist(), path.root[on].tolist(), path.exclusive[on].tolist(), strict=True
    ):
        key = f"[{spans.names[service[row]]}] {spans.names[label[row]]}"
        exclusive[root][key] = exclusive[root].get(key, 0) + own
    sections: dict[int, list[Section]] = defaultdict(list)
    at = path.sections
    for root, row, start, end in zip(
        at.root.tolist(), at.row.tolist(), at.start.tolist(), at.end.tolist(), strict=True
    ):
        sections[root].append(Section(span_ids[span[row]], start, end))
    return tuple(
        RootRow(
            trace_id=trace_ids[int(spans.trace[root])],
            root_span_id=span_ids[span[root]],
            root_duration_ns=int(path.hi[root] - path.lo[root]),
            sections=tuple(sections[root]),
            exclusive_ns=dict(sorted(exclusive[root].items())),
        )
        for root in np.flatnonzero(path.is_root).tolist()
    )
