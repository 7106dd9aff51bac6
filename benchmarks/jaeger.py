"""Reading a round's spans back from a real Jaeger, beside the floor that it cannot go below.

    HOPBENCH_TEST_JAEGER=http://HOST:PORT HOPBENCH_TEST_JAEGER_OTLP=HOST:PORT \
        python -m benchmarks.jaeger

100,000 spans of the scenario checkout, simulated, are sent as services send them and read back as
the bench does at the end of a round: by search into the trial's spool, and from there to the span
table. The floor is what the same bytes cost without any of that: fetched with as many connections,
parsed once. Target: back within 20 s.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic, time_ns
from typing import Final

import orjson

from analysis.reading.inputs import ANSWERS, read_spools
from hopbench.engines.virtual import RECORDS_PER_REQUEST, Due
from hopbench.jaeger.client import Jaeger, addresses, connected
from hopbench.jaeger.readback import CONNECTIONS, Readback, Sought, Window, sought, windows
from loadgen.schedule import arrivals
from services.clocks.virtual import VirtualClock
from services.scenario.file.parser import load
from services.scenario.model import Scenario
from services.simulation.round import simulate
from services.telemetry.encoding import encode_spans
from services.telemetry.lean import LeanTelemetry
from services.telemetry.pipeline import resource_attributes
from services.telemetry.records import SAMPLED
from services.telemetry.sender import Request, Sender
from services.wire.topology import Topology

SPANS: Final = 100_000
TARGET_S: Final = 20.0
SECONDS: Final = 103
"""Of simulated load: the scenario makes 970 spans a second."""
STORE_S: Final = 1.0
"""Jaeger batches what it takes in before it stores it."""


def requests(scenario: Scenario, start_unix_ns: int) -> tuple[list[Request], Sought, int]:
    """A round of ``scenario`` that began at ``start_unix_ns``: what its services send, what it
    leaves behind, and how many spans that are."""
    seed, salt = scenario.seed, secrets.randbits(32)
    schedule = arrivals(scenario.load, seed, trace_ratio=1.0, trace_salt=salt)

    def telemetry(
        service: str, replica: int, topology: Topology, clock: VirtualClock
    ) -> LeanTelemetry:
        ids = random.Random(f"{salt}/{service}/{replica}").getrandbits
        return LeanTelemetry(topology, service, replica, clock, ids)

    result = simulate(
        scenario,
        seed,
        Due(schedule, True, 0, lambda *_: None, threading.Event()),
        0,
        telemetry,
    )
    sent = []
    for replica in result.replicas:
        resource = resource_attributes(replica.service, replica.replica, "baseline")
        records = [record for record in replica.telemetry.records if record[SAMPLED]]
        for first in range(0, len(records), RECORDS_PER_REQUEST):
            part = records[first : first + RECORDS_PER_REQUEST]
            body = encode_spans(result.topology, part, resource, start_unix_ns)
            sent.append(Request(body, len(part)))
    wanted = sought(scenario.load, schedule, start_unix_ns)
    return sent, wanted, sum(request.items for request in sent)


def send(otlp: str, batches: list[Request]) -> None:
    sender = Sender(otlp, otlp, max_bytes=2**30)
    for batch in batches:
        sender.send("traces", batch)
    sender.drain(60.0)
    sender.close()
    lost = sender.lost["traces"]
    if lost:
        raise SystemExit(f"Jaeger did not take {lost} spans")


async def read_back(query: str, wanted: Sought, spans: int, spool: Path) -> int:
    async with Jaeger(query) as jaeger:
        return await Readback(jaeger, wanted, spool).read(spans, 60.0)


async def floor(query: str, left: Iterator[Window]) -> list[bytes]:
    """The same answers, fetched and thrown away."""
    found: list[bytes] = []

    async def fetch(jaeger: Jaeger) -> None:
        for window in left:
            _, body = await jaeger.fetch(window.service, window.from_ns, window.to_ns, 10_000)
            found.append(body)

    async with Jaeger(query) as jaeger:
        await asyncio.gather(*(fetch(jaeger) for _ in range(CONNECTIONS)))
    return found


def main() -> int:
    query = os.environ.get("HOPBENCH_TEST_JAEGER")
    otlp = os.environ.get("HOPBENCH_TEST_JAEGER_OTLP")
    if query is None:
        print("skipped: HOPBENCH_TEST_JAEGER=http://HOST:PORT names no Jaeger")
        return 0
    at = addresses(query, otlp)
    asyncio.run(connected(at))
    scenario = load("checkout").scenario
    long = replace(scenario.load, warmup_ns=0, duration_ns=SECONDS * 10**9)
    batches, wanted, spans = requests(
        replace(scenario, load=long), time_ns() - (SECONDS + 10) * 10**9
    )
    began = monotonic()
    send(str(at.otlp), batches)
    size = sum(len(batch.body) for batch in batches)
    print(f"{spans:,} spans in {len(wanted.ids):,} traces, {size / 1e6:.0f} MB, sent in "
          f"{monotonic() - began:.1f} s")  # fmt: skip
    time.sleep(STORE_S)

    began = monotonic()
    pages = asyncio.run(floor(at.query, windows(wanted, spans, time_ns())))
    fetched = monotonic() - began
    began, cpu = monotonic(), time.process_time()
    for page in pages:
        orjson.loads(page)
    parsed = monotonic() - began
    print(f"floor: {sum(map(len, pages)) / 1e6:.0f} MB of JSON in {len(pages)} answers, fetched in "
          f"{fetched:.2f} s, parsed in {parsed:.2f} s")  # fmt: skip
    del pages

    with tempfile.TemporaryDirectory() as directory:
        spool = Path(directory) / ANSWERS
        began, cpu = monotonic(), time.process_time()
        there = asyncio.run(read_back(at.query, wanted, spans, spool))
        back = monotonic() - began
        table = read_spools([spool])
        whole = monotonic() - began
    cpu = time.process_time() - cpu
    print(f"read back: {there:,} spans in {back:.2f} s; with the span table {whole:.2f} s "
          f"(target {TARGET_S:g} s), {cpu:.2f} s of CPU")  # fmt: skip
    if there != spans or len(table) != spans:
        print(f"of {spans:,} spans {there:,} came back, {len(table):,} are in the table")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
