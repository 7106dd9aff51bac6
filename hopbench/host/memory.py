"""Memory of this machine, and of the bench with all that it has started."""

from __future__ import annotations

from contextlib import suppress

import psutil


def available_mb() -> float:
    """What programs could take without swapping, in MB of 1,000,000 bytes."""
    return float(psutil.virtual_memory().available) / 1e6


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
