"""A round's traces, read back from Jaeger.

By search over the time of the round, a window at a time for each service that requests enter, and
then by id what the search lacks. Only the traces of this round are kept, each span once, as lines
of JSON (``traces.jaeger``): the answers as they came, less what belongs to others.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, time_ns
from typing import Any, Final

from hopbench.jaeger.answers import Page
from hopbench.jaeger.client import Jaeger, pages
from loadgen.schedule import Schedule
from services.scenario.model import Load

PAGE_SPANS: Final = 5_000
"""In one answer, about: 5 MB of JSON, so that neither side holds much of them at once."""
MOST_TRACES: Final = 500
CONNECTIONS: Final = 2
"""More do not help: Jaeger writes JSON as fast as one core of ours reads it."""
MOST_BY_ID: Final = 2_000
"""Traces asked for one by one, in one pass."""
SLACK_NS: Final = 5 * 10**9
"""Before the first arrival and after the last: clocks of other hosts may be off."""
SETTLE_S: Final = 0.3
"""Jaeger batches for 200 ms what it takes in, before it stores it."""
CALM_S: Final = 3.0
"""Without anything new for so long, what is missing is lost."""


@dataclass(frozen=True, slots=True)
class Sought:
    """The traces that a round should have left."""

    due_ns: Mapping[str, tuple[int, ...]]
    """By the service that requests enter: when each sampled one was due, Unix time, rising."""
    ids: frozenset[str]
    """In hex, 32 digits."""


def sought(load: Load, schedule: Schedule, start_unix_ns: int) -> Sought:
    """``start_unix_ns``: of the schedule's zero."""
    entries = [entry.target.service for entry in load.entries]
    sampled = schedule.sampled
    due: dict[str, list[int]] = defaultdict(list)
    for entry, offset in zip(
        schedule.entry[sampled].tolist(), schedule.offset_ns[sampled].tolist(), strict=True
    ):
        due[entries[entry]].append(start_unix_ns + offset)
    halves = zip(
        schedule.trace_hi[sampled].tolist(), schedule.trace_lo[sampled].tolist(), strict=True
    )
    return Sought(
        due_ns={service: tuple(times) for service, times in due.items()},
        ids=frozenset(f"{high:016x}{low:016x}" for high, low in halves),
    )


@dataclass(frozen=True, slots=True)
class Window:
    """From the first to the last nanosecond, Unix time."""

    service: str
    from_ns: int
    to_ns: int


def windows(wanted: Sought, spans: int, now_ns: int) -> Iterator[Window]:
    """The time of the round, from its first arrival until now, cut so that an answer holds about
    :data:`PAGE_SPANS` of the ``spans`` that all traces have together."""
    each = traces_a_page(wanted, spans)
    for service, times in wanted.due_ns.items():
        starts = [times[0] - SLACK_NS, *times[each::each]]
        ends = [*(start - 1 for start in starts[1:]), max(now_ns, times[-1]) + SLACK_NS]
        for first, last in zip(starts, ends, strict=True):
            yield Window(service, first, last)


def traces_a_page(wanted: Sought, spans: int) -> int:
    return max(1, min(MOST_TRACES, PAGE_SPANS * len(wanted.ids) // max(1, spans)))


class Readback:
    """What has come so far, and what is asked for next."""

    def __init__(
        self, jaeger: Jaeger, wanted: Sought, spool: Path, *, calm_s: float = CALM_S
    ) -> None:
        self._calm_s = calm_s
        self._jaeger = jaeger
        self._wanted = wanted
        self._spool = spool
        self._seen: dict[str, set[str]] = {}
        self.spans = 0
        """Different ones of this round, in the spool."""

    async def read(self, expected: int, bound_s: float) -> int:
        """Read until there are ``expected`` spans, nothing new comes, or ``bound_s`` has passed;
        how many there are. Raises Unanswered, and OSError where the disk refuses the spool."""
        if not self._wanted.ids:
            return 0
        try:
            async with asyncio.timeout(bound_s):
                await self._until(expected)
        except TimeoutError:
            pass  # what has come by then is what there is
        return self.spans

    async def _until(self, expected: int) -> None:
        pause_s, changed = SETTLE_S, monotonic()
        while True:
            await asyncio.sleep(pause_s)
            before = self.spans
            await self.once(expected)
            if self.spans >= expected:
                return
            if self.spans > before:
                pause_s, changed = SETTLE_S, monotonic()
            elif monotonic() - changed > self._calm_s:
                return
            else:
                pause_s = min(2 * pause_s, 1.5)

    async def once(self, expected: int) -> None:
        """Look for everything once."""
        depth = 2 * traces_a_page(self._wanted, expected) + 1
        left = windows(self._wanted, expected, time_ns())

        async def search() -> None:
            # Each takes the next window when it has read the last one.
            for window in left:
                found = pages(self._jaeger, window.service, window.from_ns, window.to_ns, depth)
                async for page in found:
                    self._keep(page)

        await _together(search, CONNECTIONS)
        if self.spans >= expected:
            return
        lacking = iter(sorted(self._wanted.ids - self._seen.keys())[:MOST_BY_ID])

        async def ask() -> None:
            for trace in lacking:
                self._keep(await self._jaeger.trace(trace))

        await _together(ask, 2 * CONNECTIONS)

    def _keep(self, page: Page) -> None:
        """Write a page down where any of it is new."""
        fresh = False
        for trace, spans in page.spans.items():
            if trace not in self._wanted.ids:
                continue
            seen = self._seen.setdefault(trace, set())
            before = len(seen)
            seen |= spans
            self.spans += len(seen) - before
            fresh = fresh or len(seen) > before
        if fresh:
            with self._spool.open("ab") as file:
                file.write(page.only(self._wanted.ids) + b"\n")


async def _together(work: Callable[[], Coroutine[Any, Any, None]], times: int) -> None:
    """So many of ``work`` at once; the first failure ends them all and is raised itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(times):
                group.create_task(work())
    except* Exception as failures:
        raise failures.exceptions[0] from None
