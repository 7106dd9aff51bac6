"""How long twelve services take to be ready, and what each weighs.

    python benchmarks/startup.py

Target: twelve services of `checkout` ready (forked, listening, answering, connected) in ≤ 5 s on
two cores, ≤ 80 MB resident each. Resident memory counts pages shared with the fork server in every
process; the proportional size (PSS) counts each page once over all processes that share it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from time import monotonic_ns

from hopbench.engines.local.supervisor import start_supervisor
from hopbench.engines.port import RoundPlan, Settings
from hopbench.engines.wall.nodes import Nodes, Post
from hopbench.engines.wall.stage import collecting, stage
from hopbench.parts import broker
from services.scenario.file.parser import load
from services.scenario.file.writer import to_yaml
from services.scenario.packing import packs
from services.transports.site import Broker

SECONDS = 5.0
MEGABYTES = 80.0
ROUNDS = 5


def sizes_mb(pid: int) -> tuple[float, float]:
    """Resident and proportional size of a process, MB of 10^6 bytes."""
    found: dict[str, float] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, kilobytes, *_ = line.split()
        found[name] = int(kilobytes) * 1024 / 1e6
    return found["Rss:"], found["Pss:"]


async def measure(directory: Path) -> bool:
    scenario = load("checkout").scenario
    settings = Settings(
        engine="local",
        broker="embedded",
        tracing=True,
        trace_ratio=0.5,
        instrumentation="lean",
        web_port=None,
    )
    logs = directory / "logs"
    logs.mkdir()
    kafka = await broker.start(logs / "broker.log")
    collector = await collecting(directory, Nodes(()))
    begun = time.perf_counter()
    node = await start_supervisor(logs / "node.log")
    node_s = time.perf_counter() - begun
    plan = RoundPlan(scenario, scenario, to_yaml(scenario), "baseline", 0, 1, 0)
    took: list[float] = []
    resident: list[float] = []
    proportional: list[float] = []
    try:
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            staged = await stage(
                plan,
                settings,
                Nodes((Post(node, packs(scenario)),)),
                Broker(kafka.ready.address, "embedded"),
                collector,
                logs=logs,
                traces=None,
                unix_offset_ns=time.time_ns() - monotonic_ns(),
            )
            await staged.nodes.connect(staged.directory)
            took.append(time.perf_counter() - begun)
            sizes = [sizes_mb(replica.pid) for replica in staged.replicas]
            resident.append(max(size[0] for size in sizes))
            proportional.append(median(size[1] for size in sizes))
            await node.stop(0)
    finally:
        await node.close()
        await collector.stop()
        await kafka.stop()
    print(f"{len(staged.replicas)} services of checkout, {os.cpu_count()} cores, {ROUNDS} starts")
    first, later, largest = node_s + took[0], median(took[1:]), max(resident)
    print(f"  first start, node and imports included   {first:6.2f} s   target ≤ {SECONDS:g} s")
    print(f"  later starts, median                     {later:6.2f} s")
    print(f"  resident, the largest process            {largest:6.1f} MB  target ≤ {MEGABYTES:g}")
    print(f"  proportional (shared pages once), median {median(proportional):6.1f} MB")
    return node_s + max(took) <= SECONDS and max(resident) <= MEGABYTES


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="hopbench-startup-") as directory:
        return 0 if asyncio.run(measure(Path(directory))) else 1


if __name__ == "__main__":
    sys.exit(main())
