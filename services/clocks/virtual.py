"""Virtual time: an event loop whose clock jumps to the next timer.

Behaviour is plain asyncio, so tasks, task groups, timeouts and semaphores are the same code as on
the wall clock; only waiting takes no time. Nothing here reads a clock or draws from process state:
the same coroutines make the same history, to the nanosecond.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Literal, TypeVar

from services.clocks.timers import Timer, Timers
from services.scenario.model import Where
from services.slots import Slots

T = TypeVar("T")
_log = logging.getLogger("asyncio")


class Stalled(RuntimeError):
    """Everything waits, and nothing is left that could end the wait."""


class VirtualLoop(asyncio.AbstractEventLoop):
    """Integer nanoseconds inside; seconds only where asyncio's own interface has them.

    An exception that leaves a callback ends :meth:`run_forever`: a simulation that goes on after
    one would show something that did not happen.
    """

    def __init__(self, start_ns: int = 0) -> None:
        self.now_ns = start_ns
        self._ready: deque[Timer] = deque()
        self._timers = Timers()
        self._running = False
        self._stopping = False
        self._closed = False

    # What virtual time adds to asyncio's interface.

    def at_ns(self, when_ns: int, callback: Callable[..., object], *args: Any) -> Timer:
        """Run ``callback`` at ``when_ns``; at once, behind what is ready, where that has passed."""
        return self._timers.at(when_ns, callback, args)

    # Running.

    def run_forever(self) -> None:
        if self._running or asyncio._get_running_loop() is not None:
            raise RuntimeError("an event loop is running in this thread already")
        ready, timers = self._ready, self._timers
        self._running = True
        asyncio._set_running_loop(self)
        try:
            while True:
                for _ in range(len(ready)):
                    ready.popleft().run()
                if self._stopping:
                    return
                if ready:
                    continue
                when_ns = timers.next_ns()
                if when_ns is None:
                    raise Stalled("virtual time stands still: every task waits for another")
                self.now_ns = max(self.now_ns, when_ns)
                ready.extend(timers.due(self.now_ns))
        finally:
            self._stopping = self._running = False
            asyncio._set_running_loop(None)

    def run_until_complete(self, future: Any) -> Any:
        task = asyncio.ensure_future(future, loop=self)
        task.add_done_callback(self._stop_after)
        try:
            self.run_forever()
        finally:
            task.remove_done_callback(self._stop_after)
        if not task.done():
            raise RuntimeError("the loop was stopped before the future was done")
        return task.result()

    def _stop_after(self, future: object) -> None:
        self._stopping = True

    def stop(self) -> None:
        self._stopping = True

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True
        self._ready.clear()
        self._timers = Timers()

    async def shutdown_asyncgens(self) -> None:
        """Nothing to do: simulated services have no asynchronous generators."""

    async def shutdown_default_executor(self, *_: object) -> None:
        """Nothing to do: there is no executor in virtual time."""

    # Scheduling.

    def time(self) -> float:
        return self.now_ns / 1e9

    def call_soon(  # type: ignore[override]  # typeshed has Handle; the interface is the same
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Timer:
        timer = Timer(self.now_ns, callback, args, context)
        self._ready.append(timer)
        return timer

    call_soon_threadsafe = call_soon  # type: ignore[assignment]  # one thread; signals come here

    def call_later(  # type: ignore[override]  # as above
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> Timer:
        return self._timers.at(self.now_ns + round(delay * 1e9), callback, args, context)

    def call_at(  # type: ignore[override]  # as above
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> Timer:
        return self._timers.at(round(when * 1e9), callback, args, context)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]  # newer Pythons add keywords
        self, coro: Coroutine[Any, Any, T], **kwargs: Any
    ) -> asyncio.Task[T]:
        return asyncio.Task(coro, loop=self, **kwargs)

    # What asyncio asks of every loop.

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:
        """Virtual time has no slow callbacks to look for."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        _log.error("%s", context.get("message"), exc_info=context.get("exception"))

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)


def run_virtual(main: Coroutine[Any, Any, T], *, start_ns: int = 0) -> T:
    """Run a coroutine to its end in virtual time, which begins at ``start_ns``.

    Raises :class:`Stalled` where nothing can ever go on, and what the coroutine raises.
    """

    def factory() -> VirtualLoop:
        return VirtualLoop(start_ns)  # type: ignore[abstract]  # typeshed wants all of I/O, too

    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


def virtual_loop() -> VirtualLoop:
    """The loop that runs now; raises RuntimeError where it is not a virtual one."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise RuntimeError("virtual time needs a VirtualLoop; use run_virtual")
    return loop


class VirtualClock:
    """One replica's time, on a machine of its own with ``cores`` cores.

    CPU is a resource, not a sleep. Work on the loop holds the loop, first come, first served, and
    everything else of this replica waits for it, as it does in a real process: sleepers that wake,
    calls that arrive, answers that come back (:meth:`turn`). Work in threads and processes holds a
    core. Work that has begun is not interrupted: a cancelled caller gets away at once from a
    thread, and at the end of the work from the loop.
    """

    kind: Literal["wall", "virtual"] = "virtual"

    __slots__ = ("_cores", "_loop", "_python", "cpu_ns", "now_ns")

    def __init__(self, loop: VirtualLoop, cores: int = 2) -> None:
        self._loop = loop
        self._python = Slots(1)
        self._cores = Slots(cores)
        self.cpu_ns = 0
        """CPU time used so far, wherever."""
        self.now_ns: Callable[[], int] = lambda: loop.now_ns

    async def sleep(self, ns: int) -> None:
        await _elapse(self._loop, ns)
        if not self._python.free:
            await self.turn()

    def busy(self) -> bool:
        """Whether the loop is held, and whoever comes now has to wait for a :meth:`turn`."""
        return not self._python.free

    async def turn(self) -> None:
        """Wait until the loop has time for this task."""
        await self._python.take()
        self._python.give()

    async def cpu(self, ns: int, where: Where) -> None:
        if where == "loop":
            await self._python.take()
            self.cpu_ns += ns
            await self._hold(self._python, ns)
        else:
            await self._cores.take()
            try:
                await self._detached(ns)
            finally:
                if not self._python.free:
                    await self.turn()

    async def pause(self, ns: int) -> None:
        await self._python.take()
        await self._hold(self._python, ns)

    async def _hold(self, python: Slots, ns: int) -> None:
        end_ns = self._loop.now_ns + ns
        cancelled: CancelledError | None = None
        try:
            while (left := end_ns - self._loop.now_ns) > 0:
                try:
                    await _elapse(self._loop, left)
                except CancelledError as error:
                    cancelled = error
        finally:
            python.give()
        if cancelled is not None:
            raise cancelled

    async def _detached(self, ns: int) -> None:
        self.cpu_ns += ns
        self._loop.at_ns(self._loop.now_ns + ns, self._cores.give)
        await _elapse(self._loop, ns)

    def call_later(self, ns: int, callback: Callable[[], object]) -> Timer:
        return self._loop.at_ns(self._loop.now_ns + max(0, ns), callback)


async def _elapse(loop: VirtualLoop, ns: int) -> None:
    done = loop.create_future()
    timer = loop.at_ns(loop.now_ns + ns, _wake, done)
    try:
        await done
    except CancelledError:
        timer.cancel()
        raise


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
