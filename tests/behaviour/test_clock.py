"""The wall clock: what it promises whatever the machine is doing. No test asks how fast it is."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Collection
from time import monotonic_ns, thread_time_ns

import pytest
import uvloop

from services.behaviour import Behaviour
from services.clocks import cpu
from services.clocks.bias import Bias
from services.clocks.timerfd import absolute_timer, timer_of_libc
from services.clocks.wall import WallClock, wheres
from services.doubts import Code
from services.report import Spread
from services.scenario.model import Where
from services.telemetry.lean import LeanTelemetry
from services.transports.memory import MemoryListener, MemoryTransport, Network
from services.transports.site import Counters, Site
from services.wire.ports import Incoming, Reply, Status
from services.wire.ticket import entry_ticket
from services.wire.topology import topology
from tests.behaviour.world import LEAF, scenario

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
loops = pytest.mark.parametrize("loop", LOOPS)
absolute = pytest.mark.parametrize("absolute", [True, False])


def on(
    loop: str,
    use: Callable[[WallClock], Awaitable[None]],
    clock: WallClock,
    wheres: Collection[Where] = frozenset(),
) -> None:
    async def main() -> None:
        await clock.start(wheres)
        try:
            await use(clock)
        finally:
            await clock.close()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main())


@loops
@absolute
def test_no_wait_ends_early(loop: str, absolute: bool) -> None:
    early: list[int] = []

    async def use(clock: WallClock) -> None:
        async def wait(ns: int) -> None:
            due_ns = monotonic_ns() + ns
            await clock.sleep(ns)
            if monotonic_ns() < due_ns:
                early.append(ns)

        for ns in (0, 1, 200_000, 500_000, 1_499_999, 1_500_001):
            await wait(ns)
        async with asyncio.TaskGroup() as group:
            for n in range(200):
                group.create_task(wait(n * 37_000 % 3_000_000))

    clock = WallClock(absolute=absolute)
    on(loop, use, clock)
    assert early == []
    assert clock.sleep_bias.n == 206
    late = clock.sleep_bias.spread()
    assert 0 <= (late.p50 or 0) <= (late.p99 or 0) <= (late.max or 0)


@loops
def test_a_short_wait_that_begins_later_does_not_wait_for_a_long_one(loop: str) -> None:
    ended: list[str] = []

    async def use(clock: WallClock) -> None:
        async def wait(name: str, ns: int) -> None:
            await clock.sleep(ns)
            ended.append(name)

        long = asyncio.ensure_future(wait("long", 3_600_000_000_000))
        await asyncio.sleep(0)
        await wait("short", 1_000_000)
        await wait("short again", 1_000_000)
        long.cancel()

    on(loop, use, WallClock())
    assert ended == ["short", "short again"]


@loops
@absolute
def test_a_timer_runs_no_earlier_than_asked_and_not_when_cancelled(
    loop: str, absolute: bool
) -> None:
    ran: list[tuple[str, bool]] = []

    async def use(clock: WallClock) -> None:
        done = asyncio.Event()
        due_ns = monotonic_ns() + 2_500_000

        def late() -> None:
            ran.append(("late", monotonic_ns() >= due_ns))
            done.set()

        clock.call_later(1_000_000, lambda: ran.append(("cancelled", True))).cancel()
        clock.call_later(2_500_000, late)
        await done.wait()

    on(loop, use, WallClock(absolute=absolute))
    assert ran == [("late", True)]


@loops
def test_a_cancelled_wait_leaves_the_others_alone(loop: str) -> None:
    ended: list[str] = []

    async def use(clock: WallClock) -> None:
        async def wait(name: str, ns: int) -> None:
            await clock.sleep(ns)
            ended.append(name)

        first = asyncio.ensure_future(wait("first", 1_000_000))
        second = asyncio.ensure_future(wait("second", 2_000_000))
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert first.cancelled()

    on(loop, use, WallClock())
    assert ended == ["second"]


def test_a_platform_without_absolute_timers_is_a_doubt() -> None:
    async def use(clock: WallClock) -> None:
        pass

    clock = WallClock(absolute=False)
    on("asyncio", use, clock)
    assert [doubt.code for doubt in clock.doubts] == [Code.PLATFORM]


@pytest.mark.parametrize("burner", [cpu.interpreter_burner, cpu.native_burner])
def test_a_burner_uses_no_less_cpu_than_asked(burner: Callable[[], cpu.Burner]) -> None:
    burns = burner()
    for ns in (1, 10_000, 300_000, 2_000_000):
        before = thread_time_ns()
        used = burns.burn(ns)
        assert ns <= used <= thread_time_ns() - before


@loops
def test_work_is_done_where_it_was_asked_for(loop: str) -> None:
    used: dict[str, int] = {}

    async def use(clock: WallClock) -> None:
        for where in ("loop", "thread", "process"):
            before = thread_time_ns()
            await clock.cpu(30_000_000, where)
            used[where] = thread_time_ns() - before

    clock = WallClock()
    on(loop, use, clock, wheres={"loop", "thread", "process"})
    assert used["loop"] >= 30_000_000
    assert used["thread"] < 15_000_000
    assert used["process"] < 15_000_000
    assert clock.cpu_bias.n == 3
    p50 = clock.cpu_bias.spread().p50
    assert p50 is not None
    assert p50 >= 0


ON_ONE_CORE = """
import asyncio, os, threading
from services.clocks.wall import WallClock

