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
from hopbench.engines.port import Settings
from hopbench.engines.wall.job import directory_of, job
from hopbench.parts import broker
from hopbench.parts.part import start_part
from services.scenario.file.parser import load
from services.scenario.file.writer import to_yaml

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
    kafka = await broker.start(directory / "broker.log")
    collector = await start_part(
        "collector",
        "hopbench.collector.server",
        (f"--out={directory}",),
        directory / "collector.log",
    )
    begun = time.perf_counter()
    node = await start_supervisor(directory / "node.log")
    node_s = time.perf_counter() - begun
    took: list[float] = []
    resident: list[float] = []
    proportional: list[float] = []
    try:
        for _ in range(ROUNDS):
            work = job(
                scenario,
                to_yaml(scenario),
                "baseline",
                settings=settings,
                seed=1,
                unix_offset_ns=time.time_ns() - monotonic_ns(),
                logs=directory / "logs",
                collector=collector,
                broker={"address": kafka.ready["address"], "kind": "embedded"},
            )
            begun = time.perf_counter()
            processes = await node.start(work)
            await node.connect(directory_of(processes))
            took.append(time.perf_counter() - begun)
            sizes = [sizes_mb(process["pid"]) for process in processes]
            resident.append(max(size[0] for size in sizes))
            proportional.append(median(size[1] for size in sizes))
            await node.stop(0)
    finally:
        await node.close()
        await collector.stop()
        await kafka.stop()
    print(f"{len(processes)} services of checkout, {os.cpu_count()} cores, {ROUNDS} starts")
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
