"""Virtual time: the loop, and CPU as a contended resource."""

from __future__ import annotations

import asyncio

import pytest

from services.clocks.timers import Timers
from services.clocks.virtual import Stalled, VirtualClock, run_virtual, virtual_loop

MS = 1_000_000


def test_time_jumps_to_the_next_timer_and_asyncio_sees_it() -> None:
    log: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        log.append((name, asyncio.get_running_loop().time()))

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(sleeper("hour", 3600))
            group.create_task(sleeper("second", 1))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.sleep(60)
        log.append(("end", asyncio.get_running_loop().time()))

    run_virtual(main())
    assert log == [("second", 1.0), ("hour", 3600.0), ("end", 3605.0)]


def test_what_can_never_go_on_is_an_error() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stalled):
        run_virtual(main())


def test_an_exception_in_a_callback_ends_the_run() -> None:
    async def main() -> None:
        virtual_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(1)

    with pytest.raises(ZeroDivisionError):
        run_virtual(main())


def test_equal_times_run_in_the_order_in_which_they_were_set() -> None:
    log: list[int] = []

    async def main() -> None:
        loop = virtual_loop()
        for n in range(5):
            loop.at_ns(7, log.append, n)
        await asyncio.sleep(1)

    run_virtual(main())
    assert log == [0, 1, 2, 3, 4]


def test_cancelled_timers_neither_run_nor_pile_up() -> None:
    timers = Timers()
    kept = [timers.at(n, lambda: None) for n in range(1000)]
    for n, timer in enumerate(kept):
        if n % 10:
            timer.cancel()
    timers.at(2000, lambda: None)
    assert len(timers) == 101
    assert timers.cancelled == 0  # swept when most of the heap was dead
    assert [timer.when_ns for timer in timers.due(50)] == [0, 10, 20, 30, 40, 50]
    assert timers.next_ns() == 60


def test_a_timer_cancelled_between_due_and_run_does_not_run() -> None:
    timers = Timers()
    log: list[str] = []
    later = timers.at(1, lambda: log.append("later"))
    timers.at(0, later.cancel)
    for timer in timers.due(1):
        timer.run()
    assert log == []
    assert len(timers) == 0


def test_work_on_the_loop_is_done_one_after_another_in_order() -> None:
    log: list[tuple[int, int]] = []

    async def main() -> None:
        clock = VirtualClock(virtual_loop())

        async def work(n: int) -> None:
            await clock.cpu(10 * MS, "loop")
            log.append((n, clock.now_ns()))

        async with asyncio.TaskGroup() as group:
            for n in range(3):
                group.create_task(work(n))
        assert clock.cpu_ns == 30 * MS

    run_virtual(main())
    assert log == [(0, 10 * MS), (1, 20 * MS), (2, 30 * MS)]


def test_queued_work_can_be_cancelled_and_begun_work_cannot() -> None:
    log: list[tuple[str, int]] = []

    async def main() -> None:
        clock = VirtualClock(virtual_loop())

        async def work(name: str) -> None:
            try:
                await clock.cpu(10 * MS, "loop")
            except asyncio.CancelledError:
                log.append((f"{name} cancelled", clock.now_ns()))
                raise
            log.append((name, clock.now_ns()))

        tasks = [asyncio.ensure_future(work(name)) for name in ("begun", "queued", "last")]
        await asyncio.sleep(0.003)
        tasks[0].cancel()
        tasks[1].cancel()
        await asyncio.wait(tasks)
        assert clock.cpu_ns == 20 * MS

    run_virtual(main())
    assert log == [
        ("queued cancelled", 3 * MS),
        ("begun cancelled", 10 * MS),
        ("last", 20 * MS),
    ]


def test_a_sleeper_that_wakes_waits_for_a_held_loop() -> None:
    async def main() -> int:
        clock = VirtualClock(virtual_loop())
        work = asyncio.ensure_future(clock.cpu(10 * MS, "loop"))
        await clock.sleep(2 * MS)
        woken_ns = clock.now_ns()
        await work
        return woken_ns

    assert run_virtual(main()) == 10 * MS


def test_a_thread_that_nobody_waits_for_keeps_its_core() -> None:
    async def main() -> int:
        clock = VirtualClock(virtual_loop(), cores=1)
        first = asyncio.ensure_future(clock.cpu(10 * MS, "thread"))
        await asyncio.sleep(0.001)
        first.cancel()
        await clock.cpu(1 * MS, "thread")
        return clock.now_ns()

    assert run_virtual(main()) == 11 * MS
