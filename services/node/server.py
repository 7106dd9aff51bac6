"""``hopbench node``: the supervisor of one host's service processes, the same on every engine.

It is told over HTTP (loopback, or the internal network of containers, always with a token) which
replicas to run, starts them through its fork server, watches them, and hands back what they
counted. Requests and answers are listed in services/node/messages.py.

A process that dies when nobody asked it to is told at once to whoever waits on ``GET /deaths``.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop
from aiohttp import web

from services import codec
from services.errors import CannotStart
from services.node.forks import Child, Forks
from services.node.health import come_up
from services.node.lease import Lease
from services.node.messages import (
    HEALTH,
    STOP_SLACK_S,
    TOKEN_HEADER,
    Death,
    Deaths,
    Last,
    Refusal,
    Running,
    Serving,
    Started,
)
from services.process.job import Job
from services.process.orders import Answer, Begin, Connect, Count, Order, Stop
from services.report import ProcessReport
from services.system import logs
from services.system.children import ending
from services.system.death import die_with, stop_asked
from services.system.host_clock import host_clock
from services.system.title import set_title
from services.system.tokens import TOKEN_VARIABLE

LARGEST_REQUEST = 64 * 1024 * 1024
ANSWER_BOUND_S = 15.0
"""For connect, begin and counters; opening connections to many callees takes some seconds."""
SERVICE_BOUND_S = 0.05
"""Beside that for each service of a process."""
_LEASE_LOOK_S = 1.0


class Node:
    """The processes of one round at a time."""

    def __init__(self, forks: Forks) -> None:
        self._forks = forks
        self._kept: TemporaryDirectory[str] | None = None
        """For the logs of a round whose bench has no directory here."""
        self.lease = Lease()
        self._children: list[Child] = []
        self._deaths: list[Death] = []
        self._death = asyncio.Event()
        self._watchers: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    async def start(self, job: Job) -> Started:
        """Replace what runs by the replicas of ``job``; returns once they answer.

        Raises CannotStart for the first that does not come up; then none is left.
        """
        async with self._turn:
            return await self._start(job)

    async def _start(self, job: Job) -> Started:
        await self._discard()
        self.lease.grant(job.lease_ns)
        await self._forks.load(job)
        if (given := job.logs) is None:
            self._kept = TemporaryDirectory(prefix="hopbench-logs-", ignore_cleanup_errors=True)
            given = self._kept.name
        directory = Path(given)
        os.makedirs(directory, exist_ok=True)
        try:
            for pack in job.packs:
                log = directory / f"{pack.name.replace('/', '-')}.log"
                self._children.append(await self._forks.fork(pack, log))
            await come_up(self._children)
        except* CannotStart as failures:
            await self._discard()
            raise failures.exceptions[0] from None
        for child in self._children:
            watcher = asyncio.create_task(self._watch(child))
            self._watchers.add(watcher)
            watcher.add_done_callback(self._watchers.discard)
        found = tuple(
            Running(replica.service, replica.replica, child.pid, replica.address)
            for child in self._children
            for replica in child.listening
        )
        _tell(f"started {len(found)} services in {len(self._children)} processes: {job.variant}")
        return Started(found)

    async def ask_all(self, order: Order) -> tuple[ProcessReport, ...]:
        """Give ``order`` to every process that lives; what they report.

        Raises CannotStart when one answers with an error or not in time. A process that dies
        meanwhile is left out; it is among the deaths.
        """

        async def ask(child: Child) -> Answer:
            try:
                async with asyncio.timeout(bound_s := _bound_s(ANSWER_BOUND_S, child)):
                    answer = await child.channel.ask(order)
            except TimeoutError:
                text = f"no answer to {type(order).__name__} in {bound_s:g} s"
                raise CannotStart(child.name, text, child.tail()) from None
            if answer is not None and answer.error is not None:
                raise CannotStart(child.name, answer.error, child.tail())
            return answer or Answer()

        living = [child for child in self._children if not child.exit.done()]
        answers = await asyncio.gather(*(ask(child) for child in living))
        return tuple(report for answer in answers for report in answer.reports)

    async def stop(self, stop: Stop) -> Last:
        """Let every process finish what it does; their last reports, and the ends of logs that are
        kept here."""
        async with self._turn:
            return await self._stop(stop)

    async def _stop(self, stop: Stop) -> Last:
        for child in self._children:
            child.expected_to_end = True

        async def end(child: Child) -> Answer:
            bound_s = _bound_s(stop.grace_ns / 1e9 + STOP_SLACK_S, child)
            try:
                async with asyncio.timeout(bound_s):
                    answer = await child.channel.ask(stop)
                    await asyncio.shield(child.exit)
            except TimeoutError:
                _tell(f"{child.name} did not stop in {bound_s:g} s; killed")
                return Answer()
            return answer or Answer()

        answers = await asyncio.gather(*map(end, self._children))
        ends = {}
        if self._kept is not None:
            ends = {child.log.stem: logs.end(child.log) for child in self._children}
        if self._children:
            _tell(f"stopped {len(self._children)} processes")
        await self._discard()
        return Last(tuple(report for answer in answers for report in answer.reports), ends)

    async def discard(self) -> None:
        """Kill what runs, without asking."""
        async with self._turn:
            await self._discard()

    async def _discard(self) -> None:
        children, self._children = self._children, []
        for child in children:
            child.expected_to_end = True
            if not child.exit.done():
                # It may have ended already, and the fork server not yet have said so.
                with suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGKILL)
        for child in children:
            await child.exit
            child.channel.close()
        if self._kept is not None:
            self._kept.cleanup()
            self._kept = None
        # Whoever waits for a death of this round need not wait through the next.
        self._death.set()
        self._death = asyncio.Event()
        self._deaths = []

    async def deaths(self, within_s: float | None = None) -> Deaths:
        """Wait for the first process that dies unasked, then tell all that did so far; none where
        the round ends before, or nobody dies ``within_s``."""
        deaths = self._deaths
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._death.wait()
        return Deaths(tuple(deaths))

    async def end_when_left(self) -> None:
        """Kill what runs for a bench that has not called for the length of its lease."""
        while True:
            await asyncio.sleep(_LEASE_LOOK_S)
            if self._children and self.lease.over():
                print("the bench is gone; its round is ended", file=sys.stderr, flush=True)
                await self.discard()

    async def _watch(self, child: Child) -> None:
        status = await asyncio.shield(child.exit)
        if not child.expected_to_end:
            text = f"died ({ending(status)})"
            self._deaths.append(Death(child.name, child.pid, text, child.tail()))
            self._death.set()


def _bound_s(bound_s: float, child: Child) -> float:
    return bound_s + SERVICE_BOUND_S * len(child.pack.replicas)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# --- HTTP -------------------------------------------------------------------------------------

_Route = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(node: Node, token: str, quit_asked: asyncio.Event) -> web.Application:
    @web.middleware
    async def guard(request: web.Request, handler: _Route) -> web.StreamResponse:
        if request.path == HEALTH:
            return await handler(request)
        given = request.headers.get(TOKEN_HEADER, "").encode(errors="surrogateescape")
        if not hmac.compare_digest(given, token.encode()):
            return _json(Refusal(f"wrong or missing {TOKEN_HEADER}"), 403)
        try:
            with node.lease.call():
                return await handler(request)
        except codec.Unfit as error:
            return _json(Refusal(f"does not understand {request.path}: {error}"), 400)
        except CannotStart as error:
            return _json(Refusal.of(error), 503)
        except OSError as error:
            # A full disk, or a directory that is none.
            return _json(Refusal(str(error)), 503)

    async def start(request: web.Request) -> web.Response:
        return _json(await node.start(codec.decode(Job, await request.read())))

    async def connect(request: web.Request) -> web.Response:
        await node.ask_all(codec.decode(Connect, await request.read()))
        return _json({})

    async def begin(request: web.Request) -> web.Response:
        await node.ask_all(codec.decode(Begin, await request.read()))
        return _json({})

    async def counters(_request: web.Request) -> web.Response:
        return _json(Last(await node.ask_all(Count())))

    async def stop(request: web.Request) -> web.Response:
        return _json(await node.stop(codec.decode(Stop, await request.read())))

    async def deaths(request: web.Request) -> web.Response:
        within = request.query.get("within_s")
        return _json(await node.deaths(None if within is None else float(within)))

    async def health(_request: web.Request) -> web.Response:
        return _json({})

    async def clock(_request: web.Request) -> web.Response:
        return _json(host_clock())

    async def quit_(_request: web.Request) -> web.Response:
        quit_asked.set()
        return _json({})

    app = web.Application(middlewares=[guard], client_max_size=LARGEST_REQUEST)
    app.router.add_post("/start", start)
    app.router.add_post("/connect", connect)
    app.router.add_post("/begin", begin)
    app.router.add_get("/counters", counters)
    app.router.add_get("/deaths", deaths)
    app.router.add_get("/clock", clock)
    app.router.add_get(HEALTH, health)
    app.router.add_post("/stop", stop)
    app.router.add_post("/quit", quit_)
    return app


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=codec.encode(value), content_type="application/json")


# --- the process ------------------------------------------------------------------------------


async def _serve(host: str, port: int, token: str, parent: int | None) -> int:
    asked = stop_asked(parent)
    forks = Forks()
    await forks.start()
    node = Node(forks)
    runner = web.AppRunner(
        application(node, token, asked),
        access_log=None,
        handle_signals=False,
        # What a bench asked for is done to its end, also when it hangs up: a start that stops
        # half-way would leave processes that nobody knows.
        handler_cancellation=False,
        shutdown_timeout=1.0,
    )
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
        bound = runner.addresses[0][1]
        print(codec.encode(Serving(os.getpid(), host, bound)).decode(), flush=True)
        over = asyncio.create_task(asked.wait())
        gone = asyncio.create_task(forks.gone())
        left = asyncio.create_task(node.end_when_left())
        await asyncio.wait({over, gone}, return_when=asyncio.FIRST_COMPLETED)
        left.cancel()
        if gone.done():
            print(gone.result(), file=sys.stderr)
            return 5
        gone.cancel()
        await node.discard()
        return 0
    finally:
        await runner.cleanup()
        await forks.close()


def node(host: str = "127.0.0.1", port: int = 0, *, parent: int | None = None) -> int:
    """``hopbench node``: serve until ``/quit``, SIGINT or SIGTERM; returns the exit code.

    The token is in the environment (``HOPBENCH_TOKEN``), where other users can't read it.
    ``parent`` is the pid of the process to die with, whose pipe is then standard input. When
    ready, one JSON line with the port is printed on stdout. Raises CannotStart.
    """
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not token:
        raise CannotStart("node", "has no token", hint=f"put one into {TOKEN_VARIABLE}")
    if parent is not None:
        die_with(parent)
    set_title("hopbench: node")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(host, port, token, parent))
    except OSError as error:
        raise CannotStart(
            "node", f"cannot listen on {host}:{port}: {error.strerror}", hint="--port"
        ) from error


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m services.node.server")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--parent", type=int)
    arguments = parser.parse_args()
    try:
        return node(arguments.host, arguments.port, parent=arguments.parent)
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 5


if __name__ == "__main__":
    sys.exit(main())
