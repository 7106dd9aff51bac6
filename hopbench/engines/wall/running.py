"""A round that runs: from the order to begin until everything has arrived, or a part has died."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import Protocol

from hopbench.collector.server import Ready as Collecting
from hopbench.engines.port import Progress
from hopbench.engines.wall.control import first
from hopbench.engines.wall.generator import Generator
from hopbench.engines.wall.nodes import Nodes
from hopbench.engines.wall.stage import GRACE_NS
from hopbench.engines.wall.trace_stores import Store
from hopbench.engines.wall.watch import Watched
from hopbench.host.load import Snapshot, snapshot
from hopbench.host.memory import resident_mb
from hopbench.parts.part import Part
from loadgen.counts import Counts
from services.errors import CannotStart
from services.report import Messages, ProcessReport, SenderReport

DRAIN_BOUND_S = 15.0
_POLL_S = 0.05
_TELL_S = 0.2
_CAUSE_S = 3.0
"""A part that has closed its ports ends within this."""


class Broken(Exception):
    """A part died in the round; the text says which, how, and what it said last."""


class Mortal(Protocol):
    async def died(self) -> str:
        """Wait until it is gone, and tell how."""
        ...


@dataclass(frozen=True, slots=True)
class Times:
    """Of one round, CLOCK_MONOTONIC ns. Without a warm-up the measured phase is all of it."""

    start_ns: int
    """The schedule's zero."""
    measured_from_ns: int
    measured_to_ns: int
    ends_ns: int
    """Until then nothing is asked of the parts: others may have their turn."""

    def phase(self, now_ns: int) -> tuple[str, float]:
        """What the schedule is at, and how much of that is done, 0..1."""
        if now_ns < self.measured_from_ns:
            whole = max(1, self.measured_from_ns - self.start_ns)
            return "warmup", max(0, now_ns - self.start_ns) / whole
        whole = self.measured_to_ns - self.measured_from_ns
        return "measured", min(1.0, (now_ns - self.measured_from_ns) / whole)


