"""What this machine is."""

from __future__ import annotations

import platform
from pathlib import Path

import psutil


def cpu_model() -> str | None:
    """As the kernel names it; None where it does not."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or None
    for line in text.splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.machine()


def steal_since_boot() -> float | None:
    """Share of all CPU time since boot that the hypervisor gave to others; None if not told."""
    times = psutil.cpu_times()
    steal: float | None = getattr(times, "steal", None)
    return None if steal is None else steal / max(sum(times[:8]), 1e-9)
