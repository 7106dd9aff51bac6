"""``hopbench up``: keep the services of a scenario running, and say where they listen.

Everything that a round has but the load: node, service processes, a broker where an edge needs
one, and a collector. A plan is left where ``locust -f loadgen/locustfile.py`` looks for it, so
that load can be put on by hand.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from time import monotonic_ns
from typing import Any

from hopbench.engines.local.engine import LocalEngine
from hopbench.engines.port import RoundPlan, Settings
from hopbench.engines.wall.nodes import LOOPBACK
from hopbench.engines.wall.running import Mortal
from loadgen.launch import LOCUSTFILE
from loadgen.plan import announce
from services.errors import CannotStart
from services.scenario.model import Scenario
from services.scenario.names import grpc_method, http_path
from services.system.death import stop_asked
from services.wire.ports import Directory

SCHEMA = "hopbench.up/1"


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
                    "host": address.host,
                    "http_port": address.ports["http"],
                    "grpc_port": address.ports["grpc"],
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
            f"{f'{service}/{replica}':{width}}  http://{address.host}:{address.ports['http']}"
            f"  grpc {address.host}:{address.ports['grpc']}"
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
            f"curl -X POST http://{first.host}:{first.ports['http']}{http_path(entry.operation)}",
            f"grpcurl -plaintext {first.host}:{first.ports['grpc']} "
            + grpc_method(entry.service, entry.operation)[1:],
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
        starting = asyncio.create_task(_start(plan, settings, out, stack))
        await asyncio.wait({asked, starting}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting})
            return 0
        found, parts = starting.result()
        tell(found)
        deaths = [asyncio.create_task(part.died()) for part in parts]
        await asyncio.wait({asked, *deaths}, return_when=asyncio.FIRST_COMPLETED)
        ended = [death for death in deaths if death.done()]
        for death in deaths:
            death.cancel()
        if ended:
            raise CannotStart("up", ended[0].result())
    return 0


async def _start(
    plan: RoundPlan, settings: Settings, out: Path, stack: AsyncExitStack
) -> tuple[Up, tuple[Mortal, ...]]:
    """What runs, and the parts that it does not survive; ``stack`` ends it all."""
    engine = LocalEngine(settings)
    stack.push_async_callback(engine.close)
    await engine.open((plan.scenario,), out)
    staged = await engine.stage(plan, out, stack, listen_all=True)
    await staged.nodes.connect(staged.directory)
    now_ns = monotonic_ns()
    await staged.nodes.begin(now_ns, now_ns, 0)
    left = announce(staged.load((out / "samples.spool").resolve()))
    stack.callback(_take_back, left, left.read_bytes())
    ready = staged.collector.ready
    found = Up(
        scenario=plan.scenario,
        variant=plan.variant,
        directory=staged.directory,
        pids=staged.pids,
        broker=engine.broker_address,
        otlp_grpc=f"{LOOPBACK}:{ready.grpc_port}",
        otlp_http=f"http://{LOOPBACK}:{ready.http_port}",
        out=out,
        plan=left,
    )
    return found, (staged.collector, staged.nodes, *engine.beside())


def _locust() -> str:
    """How a shell starts Locust: by name, or as a module where this environment is not on PATH."""
    return "locust" if which("locust") else f"{sys.executable} -m locust"


def _take_back(path: Path, ours: bytes) -> None:
    """Remove the plan, unless a later ``up`` has put its own there."""
    if path.exists() and path.read_bytes() == ours:
        path.unlink()
