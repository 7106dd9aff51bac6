"""Who used the CPUs of this host between two moments: we, others, or nobody who is here.

From /proc/stat and /proc/<pid>/stat (proc(5)), in clock ticks of 10 ms. Ours is the tree of
processes below the bench. Stolen time is what the hypervisor gave to other machines.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_BUSY = (0, 1, 2, 5, 6)
"""user, nice, system, irq, softirq; guest time is in user's already."""
_STEAL = 7


@dataclass(frozen=True, slots=True)
class Snapshot:
    """CPU time so far, ns: of all cores, stolen, and by process of ours (ended children too)."""

    at_ns: int
    busy_ns: int
    steal_ns: int
    ours: Mapping[int, int]


def snapshot(at_ns: int) -> Snapshot | None:
    """Now; ``at_ns`` is stored with it. None where the platform does not tell."""
    if sys.platform != "linux":
        return None
    fields = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return Snapshot(
        at_ns=at_ns,
        busy_ns=sum(fields[i] for i in _BUSY) * _TICK_NS,
        steal_ns=fields[_STEAL] * _TICK_NS,
        ours={pid: ns for pid in tree(os.getpid()) if (ns := cpu_of(pid)) is not None},
    )


def tree(root: int) -> list[int]:
    """``root`` and every process below it."""
    try:
        return [root, *(child.pid for child in psutil.Process(root).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def cpu_of(pid: int) -> int | None:
    """CPU time of a process and of its ended children, ns; None where it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return sum(int(x) for x in fields[11:15]) * _TICK_NS


def shares(before: Snapshot, after: Snapshot, cores: int) -> dict[str, float]:
    """``steal_share`` and ``foreign_cpu_share`` of the time of all cores, both 0..1.

    A process of ours that ended in between counts as foreign from its last sight on, unless its
    parent, also ours, has waited for it.
    """
    whole = (after.at_ns - before.at_ns) * cores
    if whole <= 0:
        return {}
    ours = sum(ns - before.ours.get(pid, 0) for pid, ns in after.ours.items())
    busy = after.busy_ns - before.busy_ns
    return {
        "steal_share": (after.steal_ns - before.steal_ns) / whole,
        "foreign_cpu_share": max(0.0, (busy - ours) / whole),
    }


def used(before: Snapshot, after: Snapshot, pids: Iterable[int]) -> int:
    """CPU time of ``pids`` in between, ns; 0 for one that is gone."""
    return sum(
        after.ours.get(pid, 0) - before.ours.get(pid, 0) for pid in pids if pid in after.ours
    )
