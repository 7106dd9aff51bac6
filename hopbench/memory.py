"""Whether this machine has the memory that a run would take, asked before anything starts."""

from __future__ import annotations

from typing import Final

import psutil

from hopbench.estimate import Estimate
from services.errors import BadInput

SPARE_MB: Final = 500
"""For everything else that runs here; below it Linux begins to throw pages out."""


def available_mb() -> float:
    """What programs could take without swapping, in MB of 1,000,000 bytes."""
    return float(psutil.virtual_memory().available) / 1e6


def check(cost: Estimate, available: float) -> None:
    """Raises BadInput where ``cost`` does not fit into ``available`` MB."""
    if cost.memory_mb + SPARE_MB <= available:
        return
    raise BadInput(
        f"this run needs about {cost.memory_mb:,.0f} MB of memory in {cost.processes} processes, "
        f"and {max(0.0, available - SPARE_MB):,.0f} MB are free",
        hint="fewer replicas, `processes: N` in the scenario, a lower --rate or --trace-ratio, "
        "or --engine virtual",
    )
