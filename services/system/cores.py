"""The cores that a process may use, which may be fewer than the machine has."""

from __future__ import annotations

import os


def usable_cores() -> frozenset[int]:
    """By its affinity, where the platform has one (sched_getaffinity(2))."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))
