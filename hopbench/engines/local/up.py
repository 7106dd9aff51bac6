"""``hopbench up``: keep the services of a scenario running, and say where they listen.

Everything that a round has but the load: node, service processes, a broker where an edge needs
one, and a collector. A plan is left where ``locust -f loadgen/locustfile.py`` looks for it, so
that load can be put on by hand.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import which
from time import monotonic_ns
from typing import Any

from hopbench.engines.local.supervisor import Supervisor, start_supervisor
from hopbench.engines.port import RoundPlan, Settings
from hopbench.engines.wall import trace_stores
from hopbench.engines.wall.job import directory_of, job
from hopbench.jaeger import client as jaeger
from hopbench.parts import broker as kafka
from hopbench.parts.part import Part, start_part
from loadgen.launch import LOCUSTFILE
from loadgen.plan import Plan, announce
from services.errors import CannotStart
from services.scenario.model import Scenario
from services.scenario.names import camel
from services.system.death import stop_asked
from services.transports.site import Broker
from services.wire.ports import Directory
from services.wire.topology import topology, uses_kafka

SCHEMA = "hopbench.up/1"
_GRACE_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Up:
    """A scenario that runs. ``pids`` and ``directory`` are by service and replica number."""

    scenario: Scenario
    variant: str
    directory: Directory
    pids: dict[str, tuple[int, ...]]
    broker: str | None
    """``HOST:PORT`` of the Kafka broker; None where no edge needs one."""
    otlp_grpc: str
    otlp_http: str
    out: Path
    """Where traces, metrics, logs and samples go."""
    plan: Path
    """What the locustfile follows."""

    def document(self) -> dict[str, Any]:
        """``hopbench.up/1``: one JSON line for scripts."""
        return {
            "schema": SCHEMA,
            "scenario": self.scenario.name,
            "variant": self.variant,
            "services": [
                {
                    "service": service,
                    "replica": replica,
                    "pid": self.pids[service][replica],
                    **asdict(address),
                }
                for service, replicas in self.directory.items()
                for replica, address in enumerate(replicas)
            ],
            "broker": self.broker,
            "otlp_grpc": self.otlp_grpc,
            "otlp_http": self.otlp_http,
            "out": str(self.out),
            "plan": str(self.plan),
        }

    def lines(self) -> list[str]:
        """The same for people: addresses, and commands to try on the entry."""
        width = max(len(name) for name in self.directory) + 2
        found = [
            f"{f'{service}/{replica}':{width}}  http://{address.host}:{address.http_port}"
            f"  grpc {address.host}:{address.grpc_port}"
            for service, replicas in self.directory.items()
            for replica, address in enumerate(replicas)
        ]
        if self.broker is not None:
            found.append(f"{'kafka':{width}}  {self.broker}")
        found.append(f"{'otlp':{width}}  {self.otlp_http}  grpc {self.otlp_grpc}  into {self.out}")
        entry = self.scenario.load.entries[0].target
        first = self.directory[entry.service][0]
        return [
            *found,
            "",
            f"curl -X POST http://{first.host}:{first.http_port}/{entry.operation}",
            f"grpcurl -plaintext {first.host}:{first.grpc_port} "
            f"hopbench.v1.{camel(entry.service)}/{camel(entry.operation)}",
            f"{_locust()} -f {LOCUSTFILE}",
        ]


def up(plan: RoundPlan, settings: Settings, out: Path, tell: Callable[[Up], None]) -> int:
    """Run ``plan``'s scenario until SIGINT or SIGTERM, the ordinary way to end it.

    ``tell`` is called once, when everything answers. Returns 0. Raises CannotStart for what does
    not come up, and for what dies later.
    """
    return asyncio.run(_up(plan, settings, out, tell))


async def _up(plan: RoundPlan, settings: Settings, out: Path, tell: Callable[[Up], None]) -> int:
    asked = asyncio.create_task(stop_asked(parent=None).wait())
    async with AsyncExitStack() as stack:
        running = asyncio.create_task(_start(plan, settings, out, stack))
        await asyncio.wait({asked, running}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            running.cancel()
            await asyncio.wait({running})
            return 0
        found, deaths = running.result()
        tell(found)
        await asyncio.wait({asked, *deaths}, return_when=asyncio.FIRST_COMPLETED)
        ended = [death for death in deaths if death.done()]
        for death in deaths:
            death.cancel()
        if ended:
            raise CannotStart("up", ended[0].result())
    return 0


async def _start(
    plan: RoundPlan, settings: Settings, out: Path, stack: AsyncExitStack
) -> tuple[Up, list[asyncio.Task[str]]]:
    logs = out / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    broker, embedded = await _broker(plan.scenario, settings, logs, stack)
    at = trace_stores.where(settings)
    watch = None if at is None else trace_stores.Watch(at, await jaeger.connected(at))
    collector = await start_part(
        "collector", "hopbench.collector.server", (f"--out={out}",), logs / "collector.log"
    )
    stack.push_async_callback(collector.stop)
    node = await start_supervisor(logs / "node.log")
    stack.push_async_callback(_end, node)
    work = job(
        plan.scenario,
        plan.source,
        plan.variant,
        settings=settings,
        seed=plan.seed,
        unix_offset_ns=time.time_ns() - monotonic_ns(),
        logs=logs,
        collector=collector,
        broker=None if broker is None else asdict(broker),
        listen_all=True,
    )
    if at is not None:
        work["endpoints"]["traces"] = at.otlp
    processes = await node.start(work)
    directory = directory_of(processes)
    await node.connect(directory)
    now_ns = monotonic_ns()
    await node.begin(now_ns, now_ns)
    left = announce(
        Plan.from_scenario(
            plan.scenario,
            plan.seed,
            directory,
            samples=(out / "samples.spool").resolve(),
            trace_ratio=settings.trace_ratio,
            tracing=settings.tracing,
            trace_salt=plan.trace_salt,
            broker=broker,
            round_name=work["settings"]["round"],
        )
    )
    stack.callback(_take_back, left, left.read_bytes())
    deaths = [
        asyncio.create_task(collector.died()),
        asyncio.create_task(node.died()),
    ]
    if watch is not None:
        deaths.append(asyncio.create_task(watch.died()))
    if embedded is not None:
        deaths.append(asyncio.create_task(embedded.died()))
    found = Up(
        scenario=plan.scenario,
        variant=plan.variant,
        directory=directory,
        pids={
            service: tuple(p["pid"] for p in processes if p["service"] == service)
            for service in directory
        },
        broker=None if broker is None else broker.address,
        otlp_grpc=f"127.0.0.1:{collector.ready['grpc_port']}",
        otlp_http=f"http://127.0.0.1:{collector.ready['http_port']}",
        out=out,
        plan=left,
    )
    return found, deaths


async def _broker(
    scenario: Scenario, settings: Settings, logs: Path, stack: AsyncExitStack
) -> tuple[Broker | None, Part | None]:
    """What services are told of the broker, and its process where it is ours; None where no edge
    needs one."""
    if not uses_kafka(topology(scenario)):
        return None, None
    if settings.broker != "embedded":
        await kafka.check(settings.broker)
        return Broker(settings.broker, "kafka"), None
    embedded = await kafka.start(logs / "broker.log")
    stack.push_async_callback(embedded.stop)
    return Broker(embedded.ready["address"], "embedded"), embedded


def _locust() -> str:
    """How a shell starts Locust: by name, or as a module where this environment is not on PATH."""
    return "locust" if which("locust") else f"{sys.executable} -m locust"


def _take_back(path: Path, ours: bytes) -> None:
    """Remove the plan, unless a later ``up`` has put its own there."""
    if path.exists() and path.read_bytes() == ours:
        path.unlink()


async def _end(node: Supervisor) -> None:
    """Let the services finish and send their spans before the node goes."""
    with suppress(CannotStart):
        await node.stop(_GRACE_NS)
    await node.close()
