"""Whether this machine has the memory that a run would take, asked before anything starts."""

from __future__ import annotations

from typing import Final

from hopbench.runs.estimate import Estimate
from services.errors import BadInput

SPARE_MB: Final = 500
"""For everything else that runs here; below it Linux begins to throw pages out."""


def check(cost: Estimate, available: float) -> None:
    """Raises BadInput where ``cost`` does not fit into ``available`` MB."""
    demand(cost.memory_mb, f"in {cost.processes} processes", available)


def demand(needed: float, where: str, available: float) -> None:
    """Raises BadInput where ``needed`` MB, taken ``where``, do not fit into ``available`` MB."""
    if needed + SPARE_MB <= available:
        return
    raise BadInput(
        f"this run needs about {needed:,.0f} MB of memory {where}, "
        f"and {max(0.0, available - SPARE_MB):,.0f} MB are free",
        hint="fewer replicas, `processes: N` in the scenario, a lower --rate or --trace-ratio, "
        "or --engine virtual",
    )
