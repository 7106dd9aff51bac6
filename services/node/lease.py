"""A lease: what runs for somebody is ended soon after that somebody was last heard of.

Processes below a bench die with it (services/system/death.py). A node in a container does not:
there the bench renews a lease with every call, and a bench that was killed leaves nothing running.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic_ns


class Lease:
    """Times are by ``clock``, ns. Without a length it never ends."""

    def __init__(self, clock: Callable[[], int] = monotonic_ns) -> None:
        self._clock = clock
        self._length_ns: int | None = None
        self._heard_ns = clock()
        self._calls = 0

    def grant(self, length_ns: int | None) -> None:
        """From now on, for so long after each call; None for ever."""
        self._length_ns = length_ns
        self._heard_ns = self._clock()

    @contextmanager
    def call(self) -> Iterator[None]:
        """While it is answered, and at its end, the caller counts as there."""
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
            self._heard_ns = self._clock()

    def over(self) -> bool:
        return (
            self._length_ns is not None
            and not self._calls
            and self._clock() - self._heard_ns > self._length_ns
        )
