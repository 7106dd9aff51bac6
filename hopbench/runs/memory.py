"""Whether this machine has the memory that a run would take, asked before anything starts."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import psutil

from hopbench.runs.estimate import Estimate
from services.errors import BadInput

SPARE_MB: Final = 500
"""For everything else that runs here; below it Linux begins to throw pages out."""


def available_mb() -> float:
    """What programs could take without swapping, in MB of 1,000,000 bytes."""
    return float(psutil.virtual_memory().available) / 1e6


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


def resident_mb() -> float:
    """Of this process and all below it, in MB; pages that several share are counted once.

    By the proportional set size where the kernel tells it (proc_pid_smaps(5)), else by the
    resident one, which counts shared pages in every process.
    """
    ours = psutil.Process()
    total = 0
    for process in (ours, *ours.children(recursive=True)):
        # One that has just ended has no memory.
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            memory = process.memory_full_info()
            total += getattr(memory, "pss", memory.rss)
    return total / 1e6
