"""Who used the CPUs of this host between two moments: we, others, or nobody who is here.

From /proc/stat and /proc/<pid>/stat (proc(5)), in clock ticks of 10 ms. Ours is the tree of
processes below the bench. Stolen time is what the hypervisor gave to other machines. Interrupts and
kernel threads are nobody's: our own traffic over loopback makes most of them. Where a container
hides kernel threads, their time cannot be told from that of others.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_BUSY = (0, 1, 2)
"""user, nice, system, kernel threads included; guest time is in user's already."""
_STEAL = 7
_KERNEL_THREAD = 0x00200000
"""PF_KTHREAD of include/linux/sched.h."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """CPU time so far, ns: of all cores, stolen, by process of ours (ended children too), and by
    kernel thread."""

    at_ns: int
    busy_ns: int
    steal_ns: int
    ours: Mapping[int, int]
    kernel: Mapping[int, int]


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
        kernel=_kernel_threads(),
    )


def tree(root: int) -> list[int]:
    """``root`` and every process below it."""
    try:
        return [root, *(child.pid for child in psutil.Process(root).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def cpu_of(pid: int) -> int | None:
    """CPU time of a process and of its ended children, ns; None where it is gone."""
    fields = _fields(pid)
    return None if fields is None else _cpu_ns(fields)


def _kernel_threads() -> dict[int, int]:
    return {
        pid: _cpu_ns(fields)
        for pid in psutil.pids()
        if (fields := _fields(pid)) is not None and int(fields[6]) & _KERNEL_THREAD
    }


def _fields(pid: int) -> list[str] | None:
    """Of /proc/<pid>/stat, from the state on, which is the third."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _cpu_ns(fields: Sequence[str]) -> int:
    return sum(int(x) for x in fields[11:15]) * _TICK_NS


@dataclass(frozen=True, slots=True)
class Shares:
    """Of the time of all cores, 0..1; None where no time has passed."""

    steal: float | None = None
    foreign: float | None = None


def shares(before: Snapshot, after: Snapshot, cores: int) -> Shares:
    """What the hypervisor and other processes took.

    A process of ours that ended in between counts as foreign from its last sight on, unless its
    parent, also ours, has waited for it.
    """
    whole = (after.at_ns - before.at_ns) * cores
    if whole <= 0:
        return Shares()
    foreign = (
        (after.busy_ns - before.busy_ns)
        - _grown(before.ours, after.ours)
        - _grown(before.kernel, after.kernel)
    )
    return Shares((after.steal_ns - before.steal_ns) / whole, max(0.0, foreign / whole))


def _grown(before: Mapping[int, int], after: Mapping[int, int]) -> int:
    return sum(ns - before.get(pid, 0) for pid, ns in after.items())


def used(before: Snapshot, after: Snapshot, pids: Iterable[int]) -> int:
    """CPU time of ``pids`` in between, ns; 0 for one that is gone."""
    return sum(
        after.ours.get(pid, 0) - before.ours.get(pid, 0) for pid in pids if pid in after.ours
    )