@dataclass(slots=True)
class Running:
    """The parts of one round, all of them up, and what the round has shown so far."""

    directory: Path
    collector: Part[Collecting]
    store: Store
    """Where the spans are: that collector, or Jaeger."""
    nodes: Nodes
    generator: Generator
    beside: Sequence[Mortal]
    """What else must live through the round: a broker of ours, Jaeger."""
    replicas: tuple[tuple[str, int], ...]
    """Everything that runs, as service and replica number."""
    times: Times
    unix_offset_ns: int
    before: Snapshot | None = None
    after: Snapshot | None = None
    counts: Counts | None = None
    """The generator's, once it has finished."""
    reports: tuple[ProcessReport, ...] = ()
    spans_received: int = 0
    resident_mb: float | None = None
    """Memory of this process and all below it when the load had ended, MB of 10^6 bytes."""
    undrained: str | None = None
    broken: str | None = None
    ended_ns: int = 0

    async def run(self, progress: Progress) -> None:
        """The round itself. A part that dies leaves its text in :attr:`broken`."""
        try:
            async with asyncio.TaskGroup() as group:
                beside = [
                    group.create_task(self._first_death()),
                    group.create_task(self._tell(progress)),
                ]
                await self.nodes.begin(
                    self.times.start_ns, self.times.measured_from_ns, self.unix_offset_ns
                )
                self.before = snapshot(monotonic_ns())
                self.counts = await self.generator.run(self.times.start_ns)
                if self.counts.broken is not None:
                    raise Broken(f"locust: {self.counts.broken}")
                await asyncio.sleep(max(0, self.times.ends_ns - monotonic_ns()) / 1e9)
                await self._drain(progress)
                for task in beside:
                    task.cancel()
        except* Broken as deaths:
            self.broken = str(deaths.exceptions[0])
        except* CannotStart as failures:
            # A call to a part that is gone fails before its end is seen.
            first = failures.exceptions[0]
            assert isinstance(first, CannotStart)
            if self.broken is None and first.part != "locust":
                self.broken = await self._cause()
            self.broken = self.broken or f"{first}\n{first.log}".rstrip()
        self.ended_ns = monotonic_ns()
        if self.broken is not None:
            await self._salvage()

    @property
    def senders(self) -> tuple[SenderReport, ...]:
        """What the generator says of its messages over Kafka."""
        return () if self.counts is None else self.counts.senders

    async def give_up(self, why: str) -> None:
        """Of a round whose :meth:`run` was cancelled, because of another that broke: keep what it
        has measured."""
        self.broken = why
        self.ended_ns = monotonic_ns()
        await self._salvage()

    async def _tell(self, progress: Progress) -> None:
        """Report the phase by the schedule; the requests themselves are the generator's affair."""
        while (now_ns := monotonic_ns()) < self.times.measured_to_ns:
            progress(*self.times.phase(now_ns))
            await asyncio.sleep(_TELL_S)

    async def _cause(self) -> str | None:
        """Which death explains that a part does not answer; None where all live."""
        try:
            async with asyncio.timeout(_CAUSE_S):
                await self._first_death()
        except Broken as death:
            return str(death)
        except TimeoutError:
            pass
        return None

    async def _first_death(self) -> None:
        """Raises Broken as soon as any part dies that should live."""
        parts: Sequence[Mortal] = (self.collector, self.nodes, *self.beside)
        raise Broken(await first(*(asyncio.create_task(part.died()) for part in parts)))

    async def _drain(self, progress: Progress) -> None:
        """Until nothing is in flight and everything has arrived, or the bound has passed."""
        progress("drain", 0.0)
        until_ns = monotonic_ns() + int(DRAIN_BOUND_S * 1e9)
        calm: tuple[int, int] | None = None
        while True:
            reports = await self.nodes.counters()
            why = unfinished(reports, self.senders)
            state = (
                sum(r.handled for r in reports),
                sum(sum(m.produced.values()) for m in _messages(reports, self.senders)),
            )
            # The processes are asked at different moments; twice the same is once at a time.
            if why is None and state == calm:
                break
            if monotonic_ns() > until_ns:
                if await self._away():
                    # What is under way waits for it, too; it ends the round where it stays away.
                    until_ns = monotonic_ns() + int(DRAIN_BOUND_S * 1e9)
                    continue
                self.undrained = (
                    "handlers still opened and closed"
                    if why is None
                    else unfinished(reports, self.senders, lost=True)
                )
                break
            calm = state if why is None else None
            await asyncio.sleep(_POLL_S)
        # In case that nobody can be asked again.
        self.reports = reports
        self.after = snapshot(monotonic_ns())
        self.resident_mb = resident_mb()
        progress("drain", 0.5)
        left_ns = max(GRACE_NS, until_ns - monotonic_ns())
        if (silent := await self._stop(left_ns)) is not None:
            raise silent
        self.undrained = self.undrained or unreported(self.replicas, self.reports)
        expected = sum(report.spans_ended for report in self.reports)
        self.spans_received = await self.store.received(expected, until_ns)
        if self.spans_received < expected:
            self.undrained = self.undrained or (
                f"{expected - self.spans_received} of {expected} spans have not arrived"
            )
        progress("drain", 1.0)

    async def _away(self) -> bool:
        """Whether a part that is not ours can't be reached, and may still come back."""
        for part in self.beside:
            if isinstance(part, Watched) and await part.missing() is not None:
                return True
        return False

    async def _salvage(self) -> None:
        """Keep what a broken round has measured: samples, spans, reports of those that live."""
        await self.generator.stop()
        if self.after is None:
            self.after = snapshot(monotonic_ns())
        # Without a collector there is nobody to wait for with spans.
        heard = self.collector.process.returncode is None
        if (silent := await self._stop(GRACE_NS if heard else 0)) is not None:
            self.broken = f"{self.broken}\nno last reports: {silent.text}"
        self.spans_received = await self.store.salvaged()
        await self.collector.stop()

    async def _stop(self, grace_ns: int) -> CannotStart | None:
        """End the services and keep what they say last; what kept a node from saying it."""
        last, failure = await self.nodes.stop(grace_ns)
        if last.reports:
            self.reports = last.reports
        for name, text in last.logs.items():
            (self.directory / "logs" / f"{Path(name).name}.log").write_text(text, "utf-8")
        return failure


def unfinished(
    reports: Sequence[ProcessReport], senders: Sequence[SenderReport] = (), *, lost: bool = False
) -> str | None:
    """What still goes on, or None. With ``lost``, messages that asked for no acknowledgement are
    given up. More consumed than produced is no reason to wait: a producer may have given up what
    the broker had stored."""
    opened = sum(report.open_handlers for report in reports)
    if opened:
        return f"{opened} handlers are still open"
    produced: Counter[str] = Counter()
    consumed: Counter[str] = Counter()
    unacknowledged: Counter[str] = Counter()
    for messages in _messages(reports, senders):
        produced.update(messages.produced)
        consumed.update(messages.consumed)
        unacknowledged.update(messages.unacknowledged)
    for topic in sorted(produced):
        left = produced[topic] - consumed[topic]
        if left > (unacknowledged[topic] if lost else 0):
            return f"topic {topic}: {produced[topic]} messages produced, {consumed[topic]} consumed"
    return None


def unreported(replicas: Sequence[tuple[str, int]], reports: Sequence[ProcessReport]) -> str | None:
    """Which replicas did not tell, when they were stopped, what they had counted; or None.

    Without all of them nobody knows how many spans to expect, or who has consumed what.
    """
    told = {(report.service, report.replica) for report in reports}
    silent = [
        f"{service}/{number}" for service, number in replicas if (service, number) not in told
    ]
    return f"no last report from {', '.join(silent)}" if silent else None


def _messages(
    reports: Sequence[ProcessReport], senders: Sequence[SenderReport]
) -> tuple[Messages, ...]:
    return (*(report.messages for report in reports), *(sender.messages for sender in senders))
