"""One service process: a replica, or several that a scenario packs into it, on one event loop.

It comes out of the fork server with its job read already, and follows its node's messages on a
socket (services/process/channel.py). Process → node, first ``{"ready": [{service, replica, host,
http_port, grpc_port}…]}`` or ``{"error": text}``; then one answer to each message: ``connect``
``{directory}``, ``begin`` ``{start_ns, measured_from_ns, clock}``, ``counters``, and ``stop``
``{grace_ns}``, after which it leaves. Counters and the last answer are ``{"reports": […]}``, one of
each replica, with the fields of ``hopbench.engines.port.ProcessReport``.

Replicas that share a process share its interpreter, its loop, its clock and its way out for
telemetry. What is the process's own (CPU time, garbage collection, the loop's lag) is in the report
of each, but CPU time and what the clock doubts in that of the first alone, or it would count twice.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import uvloop
from opentelemetry import trace

from services.clocks.wall import WallClock, wheres
from services.errors import CannotStart
from services.process import open_files
from services.process.channel import Channel, open_channel
from services.process.hosting import Hosted
from services.process.job import Job
from services.process.vitals import Heartbeat, Pauses, cpu_ns
from services.system.death import ORPHANED
from services.telemetry.outlet import Outlet
from services.transports.site import PACKED_CONNECTIONS
from services.wire.ports import Address

BROKEN = 5
_AT_ONCE = 64
"""Replicas that connect, or stop, together: their listeners' backlogs are bounded."""


def run_services(job: Job, name: str, group: Sequence[tuple[str, int]], control: int) -> int:
    """Run the replicas of ``group`` until their node says stop; the exit code.

    ``name`` is the process's; ``control`` is a socket's file descriptor.
    """
    # Ctrl-C reaches the whole terminal; ending a round is the bench's to decide.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_live(job, name, group, socket.socket(fileno=control)))


async def _live(
    job: Job, name: str, group: Sequence[tuple[str, int]], control: socket.socket
) -> int:
    channel = await open_channel(control)
    try:
        process = Process(job, group)
        ready = await process.listen()
    except CannotStart as error:
        await channel.send({"error": _text(error, name), "hint": error.hint})
        return BROKEN
    await channel.send({"ready": ready})
    await _obey(process, name, channel)
    return 0


def _text(error: CannotStart, name: str) -> str:
    """For the node, which puts ``name`` before it."""
    return error.text if error.part == name else f"{error.part}: {error.text}"


async def _obey(process: Process, name: str, channel: Channel) -> None:
    while (message := await channel.receive()) is not None:
        match message["do"]:
            case "connect":
                try:
                    await process.connect(message["directory"])
                except CannotStart as error:
                    await channel.answer(message, {"error": _text(error, name)})
                    continue
                await channel.answer(message, {})
            case "begin":
                # Another host's bench names Unix times.
                ahead_ns = process.unix_offset_ns if message["clock"] == "unix" else 0
                await process.begin(
                    message["start_ns"] - ahead_ns, message["measured_from_ns"] - ahead_ns
                )
                await channel.answer(message, {})
            case "counters":
                await channel.answer(message, {"reports": process.reports()})
            case "stop":
                await process.stop(message["grace_ns"])
                await channel.answer(message, {"reports": process.reports()})
                return
    # The node is gone: nobody is left to report to.
    os._exit(ORPHANED)