async def main():
    clock = WallClock()
    await clock.start({"thread", "process"})
    await asyncio.gather(*(clock.cpu(5_000_000, "thread") for _ in range(8)))
    threads = [t for t in threading.enumerate() if t.name.startswith("work")]
    print(len(threads), len(clock.worker_pids))
    await clock.close()

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="affinity is Linux's")
@pytest.mark.skipif((os.cpu_count() or 1) == 1, reason="one core is all that there is")
def test_there_are_as_many_workers_as_cores_that_the_process_may_use() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ON_ONE_CORE], capture_output=True, text=True, check=True, timeout=30
    )
    assert ended.stdout.split() == ["1", "1"]


def test_a_worker_whose_caller_is_gone_answers_nobody_else() -> None:
    async def use(clock: WallClock) -> None:
        gone = [asyncio.ensure_future(clock.cpu(20_000_000, "process")) for _ in clock.worker_pids]
        await asyncio.sleep(0)
        for job in gone:
            job.cancel()
        await clock.cpu(1_000, "process")

    clock = WallClock()
    on("uvloop", use, clock, wheres={"process"})
    # An answer to somebody else would say 20 ms, where 1 µs was asked for.
    assert clock.cpu_bias.n == 1
    assert (clock.cpu_bias.spread().max or 0) < 10_000_000


def test_no_worker_outlives_its_clock() -> None:
    pids: list[int] = []

    async def use(clock: WallClock) -> None:
        pids.extend(clock.worker_pids)
        for pid in pids:
            os.kill(pid, 0)

    on("asyncio", use, WallClock(), wheres={"process"})
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_clock_ends_though_its_workers_are_busy() -> None:
    async def use(clock: WallClock) -> None:
        for _ in clock.worker_pids:
            job = asyncio.ensure_future(clock.cpu(600_000_000_000, "process"))
            await asyncio.sleep(0)
            job.cancel()
        async with asyncio.timeout(30):
            await clock.close()

    on("uvloop", use, WallClock(), wheres={"process"})


@loops
def test_a_worker_that_ends_by_itself_is_told(loop: str) -> None:
    async def use(clock: WallClock) -> None:
        lost = asyncio.ensure_future(clock.worker_lost())
        *_, last = clock.worker_pids
        os.kill(last, signal.SIGKILL)
        assert await lost == f"worker process {last} ended (-9)"

    on(loop, use, WallClock(), wheres={"process"})


