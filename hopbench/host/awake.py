"""Idle cores that do not sleep while a round is measured.

A core with nothing to do sleeps, and takes a tenth of a millisecond to wake up, in a virtual
machine more. Linux lets whoever may write to a device say how long waking may take, for as long as
it is held open (Documentation/power/pm_qos_interface.rst), as cyclictest does. What idles then
polls.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

DEVICE: Final = "/dev/cpu_dma_latency"
_AT_ONCE_US: Final = struct.pack("i", 0)


@contextmanager
def awake(device: str = DEVICE) -> Iterator[bool]:
    """Keep all cores of the machine awake; False where we may not, or there is no such device."""
    with ExitStack() as stack:
        held = False
        with suppress(OSError):
            opened = os.open(device, os.O_WRONLY | os.O_CLOEXEC)
            file = stack.enter_context(os.fdopen(opened, "wb", buffering=0))
            held = file.write(_AT_ONCE_US) == len(_AT_ONCE_US)
        yield held


def waking_us(device: str = DEVICE) -> int | None:
    """How long waking may take now, microseconds; None where it is not told."""
    try:
        with open(device, "rb", buffering=0) as file:
            found: int = struct.unpack("i", file.read(4))[0]
    except (OSError, struct.error):
        return None
    return found
