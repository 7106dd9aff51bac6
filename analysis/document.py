"""The machine-readable results of ``analyze`` and ``critical-path`` (docs/output.md)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from typing import Any

import numpy as np

from analysis.analyse import Analysis
from analysis.reading.inputs import Read
from analysis.traces.critical_path import PRESETS, Preset, critical_path


def analysis_document(read: Read, found: Analysis) -> dict[str, Any]:
    """``hopbench.analysis/1``."""
    return {
        "schema": "hopbench.analysis/1",
        "input": {
            "files": read.files,
            **({} if read.address is None else {"address": read.address}),
            "traces": found.traces,
            "complete": found.complete,
            "spans": len(read.spans),
            "repairs": {**read.repairs, "outside": found.outside},
            "skipped": [
                {"file": s.file, "offset": s.offset, "reason": s.reason} for s in read.skipped
            ],
        },
        "total_inter_service_calls": found.total_inter_service_calls,
        "unique_service_pairs": found.unique_service_pairs,
        "edges": list(found.edges),
        "critical_path": list(found.critical_path),
        "services": list(found.services),
        "findings": [f.document() for f in found.findings],
        "minor": [f.document() for f in found.minor],
        "settings": {
            **asdict(found.settings),
            "expected_kinds": sorted(found.settings.expected_kinds),
        },
    }


def critical_path_document(read: Read, preset: Preset) -> dict[str, Any]:
    """``hopbench.critical-path/1``: one entry for each root, in the order of the input.

    ``exclusive_ns`` is by ``[service] operation``, the operation as the span was recorded; it adds
    up to ``root_duration_ns``, as the sections do.
    """
    spans = read.spans
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
    sections: dict[int, list[dict[str, Any]]] = defaultdict(list)
    at = path.sections
    for root, row, start, end in zip(
        at.root.tolist(), at.row.tolist(), at.start.tolist(), at.end.tolist(), strict=True
    ):
        sections[root].append({"span_id": span_ids[span[row]], "start_ns": start, "end_ns": end})
    return {
        "schema": "hopbench.critical-path/1",
        "preset": preset,
        "traces": [
            {
                "trace_id": trace_ids[int(spans.trace[root])],
                "root_span_id": span_ids[span[root]],
                "root_duration_ns": int(path.hi[root] - path.lo[root]),
                "sections": sections[root],
                "exclusive_ns": dict(sorted(exclusive[root].items())),
            }
            for root in np.flatnonzero(path.is_root).tolist()
        ],
    }