def test_bias_keeps_a_bounded_sample_and_counts_all() -> None:
    bias = Bias()
    for value in range(20_000):
        bias.add(value)
    found = bias.spread()
    assert (found.n, found.max) == (20_000, 19_999)
    assert 9_000 < (found.p50 or 0) < 11_000
    assert 19_500 < (found.p99 or 0) < 20_000
    assert Bias().spread() == Spread()


def test_a_clock_starts_what_the_service_needs() -> None:
    world = scenario(
        "b:\n  operations:\n    one: [{work: {cpu: 1ms, where: thread}}, {work: 1ms}]\n",
        steps="- call: b.one",
    )
    assert wheres(world, "b") == {"thread", "loop"}
    assert wheres(world, "a") == frozenset()


@loops
def test_behaviour_is_the_same_code_on_the_wall_clock(loop: str) -> None:
    world = scenario(
        LEAF,
        steps="""
        - {call: b.one, count: 3, max_parallel: all}
        - {call: b.three, timeout: 1ms, on_error: ignore}
        - work: 0.1ms
        """,
    )
    numbered = topology(world)
    replies: list[Reply] = []
    telemetry: list[LeanTelemetry] = []

    async def use(clock: WallClock) -> None:
        network = Network(clock)
        for service in world.services.values():
            site = Site(service.name, 0, 1, numbered, Counters())
            telemetry.append(LeanTelemetry(numbered, service.name, 0, clock))
            transport = MemoryTransport(network, site)
            behaviour = Behaviour(
                world,
                service.name,
                0,
                topology=numbered,
                clock=clock,
                telemetry=telemetry[-1],
                transports={"http": transport},
                round_seed=1,
            )
            await MemoryListener(network, site).start(behaviour.handle)
        replies.append(
            await network.endpoints["a"][0].handler(
                Incoming(
                    service="a",
                    operation="go",
                    protocol="http",
                    mode="call",
                    ticket=entry_ticket(1, 0),
                    key=None,
                    request_bytes=0,
                    response_bytes=5,
                    timeout_ns=60_000_000_000,
                    attempt=0,
                    trace=None,
                    received_ns=clock.now_ns(),
                )
            )
        )

    on(loop, use, WallClock())
    assert replies == [Reply(Status.OK, 5)]
    caller, _ = telemetry
    attempts = [(record[8], record[13]) for record in caller.records if record[0] == 3]
    assert attempts == [(Status.OK, 1)] * 3 + [(Status.TIMEOUT, 0)]


@pytest.mark.skipif(sys.platform != "linux", reason="timerfd is Linux's")
def test_the_c_library_s_timer_and_python_s_own_are_the_same_timer() -> None:
    for timer in (timer_of_libc(), absolute_timer()):
        assert timer is not None
        timer.set(monotonic_ns() + 1_000_000)
        timer.acknowledge()  # not due yet: nothing to read, and no wait
        due_ns = monotonic_ns() + 2_000_000
        timer.set(due_ns)
        os.set_blocking(timer.fd, True)
        assert int.from_bytes(os.read(timer.fd, 8), sys.byteorder) == 1
        assert monotonic_ns() >= due_ns
        timer.close()


def test_a_pause_stops_everything_else_on_the_loop() -> None:
    async def main() -> tuple[int, int]:
        clock = WallClock()
        ticks: list[int] = []

        async def tick() -> None:
            while True:
                ticks.append(monotonic_ns())
                await asyncio.sleep(0.001)

        ticking = asyncio.create_task(tick())
        await asyncio.sleep(0.02)
        begun = monotonic_ns()
        await clock.pause(100_000_000)
        ended = monotonic_ns()
        ticking.cancel()
        return ended - begun, sum(begun < at < ended for at in ticks)

    lasted_ns, ticked = asyncio.run(main())
    assert lasted_ns >= 100_000_000
    assert ticked == 0
