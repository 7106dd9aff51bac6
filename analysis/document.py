"""The machine-readable results of ``analyze`` and ``critical-path`` (docs/output.md): keys around
typed rows."""

from __future__ import annotations

from typing import Any

from analysis.analyse import Analysis
from analysis.reading.inputs import Read
from analysis.rows.roots import RootRow
from analysis.traces.critical_path import Preset


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
            "skipped": read.skipped,
        },
        "total_inter_service_calls": found.total_inter_service_calls,
        "unique_service_pairs": found.unique_service_pairs,
        "edges": found.edges,
        "critical_path": found.critical_path,
        "services": found.services,
        "findings": found.findings,
        "minor": found.minor,
        "settings": found.settings,
    }


def critical_path_document(preset: Preset, roots: tuple[RootRow, ...]) -> dict[str, Any]:
    """``hopbench.critical-path/1``: one entry for each root, in the order of the input."""
    return {"schema": "hopbench.critical-path/1", "preset": preset, "traces": roots}
