"""The wall clock: waits that end when they should, and CPU work that costs what it should.

- Waits go by one absolute timerfd for the process, with a heap of who waits. Where there is none,
  loop timers take over and the doubt ``platform`` says so.
- A wait never ends early; by how much it is late, and by how much CPU work misses what was asked,
  is recorded.
- CPU work is measured in thread CPU time. On the loop it holds the interpreter; in a thread it
  releases it; in a process it runs in a worker process of its own.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from time import monotonic_ns
from typing import Final, Literal

from services.clocks import cpu
from services.clocks.bias import Bias
from services.clocks.timerfd import AbsoluteTimer, absolute_timer
from services.clocks.timers import Timers
from services.doubts import Code, Doubt
from services.errors import CannotStart
from services.scenario.model import Scenario, Where
from services.scenario.steps.time import Work
from services.scenario.tree import walk
from services.system.cores import usable_cores
from services.wire.ports import Cancellable

_PROBES: Final = 20
_PROBE_NS: Final = 1_000_000
_LATE_NS: Final = 500_000
_READY_S: Final = 10.0


class WallClock:
    """One for each service process. :meth:`start` it in the running loop before use."""

    kind: Literal["wall", "virtual"] = "wall"

    def __init__(self, *, absolute: bool = True) -> None:
        """``absolute`` False does without a timerfd, as on other platforms than Linux."""
        self.now_ns: Callable[[], int] = monotonic_ns
        self.sleep_bias = Bias()
        """Nanoseconds by which waits were longer than asked."""
        self.cpu_bias = Bias()
        """Nanoseconds of CPU used beyond those asked."""
        self.doubts: list[Doubt] = []
        self._absolute = absolute
        self._timers = Timers()
        self._armed_ns: int | None = None
        self._fd: AbsoluteTimer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._burner: cpu.Burner | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._native: cpu.Burner | None = None
        self._workers: WorkerPool | None = None

    async def start(self, wheres: Collection[Where] = frozenset()) -> None:
        """Attach to the running loop and start what ``wheres`` need.

        Raises CannotStart where a worker process does not come up.
        """
        self._loop = asyncio.get_running_loop()
        self._fd = absolute_timer() if self._absolute else None
        if self._fd is None:
            self.doubts.append(
                Doubt(
                    Code.PLATFORM,
                    "no absolute timers here: waits go by the loop's millisecond timers",
                )
            )
        else:
            self._loop.add_reader(self._fd.fd, self._due)
        self._burner = cpu.interpreter_burner()
        cores = len(usable_cores())
        if "thread" in wheres:
            self._threads = ThreadPoolExecutor(cores, thread_name_prefix="work")
            self._native = cpu.native_burner()
        if "process" in wheres:
            self._workers = WorkerPool()
            await self._workers.start(cores)

    async def probe(self) -> None:
        """Try some waits, 25 ms in all, and doubt what is late.

        Not a part of :meth:`start`: while all processes of a round start, waits are late for
        reasons that are gone when the round begins.
        """
        for _ in range(_PROBES):
            await self.sleep(_PROBE_NS)
        late_ns = self.sleep_bias.spread().p50 or 0
        self.sleep_bias = Bias()
        if self._fd is not None and late_ns > _LATE_NS:
            self.doubts.append(
                Doubt(
                    Code.TIMER,
                    f"waits of 1 ms took {late_ns / 1e6:.2f} ms longer before the round",
                )
            )

    async def sleep(self, ns: int) -> None:
        due_ns = monotonic_ns() + ns
        if self._fd is None:
            await self._coarse_sleep(due_ns)
        else:
            assert self._loop is not None
            done = self._loop.create_future()
            timer = self._timers.at(due_ns, _wake, (done,))
            self._arm(due_ns)
            try:
                await done
            except asyncio.CancelledError:
                timer.cancel()
                raise
        self.sleep_bias.add(monotonic_ns() - due_ns)

    async def _coarse_sleep(self, due_ns: int) -> None:
        # No event says that time has passed, and loop timers may end early. Under half a
        # millisecond uvloop would not wait at all.
        while (left_ns := due_ns - monotonic_ns()) > 0:  # noqa: ASYNC110  # as said above
            await asyncio.sleep(max(left_ns, 1_000_000) / 1e9)

    def call_later(self, ns: int, callback: Callable[[], object]) -> Cancellable:
        assert self._loop is not None, "the clock was not started"
        if self._fd is None:
            # Loop timers round, and count from when the loop last looked at the time.
            return self._loop.call_later(-(-max(ns, 0) // 1_000_000) / 1e3 + 0.001, callback)
        due_ns = monotonic_ns() + max(ns, 0)
        timer = self._timers.at(due_ns, callback)
        self._arm(due_ns)
        return timer

    def _arm(self, due_ns: int) -> None:
        if self._fd is not None and (self._armed_ns is None or due_ns < self._armed_ns):
            self._armed_ns = due_ns
            self._fd.set(due_ns)

    def _due(self) -> None:
        assert self._fd is not None
        self._fd.acknowledge()
        self._armed_ns = None
        for timer in self._timers.due(monotonic_ns()):
            timer.run()
        next_ns = self._timers.next_ns()
        if next_ns is not None:
            self._arm(next_ns)

    async def cpu(self, ns: int, where: Where) -> None:
        match where:
            case "loop":
                assert self._burner is not None, "the clock was not started"
                used_ns = self._burner.burn(ns)
            case "thread":
                assert self._loop is not None
                assert self._native is not None, "started without threads"
                used_ns = await self._loop.run_in_executor(self._threads, self._native.burn, ns)
            case "process":
                assert self._workers is not None, "started without processes"
                used_ns = await self._workers.burn(ns)
        self.cpu_bias.add(used_ns - ns)

    async def pause(self, ns: int) -> None:
        time.sleep(ns / 1e9)  # noqa: ASYNC251  # that nothing else runs meanwhile is the point

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Processes that work in this clock's name; their CPU time is this service's."""
        return () if self._workers is None else self._workers.pids

    async def worker_lost(self) -> str:
        """Wait for a worker process that ends by itself, and tell which; there must be some."""
        assert self._workers is not None, "started without processes"
        return await self._workers.lost()

    async def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        if self._workers is not None:
            await self._workers.close()
        if self._fd is not None:
            assert self._loop is not None
            self._loop.remove_reader(self._fd.fd)
            self._fd.close()
            self._fd = None


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def wheres(scenario: Scenario, service: str) -> frozenset[Where]:
    """Where a service's work runs: what its clock has to start."""
    return frozenset(
        step.where
        for operation in scenario.services[service].operations.values()
        for step in walk(operation.steps)
        if isinstance(step, Work)
    )


