"""What a node is asked over HTTP and what it answers, and what goes between it and its fork server.

Node control, with the header :data:`TOKEN_HEADER`:

| request | body | answer |
|---|---|---|
| ``POST /start`` | services.process.job.Job | :class:`Started` |
| ``POST /connect``, ``/begin`` | services.process.orders | an empty object |
| ``GET /counters`` | | :class:`Last`, without logs |
| ``POST /stop`` | services.process.orders.Stop | :class:`Last` |
| ``GET /deaths`` | ``?within_s=`` | :class:`Deaths` |
| ``GET /clock`` | | services.system.host_clock.HostClock |
| ``POST /quit``, ``GET /health`` | | an empty object |

Whatever fails is answered by a :class:`Refusal`, with another status than 200.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from services.codec import Tagged
from services.errors import CannotStart
from services.report import ProcessReport
from services.scenario.packing import Pack
from services.wire.ports import Address

TOKEN_HEADER: Final = "x-hopbench-token"
HEALTH: Final = "/health"
"""Answered to anybody: that it serves is no secret."""
STOP_SLACK_S: Final = 10.0
"""On top of the grace of a stop: spans still to be derived and sent."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A node's line on standard output, once it serves."""

    pid: int
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Running:
    """A replica that answers."""

    service: str
    replica: int
    pid: int
    address: Address


@dataclass(frozen=True, slots=True)
class Started:
    replicas: tuple[Running, ...]


@dataclass(frozen=True, slots=True)
class Death:
    """Of a process that nobody had asked to end."""

    part: str
    pid: int
    text: str
    log: str
    """The end of it; empty where there is none."""

    def told(self) -> str:
        """For people."""
        return f"{self.part} {self.text}" + (f"; its log ends:\n{self.log}" if self.log else "")


@dataclass(frozen=True, slots=True)
class Deaths:
    deaths: tuple[Death, ...]

    def told(self) -> str:
        return "\n".join(death.told() for death in self.deaths)


@dataclass(frozen=True, slots=True)
class Last:
    """What processes have counted; at the end of a round, the end of each one's log by its name,
    where the node has kept them to itself."""

    reports: tuple[ProcessReport, ...] = ()
    logs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A CannotStart on its way."""

    text: str
    part: str = "node"
    log: str = ""
    hint: str | None = None

    @classmethod
    def of(cls, error: CannotStart) -> Refusal:
        return cls(error.text, error.part, error.log, error.hint)

    def error(self) -> CannotStart:
        return CannotStart(self.part, self.text, self.log, self.hint)


# A message to the fork server has a file descriptor beside it.


class Load(Tagged, frozen=True):
    """The round's job is in that file."""


class Fork(Tagged, frozen=True):
    """Start a process; that is its end of the channel."""

    pack: Pack
    title: str
    log: str


class Loaded(Tagged, frozen=True):
    """``refused`` says what is wrong with the job."""

    refused: str | None


class Forked(Tagged, frozen=True):
    pid: int


class Exited(Tagged, frozen=True):
    """As it happens; ``status`` is negative for a signal."""

    pid: int
    status: int


Ordered = Load | Fork
Told = Loaded | Forked | Exited
