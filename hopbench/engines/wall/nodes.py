"""All nodes of a round as one: what each runs, and what all of them say together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from hopbench.engines.port import ProcessReport
from hopbench.engines.wall.control import Last, NodeControl
from services.errors import CannotStart
from services.scenario.packing import Group
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
    groups: tuple[Group, ...]
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


@dataclass(frozen=True, slots=True)
class Nodes:
    posts: tuple[Post, ...]

    async def start(
        self, job: Mapping[str, Any], traces: str | None, port: int
    ) -> list[dict[str, Any]]:
        """Start the part of ``job`` that each node runs; where every process is found.

        ``job`` is for one node with the same file system (supervisor.job). ``traces`` is where
        spans go, ``HOST:PORT``; None: where metrics go, to the bench's own collector on ``port``.
        Raises CannotStart for the first that does not come up.
        """
        found = await together(
            *(post.node.start(_part(job, post, traces, port)) for post in self.posts)
        )
        return [
            {**process, "host": post.host}
            for post, processes in zip(self.posts, found, strict=True)
            for process in processes
        ]

    async def connect(self, directory: Directory) -> None:
        await together(*(post.node.connect(directory) for post in self.posts))

    async def begin(self, start_ns: int, measured_from_ns: int, unix_offset_ns: int) -> None:
        """Both times by this host's CLOCK_MONOTONIC; ``unix_offset_ns`` added to one is Unix
        time, by which other hosts begin."""

        def order(post: Post) -> Coroutine[Any, Any, None]:
            if post.same_clock:
                return post.node.begin(start_ns, measured_from_ns)
            return post.node.begin(
                start_ns + unix_offset_ns, measured_from_ns + unix_offset_ns, "unix"
            )

        await together(*map(order, self.posts))

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


def _part(job: Mapping[str, Any], post: Post, traces: str | None, port: int) -> dict[str, Any]:
    bench = f"{post.bench}:{port}"
    settings = {**job["settings"], "host": post.listen}
    if post.attached:
        settings["logs"] = None
    if not post.same_clock:
        settings["unix_offset_ns"] = None
    return {
        **job,
        "processes": post.groups,
        "lease_ns": LEASE_NS if post.attached else None,
        "settings": settings,
        "endpoints": {**job["endpoints"], "traces": traces or bench, "metrics": bench},
    }


async def together(*work: Coroutine[Any, Any, T]) -> list[T]:
    """All results; the first CannotStart ends the others and is raised itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in work]
    except* CannotStart as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
