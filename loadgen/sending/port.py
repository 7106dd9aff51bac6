"""What the dispatcher asks of a protocol: a message made ahead, a free line, an exchange."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from services.scenario.model import Entry
from services.wire.ports import Address


@dataclass(frozen=True, slots=True)
class Way:
    """Where one entry's requests go."""

    entry: Entry
    addresses: tuple[Address, ...]
    """By replica number."""
    warm: int
    """HTTP connections to open to each replica before the first request."""


class Answer(NamedTuple):
    """How one exchange ended."""

    status: int
    """OK, ERROR or TIMEOUT of loadgen.samples."""
    code: int
    """The HTTP or gRPC status code, -1 where none came."""
    response_bytes: int
    answered: bool
    """Whether an answer came; without one there is no time of its arrival."""


class Line(Protocol):
    """A way to the callee that is free: what comes after is the callee's time, not a queue's."""

    def exchange(self) -> Answer:
        """Send and wait for the answer, at most the entry's timeout. Failures are answers, too."""
        ...


class Message(Protocol):
    def line(self) -> Line | None:
        """A free line to this message's replica; None where it cannot be reached."""
        ...


class Sender(Protocol):
    """The sending side of one entry."""

    def open(self) -> None:
        """Connect to every replica, before the first request.

        Raises services.errors.CannotStart where one does not answer.
        """
        ...

    def prepare(self, row: int) -> Message:
        """The request of schedule row ``row``, made before it is due."""
        ...

    def close(self) -> None: ...
