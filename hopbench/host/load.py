"""Who used the CPUs of this host between two moments: we, others, or nobody who is here.

From /proc/stat and /proc/<pid>/stat (proc(5)), in clock ticks of 10 ms. Ours is the tree of
processes below the bench. Stolen time is what the hypervisor gave to other machines. Interrupts and
kernel threads are nobody's: our own traffic over loopback makes most of them. Where a container
hides kernel threads, their time cannot be told from that of others.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_BUSY = (0, 1, 2)
"""user, nice, system, kernel threads included; guest time is in user's already."""
_STEAL = 7
_TAKERS = 3
_KERNEL_THREAD = 0x00200000
"""PF_KTHREAD of include/linux/sched.h."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """CPU time so far, ns: of all cores, stolen, by process of ours (ended children too), by
    kernel thread, and by anybody else's process, whose names are in ``names``."""

    at_ns: int
    busy_ns: int
    steal_ns: int
    ours: Mapping[int, int]
    kernel: Mapping[int, int]
    others: Mapping[int, int] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)


def snapshot(at_ns: int) -> Snapshot | None:
    """Now; ``at_ns`` is stored with it. None where the platform does not tell."""
    if sys.platform != "linux":
        return None
    fields = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    ours = {pid: ns for pid in tree(os.getpid()) if (ns := cpu_of(pid)) is not None}
    kernel: dict[int, int] = {}
    others: dict[int, int] = {}
    names: dict[int, str] = {}
    for pid in psutil.pids():
        if pid in ours or (found := _stat(pid)) is None:
            continue
        name, stat = found
        if int(stat[6]) & _KERNEL_THREAD:
            kernel[pid] = _cpu_ns(stat)
        else:
            others[pid], names[pid] = _cpu_ns(stat), name
    return Snapshot(
        at_ns=at_ns,
        busy_ns=sum(fields[i] for i in _BUSY) * _TICK_NS,
        steal_ns=fields[_STEAL] * _TICK_NS,
        ours=ours,
        kernel=kernel,
        others=others,
        names=names,
    )


def tree(root: int) -> list[int]:
    """``root`` and every process below it."""
    try:
        return [root, *(child.pid for child in psutil.Process(root).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def cpu_of(pid: int) -> int | None:
    """CPU time of a process and of its ended children, ns; None where it is gone."""
    found = _stat(pid)
    return None if found is None else _cpu_ns(found[1])


def _stat(pid: int) -> tuple[str, list[str]] | None:
    """Of /proc/<pid>/stat: the name, and the fields from the state on, which is the third."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    head, _, rest = text.rpartition(")")
    return head.partition("(")[2], rest.split()


def _cpu_ns(fields: Sequence[str]) -> int:
    return sum(int(x) for x in fields[11:15]) * _TICK_NS


@dataclass(frozen=True, slots=True)
class Taker:
    """Processes of one name, and their share of the time of all cores, 0..1."""

    name: str
    share: float


@dataclass(frozen=True, slots=True)
class Shares:
    """Of the time of all cores, 0..1; None where no time has passed."""

    steal: float | None = None
    foreign: float | None = None
    takers: tuple[Taker, ...] = ()
    """Of what is foreign, the largest, first."""


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
    taken: Counter[str] = Counter()
    for pid, ns in after.others.items():
        taken[after.names[pid]] += ns - before.others.get(pid, 0)
    return Shares(
        (after.steal_ns - before.steal_ns) / whole,
        max(0.0, foreign / whole),
        tuple(Taker(name, ns / whole) for name, ns in taken.most_common(_TAKERS) if ns > 0),
    )


def _grown(before: Mapping[int, int], after: Mapping[int, int]) -> int:
    return sum(ns - before.get(pid, 0) for pid, ns in after.items())


def used(before: Snapshot, after: Snapshot, pids: Iterable[int]) -> int:
    """CPU time of ``pids`` in between, ns; 0 for one that is gone."""
    return sum(
        after.ours.get(pid, 0) - before.ours.get(pid, 0) for pid in pids if pid in after.ours
    )
