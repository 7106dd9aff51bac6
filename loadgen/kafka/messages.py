"""What goes between a generator and the process that sends to its Kafka entries: values as JSON,
one a line, over that one's standard input and output.

First it is given the plan (loadgen.plan.Plan's document) and says
:class:`~loadgen.messages.Ready`; then a :class:`~loadgen.messages.Start`, :class:`Told` ten times a
second, and :class:`~loadgen.messages.Finished`. At the end of its input it leaves.
"""

from __future__ import annotations

from loadgen.messages import Broken, Finished, Ready
from services.codec import Tagged

Ended = tuple[int, int, int, int]
"""Row of the worker's whole schedule, status, response time in ns (NOT_REACHED for dropped),
bytes."""


class Told(Tagged, frozen=True):
    """How far it is, and what ended since the last time."""

    sent: int
    done: int
    ended: list[Ended]


Said = Ready | Told | Broken | Finished
