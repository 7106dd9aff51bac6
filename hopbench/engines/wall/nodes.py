"""All nodes of a round as one: what each runs, and what all of them say together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from hopbench.engines.wall.control import NodeControl
from services.errors import CannotStart
from services.node.messages import Last, Running
from services.process.job import Job
from services.process.orders import Begin
from services.report import ProcessReport
from services.scenario.packing import Pack
from services.system.endpoints import Endpoint
from services.wire.ports import Directory

T = TypeVar("T")

LOOPBACK: Final = "127.0.0.1"
LEASE_NS: Final = 10_000_000_000
"""Without a call from the bench for so long, an attached node ends its processes. In a round one
call for deaths follows the other."""


@dataclass(frozen=True, slots=True)
class Post:
    """One node, what it runs in a round, and how it and others find each other."""

    node: NodeControl
    packs: tuple[Pack, ...]
    listen: str = LOOPBACK
    """What its processes listen on."""
    host: str = LOOPBACK
    """Under which everybody else finds them."""
    bench: str = LOOPBACK
    """Under which it finds the bench."""
    same_clock: bool = True
    """Its CLOCK_MONOTONIC is the bench's: it is on this host."""
    attached: bool = False
    """It does not die with the bench, nor share its files: what it runs is on a lease, and logs
    come with the last reports."""

    def part(self, job: Job, traces: Endpoint | None, port: int) -> Job:
        """Of ``job``, which is for one node that shares host and files with the bench, what this
        one runs; ``traces`` and ``port`` are those of :meth:`Nodes.start`."""
        bench = Endpoint(self.bench, port)
        return replace(
            job,
            packs=self.packs,
            traces=str(traces or bench),
            metrics=str(bench),
            unix_offset_ns=job.unix_offset_ns if self.same_clock else None,
            logs=None if self.attached else job.logs,
            host=self.listen,
            lease_ns=LEASE_NS if self.attached else None,
        )


@dataclass(frozen=True, slots=True)
class Nodes:
    posts: tuple[Post, ...]

    async def start(self, job: Job, traces: Endpoint | None, port: int) -> tuple[Running, ...]:
        """Start the part of ``job`` that each node runs; every replica, as others find it.

        ``traces`` is where spans go; None: where metrics go, to the bench's own collector on
        ``port``. Raises CannotStart for the first that does not come up.
        """
        found = await together(
            *(post.node.start(post.part(job, traces, port)) for post in self.posts)
        )
        return tuple(
            replace(replica, address=replace(replica.address, host=post.host))
            for post, replicas in zip(self.posts, found, strict=True)
            for replica in replicas
        )

    async def connect(self, directory: Directory) -> None:
        await together(*(post.node.connect(directory) for post in self.posts))

    async def begin(self, start_ns: int, measured_from_ns: int, unix_offset_ns: int) -> None:
        """Both times by this host's CLOCK_MONOTONIC; ``unix_offset_ns`` added to one is Unix
        time, by which other hosts begin."""
        here = Begin(start_ns, measured_from_ns)
        elsewhere = Begin(start_ns + unix_offset_ns, measured_from_ns + unix_offset_ns, "unix")
        await together(
            *(post.node.begin(here if post.same_clock else elsewhere) for post in self.posts)
        )

    async def counters(self) -> tuple[ProcessReport, ...]:
        """Of every process that lives."""
        found = await together(*(post.node.counters() for post in self.posts))
        return tuple(report for reports in found for report in reports)

    async def stop(self, grace_ns: int) -> tuple[Last, CannotStart | None]:
        """End every process; what those have said that still could, and the first failure of a
        node that could not."""
        found = await asyncio.gather(
            *(post.node.stop(grace_ns) for post in self.posts), return_exceptions=True
        )
        lasts, failure = [], None
        for each in found:
            if isinstance(each, CannotStart):
                failure = failure or each
            elif isinstance(each, BaseException):
                raise each
            else:
                lasts.append(each)
        reports = tuple(report for last in lasts for report in last.reports)
        logs = {name: text for last in lasts for name, text in last.logs.items()}
        return Last(reports, logs), failure

    async def died(self) -> str:
        """Wait for the first death anywhere, and tell how."""
        waits = [asyncio.create_task(post.node.died()) for post in self.posts]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        return "\n".join(task.result() for task in waits if task in done)


async def together(*work: Coroutine[Any, Any, T]) -> list[T]:
    """All results; the first CannotStart ends the others and is raised itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in work]
    except* CannotStart as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
