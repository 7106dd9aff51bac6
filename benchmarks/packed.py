"""A thousand services in a few processes: how soon they are ready, and what they weigh.

    python -m benchmarks.packed [SERVICES]

Targets on two cores: a thousand services ready (forked, listening, answering, connected) in ≤ 60 s,
and ≤ 4 GiB for all processes together. Then requests, one after the other, each of which visits
every service: calls a second between packed services, all of them traced and none lost.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic_ns
from typing import Final

from aiohttp import ClientSession

from hopbench.engines.local.supervisor import start_supervisor
from hopbench.engines.port import RoundPlan, Settings
from hopbench.engines.wall.nodes import Nodes, Post
from hopbench.engines.wall.stage import collecting, stage
from hopbench.host.memory import resident_mb
from services.scenario.file.parser import parse_text
from services.scenario.file.synthesis import generate
from services.scenario.packing import packs

READY_S: Final = 60.0
RESIDENT_MB: Final = 4 * 1024**3 / 1e6
REQUESTS: Final = 10
SETTINGS: Final = Settings(
    engine="local",
    broker="embedded",
    tracing=True,
    trace_ratio=1.0,
    instrumentation="lean",
    web_port=None,
)


async def measure(services: int, directory: Path) -> bool:
    source = generate(services, "tree", 1)
    begun = time.perf_counter()
    scenario = parse_text(source)
    parsed_s = time.perf_counter() - begun
    (directory / "logs").mkdir()
    async with AsyncExitStack() as stack:
        collector = await collecting(directory, Nodes(()))
        stack.push_async_callback(collector.stop)
        begun = time.perf_counter()
        node = await start_supervisor(directory / "logs" / "node.log")
        stack.push_async_callback(node.close)
        staged = await stage(
            RoundPlan(scenario, scenario, source, "baseline", 0, 1, 0),
            SETTINGS,
            Nodes((Post(node, packs(scenario)),)),
            None,
            collector,
            logs=directory / "logs",
            traces=None,
            unix_offset_ns=time.time_ns() - monotonic_ns(),
        )
        listening_s = time.perf_counter() - begun
        await staged.nodes.connect(staged.directory)
        ready_s = time.perf_counter() - begun
        entry = scenario.load.entries[0].target
        at = staged.directory[entry.service][0]
        url = f"http://{at.host}:{at.ports['http']}/{entry.operation}"
        async with ClientSession(trust_env=False) as session:
            await staged.nodes.begin(monotonic_ns(), monotonic_ns(), 0)
            begun = time.perf_counter()
            for _ in range(REQUESTS):
                async with session.post(url) as response:
                    response.raise_for_status()
            took_s = time.perf_counter() - begun
        resident = resident_mb()
        last, failure = await staged.nodes.stop(10_000_000_000)
    if failure is not None:
        raise failure
    handled = sum(report.handled for report in last.reports)
    spans = sum(report.spans_ended for report in last.reports)
    calls = REQUESTS * (services - 1)
    print(f"{services:,} services in {len(packs(scenario))} processes, {os.cpu_count()} cores")
    print(f"  read and checked                {parsed_s:8.2f} s")
    print(f"  listening and answering         {listening_s:8.2f} s")
    print(f"  ready                           {ready_s:8.2f} s    target ≤ {READY_S:g} s")
    print(f"  resident, all processes         {resident:8.0f} MB   target ≤ {RESIDENT_MB:,.0f} MB")
    print(f"  calls between services, traced  {calls / took_s:8,.0f} /s")
    print(f"  requests handled                {handled:8,}      expected {calls + REQUESTS:,}")
    print(f"  spans                           {spans:8,}")
    return ready_s <= READY_S and resident <= RESIDENT_MB and handled == calls + REQUESTS


def main() -> int:
    services = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory(prefix="hopbench-packed-") as directory:
        return 0 if asyncio.run(measure(services, Path(directory))) else 1


if __name__ == "__main__":
    sys.exit(main())
