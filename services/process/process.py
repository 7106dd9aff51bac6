"""One service process: a replica, or several that a scenario packs into it, on one event loop.

It comes out of the fork server with its job read already, and follows its node's orders
(services/process/orders.py).

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
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import uvloop

from services.clocks.wall import WallClock, wheres
from services.doubts import Code
from services.errors import CannotStart
from services.process import open_files
from services.process.channel import Question, open_channel
from services.process.hosting import Hosted
from services.process.job import Work
from services.process.orders import Answer, Begin, Connect, Count, Listening, Order, Ready, Stop
from services.process.vitals import Heartbeat, Pauses, Vitals, cpu_ns
from services.report import ProcessReport
from services.scenario.packing import Pack
from services.system.death import ORPHANED, vital
from services.telemetry.outlet import Outlet
from services.transports.site import PACKED_CONNECTIONS
from services.wire.ports import Directory

BROKEN = 5
_AT_ONCE = 64
"""Replicas that connect, or stop, together: their listeners' backlogs are bounded."""


def run_services(work: Work, pack: Pack, control: int) -> int:
    """Run the replicas of ``pack`` until their node says stop; the exit code.

    ``control`` is a socket's file descriptor.
    """
    # Ctrl-C reaches the whole terminal; ending a round is the bench's to decide.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_live(work, pack, socket.socket(fileno=control)))


async def _live(work: Work, pack: Pack, control: socket.socket) -> int:
    channel = await open_channel(control)
    try:
        process = Process(work, pack)
        replicas = await process.listen()
    except CannotStart as error:
        await channel.send(Ready(error=_text(error, pack), hint=error.hint))
        return BROKEN
    await channel.send(Ready(replicas))
    while (question := await channel.receive(Question)) is not None:
        await channel.answer(question, await _obey(process, pack, question.order))
        if isinstance(question.order, Stop):
            return 0
    # The node is gone: nobody is left to report to.
    os._exit(ORPHANED)


def _text(error: CannotStart, pack: Pack) -> str:
    """For the node, which puts the process's name before it."""
    return error.text if error.part == pack.name else f"{error.part}: {error.text}"


async def _obey(process: Process, pack: Pack, order: Order) -> Answer:
    match order:
        case Connect(directory):
            try:
                await process.connect(directory)
            except CannotStart as error:
                return Answer(error=_text(error, pack))
            return Answer()
        case Begin():
            await process.begin(order)
            return Answer()
        case Count():
            return Answer(reports=process.reports())
        case Stop(grace_ns):
            await process.stop(grace_ns)
            return Answer(reports=process.reports())


class Process:
    """The parts of one service process, put together in a running loop.

    Raises CannotStart where it may not open as many files as it needs.
    """

    def __init__(self, work: Work, pack: Pack) -> None:
        job = work.job
        self._work = work
        self._clock = WallClock()
        self._heartbeat = Heartbeat(asyncio.get_running_loop())
        self._pauses = Pauses()
        self._outlet: Outlet | None = None
        if pack.shared:
            _room(work, pack.services)
            self._outlet = Outlet(
                job.traces,
                job.metrics,
                official=job.tracing and job.instrumentation == "official",
            )
        self.hosted = [
            Hosted(work, service, replica, self._clock, self._outlet)
            for service, replica in pack.replicas
        ]
        self._cpu_before_ns = 0
        self._watch: asyncio.Task[None] | None = None

    async def listen(self) -> tuple[Listening, ...]:
        """Open every listener that is needed. Raises CannotStart."""
        needs = (wheres(self._work.scenario, hosted.service) for hosted in self.hosted)
        await self._clock.start(frozenset[Any]().union(*needs))
        if self._clock.worker_pids:
            self._watch = vital(asyncio.create_task(self._end_with_workers()))
        ready = tuple([await hosted.listen() for hosted in self.hosted])
        if self._outlet is not None:
            self._outlet.start([hosted.pipeline for hosted in self.hosted])
        self._pauses.watch()
        return ready

    async def connect(self, directory: Directory) -> None:
        """Open connections to every callee. Raises CannotStart."""
        for first in range(0, len(self.hosted), _AT_ONCE):
            try:
                async with asyncio.TaskGroup() as group:
                    for hosted in self.hosted[first : first + _AT_ONCE]:
                        group.create_task(hosted.connect(directory))
            except* CannotStart as failures:
                raise failures.exceptions[0] from None
        # What exists now lives as long as the process; collections need not walk through it.
        gc.collect()
        gc.freeze()

    async def begin(self, begin: Begin) -> None:
        """The round begins: count from here on."""
        ahead_ns = self._work.unix_offset_ns if begin.clock == "unix" else 0
        await self._clock.probe()
        for hosted in self.hosted:
            hosted.begin(begin.start_ns - ahead_ns, begin.measured_from_ns - ahead_ns)
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
            first.counters.doubt(
                Code.EXPORT, f"{first.name}: what takes its telemetry took too long"
            )
        await way_out.close()
        await self._clock.close()

    async def _end_with_workers(self) -> None:
        """A service that has lost a worker is another service: its round is over."""
        print(await self._clock.worker_lost(), file=sys.stderr, flush=True)
        os._exit(BROKEN)

    def reports(self) -> tuple[ProcessReport, ...]:
        """Of each replica, as they are now."""
        first = Vitals(
            cpu_ns=cpu_ns() - self._cpu_before_ns,
            sleep_bias_ns=self._clock.sleep_bias.spread(),
            cpu_bias_ns=self._clock.cpu_bias.spread(),
            loop_lag_ns=self._heartbeat.lag_ns(),
            collections=self._pauses.report(),
            doubts=tuple(self._clock.doubts),
        )
        others = replace(first, cpu_ns=0, doubts=())
        return tuple(
            hosted.report(others if number else first) for number, hosted in enumerate(self.hosted)
        )


def _room(work: Work, services: Sequence[str]) -> None:
    """Raises CannotStart where the process may not open as many files as it needs."""
    replicas = {name: service.replicas for name, service in work.scenario.services.items()}
    wanted = open_files.needed(work.topology, services, replicas, PACKED_CONNECTIONS)
    limit = open_files.raise_limit()
    if wanted > limit:
        raise CannotStart(
            "open files",
            f"{len(services)} services in one process need about {wanted:,}, and {limit:,} are "
            "allowed",
            hint="more `processes` in the scenario, or a higher limit (`ulimit -Hn`)",
        )
