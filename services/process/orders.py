"""What a service process is told by its node, and what it says: one line of JSON each.

First the process says whether it listens (:class:`Ready`); then it gives one :class:`Answer` to
each order, and leaves after the last one, :class:`Stop`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from services.codec import Tagged
from services.report import ProcessReport
from services.wire.ports import Address, Directory


@dataclass(frozen=True, slots=True)
class Listening:
    """One replica, and where it is."""

    service: str
    replica: int
    address: Address


@dataclass(frozen=True, slots=True)
class Ready:
    """``error`` is why the process did not come up, and it ends; ``hint`` what would help."""

    replicas: tuple[Listening, ...] = ()
    error: str | None = None
    hint: str | None = None


class Connect(Tagged, frozen=True):
    """Open connections to every callee."""

    directory: Directory


class Begin(Tagged, frozen=True):
    """The round begins at these times, of the host's CLOCK_MONOTONIC or, where the bench is on
    another, of Unix."""

    start_ns: int
    measured_from_ns: int
    clock: Literal["monotonic", "unix"] = "monotonic"


class Count(Tagged, frozen=True):
    """Report what was counted so far."""


class Stop(Tagged, frozen=True):
    """Take nothing new, finish what is under way, send every span: each for ``grace_ns``; report,
    and leave."""

    grace_ns: int


Order = Connect | Begin | Count | Stop


@dataclass(frozen=True, slots=True)
class Answer:
    """``error`` is why the order was not followed; ``reports`` are one of each replica, where asked
    for."""

    error: str | None = None
    reports: tuple[ProcessReport, ...] = ()
