"""What goes between a bench and a generator, over one line of control: JSON, a message a line.

Over a socket whose descriptor the generator inherits, or over TCP to a master that stands by; there
the first line is an :class:`Offer`, and the samples come back. When the bench is gone the
connection ends, and with it the round.
"""

from __future__ import annotations

import time
from time import monotonic_ns
from typing import Any

from loadgen.counts import Counts
from services.codec import Tagged


class Listening(Tagged, frozen=True):
    """A master is, for its workers, at ``HOST:PORT``."""

    at: str


class Ready(Tagged, frozen=True):
    """Every connection is open."""

    workers: int = 1


class Progress(Tagged, frozen=True):
    """Twice a second: requests sent, and of those that ended."""

    sent: int
    ended: int


class Samples(Tagged, frozen=True):
    """The next bytes of the file ``spool``, of workers that have no directory in common with the
    bench."""

    spool: str
    data: bytes


class Broken(Tagged, frozen=True):
    """It cannot start, or go on. What it has counted may follow."""

    why: str


class Finished(Tagged, frozen=True):
    """The round has ended."""

    counts: Counts


Said = Listening | Ready | Progress | Samples | Broken | Finished


class Start(Tagged, frozen=True):
    """The schedule's zero: in this host's CLOCK_MONOTONIC, or in Unix time, for workers
    elsewhere."""

    at_ns: int
    unix: bool = False

    def monotonic_ns(self) -> int:
        """In this process's CLOCK_MONOTONIC."""
        return self.at_ns - (time.time_ns() - monotonic_ns()) if self.unix else self.at_ns


class Stop(Tagged, frozen=True):
    """End the round early."""


class Offer(Tagged, frozen=True):
    """A round, for a master that stands by; ``workers`` None: all that have joined share it."""

    token: str
    plan: dict[str, Any]
    """loadgen.plan.Plan's document."""
    workers: int | None = None


Ordered = Start | Stop
