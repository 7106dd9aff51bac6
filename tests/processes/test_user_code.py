"""Code in a service process that knows nothing of hopbench and asks the OpenTelemetry API."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIVE = """
import asyncio, sys
from opentelemetry import trace
from services.process.job import Job, work
from services.process.process import Process
from services.scenario.packing import Pack

SCENARIO = (
    "{version: 1, name: one, services: {a: {operations: {go: [sleep: 1ms]}}},"
    " load: {rate: 1/s, entry: a.go}}"
)

async def main(instrumentation, tracing):
    tracer = trace.get_tracer("a.library")  # made before there is a provider, as libraries do
    pack = Pack("a/0", (("a", 0),))
    job = Job(
        source=SCENARIO, variant="baseline", packs=(pack,), seed=1, round="r",
        instrumentation=instrumentation, tracing=tracing, traces="127.0.0.1:9",
        metrics="127.0.0.1:9", broker=None, unix_offset_ns=0, logs=None,
    )
    process = Process(work(job), pack)
    await process.listen()
    with tracer.start_as_current_span("cache.look"):
        pass
    print(process.reports()[0].spans_ended, flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2] == "on"))
"""


@pytest.mark.parametrize(
    ("instrumentation", "tracing", "spans"),
    [("lean", "on", "1"), ("official", "on", "1"), ("lean", "off", "0")],
)
def test_a_span_that_a_library_opens_is_counted_where_tracing_is_on(
    instrumentation: str, tracing: str, spans: str
) -> None:
    # In a process of its own: the API takes a provider once.
    ended = subprocess.run(
        [sys.executable, "-c", LIVE, instrumentation, tracing],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert ended.stdout.split() == [spans]