class WorkerPool:
    """Worker processes for CPU work, one job at a time each."""

    def __init__(self) -> None:
        self._idle: asyncio.LifoQueue[asyncio.subprocess.Process] = asyncio.LifoQueue()
        self._all: list[asyncio.subprocess.Process] = []
        self._jobs: set[asyncio.Task[int]] = set()

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(worker.pid for worker in self._all)

    async def start(self, workers: int) -> None:
        for _ in range(workers):
            worker = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # beside the script lie modules of ours that must not pass for others
                cpu.__file__,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            self._all.append(worker)
        try:
            async with asyncio.timeout(_READY_S):
                for worker in self._all:
                    await _line(worker)
                    self._idle.put_nowait(worker)
        except TimeoutError:
            raise CannotStart("work in processes", "a worker process did not answer") from None

    async def burn(self, ns: int) -> int:
        """Use ``ns`` of CPU in a worker; returns what was used. Waits while all are busy."""
        worker = await self._idle.get()
        # A worker must be heard out even when its caller is gone, or the next would get its answer.
        job = asyncio.get_running_loop().create_task(self._job(worker, ns))
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return await asyncio.shield(job)

    async def _job(self, worker: asyncio.subprocess.Process, ns: int) -> int:
        assert worker.stdin is not None
        worker.stdin.write(b"%d\n" % ns)
        used_ns = int(await _line(worker))
        self._idle.put_nowait(worker)
        return used_ns

    async def lost(self) -> str:
        ends = {asyncio.ensure_future(worker.wait()): worker for worker in self._all}
        try:
            ended, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        worker = ends[ended.pop()]
        return f"worker process {worker.pid} ended ({worker.returncode})"

    async def close(self) -> None:
        for job in self._jobs:
            job.cancel()
        for worker in self._all:
            # Work goes on for whom nobody waits any more; it must not hold up the end.
            if worker.returncode is None:
                worker.kill()
        for worker in self._all:
            await worker.wait()


async def _line(worker: asyncio.subprocess.Process) -> bytes:
    assert worker.stdout is not None
    line = await worker.stdout.readline()
    if not line:
        raise CannotStart("work in processes", f"worker process {worker.pid} ended")
    return line
