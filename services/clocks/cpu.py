"""CPU time used on purpose: so many nanoseconds of this thread's CPU clock, and hardly more.

Run as a script this file is a worker process: it reads one number of nanoseconds a line, uses them
and answers with what it used. It ends with its standard input, so it never outlives its parent.
Only the standard library is imported, which keeps a worker at a few megabytes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from hashlib import blake2b
from itertools import repeat
from time import thread_time_ns
from typing import Final

_SLICE_NS: Final = 200_000
"""Longest stretch without a look at the clock: its rate may change in between."""
_BLOCK: Final = memoryview(bytes(64 * 1024))
_PROBE_NS: Final = 2_000_000


class Burner:
    """Uses CPU in units of a fixed piece of work, whose cost it learns first.

    Reading a thread's CPU clock is a system call of a third of a microsecond; work is done in
    slices in between, the last of them as short as what is left.
    """

    __slots__ = ("_piece", "_units_per_ns")

    def __init__(self, piece: Callable[[int], object]) -> None:
        self._piece = piece
        self._units_per_ns = 0.01
        self.burn(_PROBE_NS)

    def burn(self, ns: int) -> int:
        """Use at least ``ns`` of this thread's CPU time; returns what was used."""
        begun_ns = at_ns = thread_time_ns()
        end_ns = begun_ns + ns
        while at_ns < end_ns:
            units = max(1, int(min(_SLICE_NS, end_ns - at_ns) * self._units_per_ns))
            self._piece(units)
            before_ns, at_ns = at_ns, thread_time_ns()
            if units > 1 and at_ns > before_ns:
                # Half new, half old: one interrupted slice must not mislead the next.
                self._units_per_ns += 0.5 * (units / (at_ns - before_ns) - self._units_per_ns)
        return at_ns - begun_ns


def _loop(units: int) -> None:
    for _ in repeat(None, units):
        pass


def _hash(units: int) -> None:
    size = units * 16
    while size > 0:
        blake2b(_BLOCK[: max(2048, min(size, len(_BLOCK)))])
        size -= len(_BLOCK)


def interpreter_burner() -> Burner:
    """Holds the interpreter, as Python code on an event loop does."""
    return Burner(_loop)


def native_burner() -> Burner:
    """Lets go of the interpreter, as a library's native code in a thread does.

    ``hashlib`` releases the lock from 2,048 bytes on.
    """
    return Burner(_hash)


def main() -> None:
    """Serve as a worker process."""
    burner = interpreter_burner()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(f"{burner.burn(int(line))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