class Process:
    """The parts of one service process, put together in a running loop.

    Raises CannotStart where it may not open as many files as it needs.
    """

    def __init__(self, job: Job, group: Sequence[tuple[str, int]]) -> None:
        self._job = job
        self._clock = WallClock()
        self._heartbeat = Heartbeat(asyncio.get_running_loop())
        self._pauses = Pauses()
        self._outlet: Outlet | None = None
        if len(group) > 1:
            _room(job, [service for service, _ in group])
            self._outlet = Outlet(
                f"http://{job.traces}",
                f"http://{job.metrics}",
                official=job.tracing and job.instrumentation == "official",
            )
        self.hosted = [
            Hosted(job, service, replica, self._clock, self._outlet) for service, replica in group
        ]
        self._cpu_before_ns = 0
        self._watch: asyncio.Task[None] | None = None

    @property
    def unix_offset_ns(self) -> int:
        return self._job.unix_offset_ns

    async def listen(self) -> list[dict[str, Any]]:
        """Open every listener that is needed; where they are. Raises CannotStart."""
        needs = (wheres(self._job.scenario, hosted.service) for hosted in self.hosted)
        await self._clock.start(frozenset[Any]().union(*needs))
        if self._clock.worker_pids:
            self._watch = asyncio.create_task(self._end_with_workers())
        if self._job.tracing and self._outlet is None:
            # The API takes one for a process: with several services, it could not tell whose span
            # it is that a library opens.
            trace.set_tracer_provider(self.hosted[0].tracer_provider)
        ready = [await hosted.listen() for hosted in self.hosted]
        if self._outlet is not None:
            self._outlet.start([hosted.pipeline for hosted in self.hosted])
        self._pauses.watch()
        return ready

    async def connect(self, directory: Mapping[str, Any]) -> None:
        """Open connections to every callee. Raises CannotStart."""
        addresses = {
            service: tuple(Address(**address) for address in replicas)
            for service, replicas in directory.items()
        }
        for first in range(0, len(self.hosted), _AT_ONCE):
            try:
                async with asyncio.TaskGroup() as group:
                    for hosted in self.hosted[first : first + _AT_ONCE]:
                        group.create_task(hosted.connect(addresses))
            except* CannotStart as failures:
                raise failures.exceptions[0] from None
        # What exists now lives as long as the process; collections need not walk through it.
        gc.collect()
        gc.freeze()

    async def begin(self, start_ns: int, measured_from_ns: int) -> None:
        """The round begins: count from here on."""
        await self._clock.probe()
        for hosted in self.hosted:
            hosted.behaviour.begin(start_ns, measured_from_ns)
        self._heartbeat.start()
        self._pauses.restart()
        self._cpu_before_ns = cpu_ns()

    async def stop(self, grace_ns: int) -> None:
        """Take nothing new, finish what is under way, send every span: each for ``grace_ns``."""
        self._heartbeat.stop()
        if self._watch is not None:
            self._watch.cancel()
        await asyncio.gather(*(hosted.refuse(grace_ns) for hosted in self.hosted))
        await asyncio.gather(*(hosted.disconnect() for hosted in self.hosted))
        way_out = self.hosted[0].pipeline if self._outlet is None else self._outlet
        if not await way_out.flush(grace_ns / 1e9):
            first = self.hosted[0]
            first.counters.doubt("export", f"{first.name}: what takes its telemetry took too long")
        await way_out.close()
        await self._clock.close()

    async def _end_with_workers(self) -> None:
        """A service that has lost a worker is another service: its round is over."""
        print(await self._clock.worker_lost(), file=sys.stderr, flush=True)
        os._exit(BROKEN)

    def reports(self) -> list[dict[str, Any]]:
        """The fields of a ProcessReport for each replica, as they are now."""
        shared = {
            "pid": os.getpid(),
            "sleep_bias_ns": dict(self._clock.sleep_bias.summary()),
            "cpu_bias_ns": dict(self._clock.cpu_bias.summary()),
            "loop_lag_ns": self._heartbeat.lag_ns(),
            "gc_pauses": self._pauses.report(),
        }
        used_ns = cpu_ns() - self._cpu_before_ns
        return [
            {
                **hosted.report(),
                **shared,
                "cpu_ns": 0 if number else used_ns,
                "doubts": [*(() if number else self._clock.doubts), *hosted.counters.doubts],
            }
            for number, hosted in enumerate(self.hosted)
        ]


def _room(job: Job, services: Sequence[str]) -> None:
    """Raises CannotStart where the process may not open as many files as it needs."""
    replicas = {name: service.replicas for name, service in job.scenario.services.items()}
    wanted = open_files.needed(job.topology, services, replicas, PACKED_CONNECTIONS)
    limit = open_files.raise_limit()
    if wanted > limit:
        raise CannotStart(
            "open files",
            f"{len(services)} services in one process need about {wanted:,}, and {limit:,} are "
            "allowed",
            hint="more `processes` in the scenario, or a higher limit (`ulimit -Hn`)",
        )
