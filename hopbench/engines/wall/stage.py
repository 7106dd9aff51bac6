"""What a round needs before any load: collector, service processes, and where everything is."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hopbench.collector.server import Ready as Collecting
from hopbench.engines.port import RoundPlan, Settings
from hopbench.engines.wall.nodes import LOOPBACK, Nodes
from hopbench.parts.part import Part, start_part
from loadgen.plan import Plan
from services.node.messages import Running
from services.process.job import Job
from services.scenario.packing import packs
from services.system.endpoints import Endpoint
from services.transports.site import Broker
from services.wire.ports import Address, Directory

GRACE_NS: Final = 2_000_000_000
"""For what is still under way when a round is broken off."""
_EVERYWHERE: Final = "0.0.0.0"


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything up, nothing connected yet."""

    plan: RoundPlan
    settings: Settings
    collector: Part[Collecting]
    nodes: Nodes
    job: Job
    replicas: tuple[Running, ...]

    @property
    def directory(self) -> Directory:
        """Where every replica listens."""
        found: dict[str, dict[int, Address]] = {}
        for each in self.replicas:
            found.setdefault(each.service, {})[each.replica] = each.address
        return {
            service: tuple(by_number[number] for number in sorted(by_number))
            for service, by_number in found.items()
        }

    @property
    def pids(self) -> dict[str, tuple[int, ...]]:
        """By service and replica number; several replicas may share a process."""
        return {
            service: tuple(each.pid for each in self.replicas if each.service == service)
            for service in self.directory
        }

    def load(self, samples: Path) -> Plan:
        """The generator's plan; its spool is ``samples``. Raises BadInput where an entry has no
        address."""
        return Plan.from_scenario(
            self.plan.scenario,
            self.plan.seed,
            self.directory,
            samples=samples,
            trace_ratio=self.settings.trace_ratio,
            tracing=self.settings.tracing,
            trace_salt=self.plan.trace_salt,
            broker=self.job.broker,
            round_name=self.job.round,
            slices=self.plan.slices,
        )


async def collecting(out: Path, nodes: Nodes) -> Part[Collecting]:
    """A collector that writes to ``out``, where every one of ``nodes`` can reach it. Its log is in
    ``out``/logs, which must exist. Raises CannotStart."""
    here = all(post.bench == LOOPBACK for post in nodes.posts)
    return await start_part(
        "collector",
        "hopbench.collector.server",
        (f"--out={out}", f"--host={LOOPBACK if here else _EVERYWHERE}"),
        out / "logs" / "collector.log",
        ready=Collecting,
    )


async def stage(
    plan: RoundPlan,
    settings: Settings,
    nodes: Nodes,
    broker: Broker | None,
    collector: Part[Collecting],
    *,
    logs: Path,
    traces: Endpoint | None,
    unix_offset_ns: int,
    listen_all: bool = False,
) -> Stage:
    """Start every replica of the plan on ``nodes``.

    ``logs`` is absolute. ``traces`` is where spans go; None: to ``collector``, as metrics do.
    ``listen_all`` opens HTTP and gRPC on each replica, whether an edge comes that way or not.
    Raises CannotStart for what does not come up.
    """
    port = collector.ready.grpc_port
    own = str(Endpoint(LOOPBACK, port))
    job = Job(
        source=plan.source,
        variant=plan.variant,
        packs=packs(plan.scenario),
        seed=plan.seed,
        round=secrets.token_hex(6),
        instrumentation=settings.instrumentation,
        tracing=settings.tracing,
        traces=own,
        metrics=own,
        broker=broker,
        unix_offset_ns=unix_offset_ns,
        logs=str(logs),
        listen_all=listen_all,
    )
    replicas = await nodes.start(job, traces, port)
    return Stage(plan, settings, collector, nodes, job, replicas)
