"""``hopbench node``: the supervisor of one host's service processes, the same on every engine.

It is told over HTTP (loopback, or the internal network of containers, always with a token) which
replicas to run, starts them through its fork server, watches them, and hands back what they
counted. Requests and answers are listed in docs/architecture.md, "Node control".

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
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import uvloop
from aiohttp import web

from services.errors import CannotStart
from services.node.forks import Child, Forks, ending, log_end
from services.node.health import come_up
from services.node.lease import Lease
from services.scenario.packing import Group
from services.system import tokens
from services.system.death import die_with, stop_asked
from services.system.host_clock import host_clock
from services.system.title import set_title

TOKEN_HEADER = "x-hopbench-token"
TOKEN_VARIABLE = tokens.TOKEN_VARIABLE
HEALTH = "/health"
"""Answered to anybody: that it serves is no secret."""
LARGEST_REQUEST = 64 * 1024 * 1024
ANSWER_BOUND_S = 15.0
"""For connect, begin and counters; opening connections to many callees takes some seconds."""
SERVICE_BOUND_S = 0.05
"""Beside that for each service of a process."""
STOP_SLACK_S = 10.0
"""On top of the grace: spans still to be derived and sent."""
_LEASE_LOOK_S = 1.0


class Node:
    """The processes of one round at a time."""

    def __init__(self, forks: Forks) -> None:
        self._forks = forks
        self._kept: TemporaryDirectory[str] | None = None
        """For the logs of a round whose bench has no directory here."""
        self.lease = Lease()
        self._children: list[Child] = []
        self._deaths: list[dict[str, Any]] = []
        self._death = asyncio.Event()
        self._watchers: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    async def start(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        """Replace what runs by the replicas of ``job``, and return them once they answer.

        Raises CannotStart for the first that does not come up; then none is left.
        """
        async with self._turn:
            return await self._start(job)

    async def _start(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        await self._discard()
        self.lease.grant(job.get("lease_ns"))
        await self._forks.load(job)
        if (given := job["settings"]["logs"]) is None:
            self._kept = TemporaryDirectory(prefix="hopbench-logs-", ignore_cleanup_errors=True)
            given = self._kept.name
        logs = Path(given)
        os.makedirs(logs, exist_ok=True)
        try:
            for name, group in named(job):
                log = logs / f"{name.replace('/', '-')}.log"
                self._children.append(await self._forks.fork(name, group, log))
            await come_up(self._children)
        except* CannotStart as failures:
            await self._discard()
            raise failures.exceptions[0] from None
        for child in self._children:
            watcher = asyncio.create_task(self._watch(child))
            self._watchers.add(watcher)
            watcher.add_done_callback(self._watchers.discard)
        served = sum(len(child.group) for child in self._children)
        _tell(f"started {served} services in {len(self._children)} processes: {job['variant']}")
        return [
            {"pid": child.pid, **replica} for child in self._children for replica in child.ready
        ]

    async def ask_all(self, message: dict[str, Any], bound_s: float) -> list[dict[str, Any]]:
        """Send ``message`` to every process that lives; their answers, each with its name.

        Raises CannotStart when one answers with an error or not in time. A process that dies
        meanwhile is left out; it is among the deaths.
        """

        async def ask(child: Child) -> dict[str, Any] | None:
            try:
                async with asyncio.timeout(its_bound_s := _bound_s(bound_s, child)):
                    answer = await child.channel.ask(message)
            except TimeoutError:
                text = f"no answer to {message['do']!r} in {its_bound_s:g} s"
                raise CannotStart(child.name, text, child.tail()) from None
            if answer is not None and "error" in answer:
                raise CannotStart(child.name, answer["error"], child.tail())
            return answer

        living = [child for child in self._children if not child.exit.done()]
        answers = await asyncio.gather(*(ask(child) for child in living))
        return [answer for answer in answers if answer is not None]

    async def stop(self, grace_ns: int) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """Let every process finish what it does, at most ``grace_ns``; their last reports, and the
        ends of logs that are kept here, by name."""
        async with self._turn:
            return await self._stop(grace_ns)

    async def _stop(self, grace_ns: int) -> tuple[list[dict[str, Any]], dict[str, str]]:
        for child in self._children:
            child.expected_to_end = True

        async def end(child: Child) -> dict[str, Any] | None:
            bound_s = _bound_s(grace_ns / 1e9 + STOP_SLACK_S, child)
            try:
                async with asyncio.timeout(bound_s):
                    answer = await child.channel.ask({"do": "stop", "grace_ns": grace_ns})
                    await asyncio.shield(child.exit)
            except TimeoutError:
                _tell(f"{child.name} did not stop in {bound_s:g} s; killed")
                return None
            return answer

        answers = await asyncio.gather(*map(end, self._children))
        logs = {}
        if self._kept is not None:
            logs = {child.log.stem: log_end(child.log) for child in self._children}
        if self._children:
            _tell(f"stopped {len(self._children)} processes")
        await self._discard()
        return [report for answer in answers if answer for report in answer["reports"]], logs

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

    async def deaths(self, within_s: float | None = None) -> list[dict[str, Any]]:
        """Wait for the first process that dies unasked, then tell all that did so far; none where
        the round ends before, or nobody dies ``within_s``."""
        deaths = self._deaths
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._death.wait()
        return deaths

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
            self._deaths.append(
                {
                    "part": child.name,
                    "pid": child.pid,
                    "text": f"died ({ending(status)})",
                    "log": child.tail(),
                }
            )
            self._death.set()


def named(job: dict[str, Any]) -> list[tuple[str, Group]]:
    """What each process is called: after its replica, or by the number of its pack in the whole
    scenario, of which this node may have a part."""
    numbers = job.get("packs") or {}
    found: list[tuple[str, Group]] = []
    for here, given in enumerate(job["processes"]):
        group = tuple((service, replica) for service, replica in given)
        first = "{}/{}".format(*group[0])
        found.append((first if len(group) == 1 else f"pack/{numbers.get(first, here)}", group))
    return found


def _bound_s(bound_s: float, child: Child) -> float:
    return bound_s + SERVICE_BOUND_S * len(child.group)


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
            return _json({"text": f"wrong or missing {TOKEN_HEADER}"}, 403)
        try:
            with node.lease.call():
                return await handler(request)
        except CannotStart as error:
            return _json(asdict(error), 503)
        except OSError as error:
            # A full disk, or a directory that is none.
            return _json(asdict(CannotStart("node", str(error))), 503)

    async def start(request: web.Request) -> web.Response:
        return _json({"processes": await node.start(orjson.loads(await request.read()))})

    async def connect(request: web.Request) -> web.Response:
        message = orjson.loads(await request.read())
        await node.ask_all({"do": "connect", **message}, ANSWER_BOUND_S)
        return _json({})

    async def begin(request: web.Request) -> web.Response:
        message = orjson.loads(await request.read())
        await node.ask_all({"do": "begin", **message}, ANSWER_BOUND_S)
        return _json({})

    async def counters(_request: web.Request) -> web.Response:
        answers = await node.ask_all({"do": "counters"}, ANSWER_BOUND_S)
        reports = [report for answer in answers for report in answer["reports"]]
        return _json({"processes": reports})

    async def stop(request: web.Request) -> web.Response:
        message = orjson.loads(await request.read())
        reports, logs = await node.stop(message["grace_ns"])
        return _json({"processes": reports, "logs": logs})

    async def deaths(request: web.Request) -> web.Response:
        within = request.query.get("within_s")
        return _json({"deaths": await node.deaths(None if within is None else float(within))})

    async def health(_request: web.Request) -> web.Response:
        return _json({})

    async def clock(_request: web.Request) -> web.Response:
        return _json(asdict(host_clock()))

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


def _json(document: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(document), content_type="application/json")


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
        print(orjson.dumps({"pid": os.getpid(), "host": host, "port": bound}).decode(), flush=True)
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
