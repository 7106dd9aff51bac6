"""Virtual time: calls per second, and what the interpreter itself costs for each call.

    python -m benchmarks.virtual

Target: ≥ 20,000 calls a second with the lean instrumentation. CPU seconds of this process count,
not the wall's: a simulation waits for nothing. Each figure is the median over rounds in which all
of its rows take turns; the scenario's arrivals are the same in every round.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import process_time
from typing import Final

from services.behaviour import Behaviour
from services.clocks.virtual import VirtualClock, run_virtual, virtual_loop
from services.scenario.file.parser import parse_text
from services.scenario.model import Scenario
from services.simulation.replay import SpanCount
from services.simulation.round import Arrival, simulate
from services.telemetry.lean import LeanTelemetry
from services.wire.ports import Directory, Incoming, Outgoing, Reply, Status
from services.wire.ticket import entry_ticket
from services.wire.topology import Topology, topology

CALLS_PER_S: Final = 20_000
ROUNDS: Final = 5
REQUESTS: Final = 2_000
DIRECT: Final = 20_000

SHOP: Final = """
version: 1
name: shop
services:
  gateway: {operations: {shop: [call: order.create]}}
  order:
    operations:
      create:
        - {call: inventory.reserve, count: 5, timeout: 2s}
        - {call: price.quote, count: 3, max_parallel: all}
        - sleep: 1ms
  inventory: {operations: {reserve: [work: 1ms]}}
  price: {operations: {quote: [sleep: {exponential: 2ms}]}}
load: {rate: 50/s, entry: gateway.shop}
"""
CALLS: Final = 9
"""Of one request."""

ONE_CALL: Final = """
version: 1
name: one
services:
  a: {operations: {go: [call: b.go]}}
  b: {operations: {go: [sleep: 1ms]}}
load: {rate: 50/s, entry: a.go}
"""


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    measure: Callable[[], float]
    unit: str
    target: float | None = None


def lean(service: str, replica: int, numbered: Topology, clock: VirtualClock) -> LeanTelemetry:
    ids = random.Random(f"{service}/{replica}").getrandbits
    return LeanTelemetry(numbered, service, replica, clock, ids)


def counting(service: str, replica: int, numbered: Topology, clock: VirtualClock) -> SpanCount:
    return SpanCount()


def calls_per_s(scenario: Scenario, *, traced: bool) -> float:
    arrivals = [Arrival(n, n * 20_000_000, 0, n % 2 == 0, n + 1) for n in range(REQUESTS)]
    begun = process_time()
    if traced:
        simulate(scenario, 1, arrivals, 0, lean)
    else:
        simulate(scenario, 1, arrivals, 0, counting)
    return REQUESTS * CALLS / (process_time() - begun)


class Nowhere:
    """A wire that answers at once."""

    async def connect(self, directory: Directory) -> None:
        """Nothing to open."""

    async def call(self, out: Outgoing) -> Reply:
        return Reply(Status.OK, out.response_bytes)

    publish = call

    async def close(self) -> None:
        """Nothing to close."""


def interpreter_us(scenario: Scenario) -> float:
    """One handled request that makes one call: no wire, no time, telemetry that counts."""

    async def main() -> float:
        clock = VirtualClock(virtual_loop())
        behaviour = Behaviour(
            scenario,
            "a",
            0,
            topology=topology(scenario),
            clock=clock,
            telemetry=SpanCount(),
            transports={"http": Nowhere()},
            round_seed=1,
        )
        incoming = Incoming(
            service="a",
            operation="go",
            protocol="http",
            mode="call",
            ticket=entry_ticket(1, 0),
            key=None,
            request_bytes=100,
            response_bytes=100,
            timeout_ns=10_000_000_000,
            attempt=0,
            trace=None,
            received_ns=0,
        )
        await behaviour.handle(incoming)
        begun = process_time()
        for _ in range(DIRECT):
            await behaviour.handle(incoming)
        return (process_time() - begun) / DIRECT * 1e6

    return run_virtual(main())


def simulated_chain_us() -> float:
    """A hop of a 2,000-deep chain, everything included."""
    hops = 2_000
    services = "\n".join(
        f"  s{n}: {{operations: {{go: [call: s{n + 1}.go]}}}}" for n in range(hops)
    )
    scenario = parse_text(
        f"version: 1\nname: chain\nservices:\n{services}\n"
        f"  s{hops}: {{operations: {{go: [sleep: 1ms]}}}}\nload: {{rate: 1/s, entry: s0.go}}\n"
    )
    arrivals = [Arrival(n, n * 10_000_000, 0, True, n + 1) for n in range(10)]
    begun = process_time()
    simulate(scenario, 1, arrivals, 0, lean)
    return (process_time() - begun) / (10 * hops) * 1e6


def main() -> int:
    shop, one = parse_text(SHOP), parse_text(ONE_CALL)
    rows = (
        Row("lean records", lambda: calls_per_s(shop, traced=True), "calls/s", CALLS_PER_S),
        Row("counting only", lambda: calls_per_s(shop, traced=False), "calls/s", CALLS_PER_S),
        Row("interpreter, one handler with one call", lambda: interpreter_us(one), "µs"),
        Row("a hop of a 2,000-deep chain", simulated_chain_us, "µs"),
    )
    taken: dict[str, list[float]] = {row.name: [] for row in rows}
    for _ in range(ROUNDS):
        for row in rows:
            taken[row.name].append(row.measure())
    print(f"Virtual time, median of {ROUNDS} rounds, CPU time of one core")
    reached = True
    for row in rows:
        value = median(taken[row.name])
        target = "" if row.target is None else f"   target ≥ {row.target:,.0f}"
        print(f"  {row.name:40}{value:12,.1f} {row.unit}{target}")
        reached = reached and (row.target is None or value >= row.target)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
