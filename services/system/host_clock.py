"""Which host a process is on, and what its clocks say: what two hosts need to begin together."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Of the running kernel (random(4)): the same in all containers of a host."""


@dataclass(frozen=True, slots=True)
class HostClock:
    boot_id: str
    """Empty where the platform does not tell."""
    monotonic_ns: int
    unix_ns: int

    @property
    def unix_offset_ns(self) -> int:
        """Add to a monotonic time of that host to get its Unix time."""
        return self.unix_ns - self.monotonic_ns

    def shared(self, boot_id: str, earliest_ns: int, latest_ns: int) -> bool:
        """Whether CLOCK_MONOTONIC is that of the host with ``boot_id``, which has asked and got
        the answer at these times. A container may have a time namespace of its own."""
        return (
            bool(boot_id)
            and self.boot_id == boot_id
            and earliest_ns <= self.monotonic_ns <= latest_ns
        )


def host_clock() -> HostClock:
    """Of this process, now."""
    try:
        boot_id = _BOOT_ID.read_text().strip()
    except OSError:
        boot_id = ""
    return HostClock(boot_id, monotonic_ns(), time.time_ns())
