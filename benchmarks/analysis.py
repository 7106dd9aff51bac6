"""How fast spans become findings, by the shape of their traces.

Run: ``python -m benchmarks.analysis`` (about half a minute). Each shape is analysed several times,
and the best is printed: what else the machine does only ever adds time. Seconds are CPU seconds of
all threads of the process. Ratios compare shapes of equal size within one run.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl

from analysis.analyse import analyse
from analysis.findings.settings import Settings
from analysis.reading.formats.content import Content
from analysis.reading.formats.otlp_binary import OTLP_BINARY
from analysis.reading.normalisation import normalise
from analysis.reading.recorder import Recorder
from analysis.spans.table import COLUMNS, Absent, Attributes, Kind, Links, Messages, SpanTable
from services.scenario.facts import EMPTY

SERVICES = 12
SPANS = 500_000
TARGET = 500_000
DECODE_TARGET = 100_000
_STEP_NS = 10_000


class Shape(NamedTuple):
    name: str
    parents: Callable[[random.Random], list[int]]
    """Parents of one trace in preorder, so that a subtree is a run of rows."""


def tree(size: int) -> Callable[[random.Random], list[int]]:
    def parents(rng: random.Random) -> list[int]:
        way, found = [0], [-1]
        for row in range(1, size):
            del way[rng.randint(max(len(way) - 4, 1), len(way)) :]
            found.append(way[-1])
            way.append(row)
        return found

    return parents


def sequential(children: int) -> Callable[[random.Random], list[int]]:
    return lambda rng: [-1, *([0] * children)]


def chain(depth: int) -> Callable[[random.Random], list[int]]:
    return lambda rng: list(range(-1, depth - 1))


def spans_of(shape: Shape, total: int) -> SpanTable:
    """About ``total`` spans: CLIENT and SERVER by turns going down, children one after another."""
    rng = random.Random(1)
    patterns = [shape.parents(rng) for _ in range(8)]
    parts: list[dict[str, np.ndarray]] = []
    rows = trace = 0
    while rows < total:
        parent = np.array(patterns[trace % len(patterns)], np.int32)
        part = _trace(parent)
        part["parent"] = np.where(parent >= 0, parent + rows, -1).astype(np.int32)
        part["trace"] = np.full(len(parent), trace, np.int32)
        part["root"] = np.full(len(parent), rows, np.int32)
        parts.append(part)
        rows += len(parent)
        trace += 1
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    nothing = np.full(rows, -1, np.int32)
    columns = {c.name: joined.get(c.name, nothing) for c in COLUMNS}
    columns["span"] = np.arange(rows, dtype=np.int32)
    columns["status"] = np.zeros(rows, np.uint8)
    columns["flags"] = np.zeros(rows, np.uint16)
    columns["lo"], columns["hi"] = columns["start"], columns["end"]
    columns["protocol"] = np.full(rows, 2 * SERVICES, np.int32)
    return SpanTable(
        **columns,
        names=(
            *(f"service-{i}" for i in range(SERVICES)),
            *(f"operation-{i}" for i in range(SERVICES)),
            "http",
        ),
        trace_ids=pl.Series("", [f"{i:032x}" for i in range(trace)]),
        span_ids=pl.Series("", [f"{i:016x}" for i in range(rows)]),
        messages=Messages.empty(rows),
        links=Links.empty(),
        attributes=Attributes.empty(),
        absent=Absent.empty(),
    )


def _trace(parent: np.ndarray) -> dict[str, np.ndarray]:
    n = len(parent)
    depth, size = [0] * n, [1] * n
    for row in range(1, n):
        depth[row] = depth[parent[row]] + 1
    for row in range(n - 1, 0, -1):
        size[parent[row]] += size[row]
    levels = np.array(depth, np.int32)
    start = np.arange(n, dtype=np.int64) * _STEP_NS
    end = start + np.array(size, np.int64) * _STEP_NS - _STEP_NS // 4
    service = (levels + 1) // 2 % SERVICES
    client = levels % 2 == 1
    place = np.where(client, (service - 1) % SERVICES, service).astype(np.int32)
    return {
        "depth": levels,
        "start": start,
        # A child ends with its parent at the latest, a little earlier for each level.
        "end": end - np.minimum(levels, _STEP_NS // 8),
        "kind": np.where(client, Kind.CLIENT, Kind.SERVER).astype(np.uint8),
        "service": place,
        "peer": np.where(client, service, -1).astype(np.int32),
        "operation": (SERVICES + service).astype(np.int32),
        "label": (SERVICES + service).astype(np.int32),
        "template": (SERVICES + service).astype(np.int32),
    }


def seconds(work: Callable[[], object], times: int) -> float:
    best = float("inf")
    for _ in range(times):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


def findings_rate(spans: SpanTable, times: int = 3) -> float:
    """Spans a second from the span table to findings."""

    def work() -> None:
        # What the table caches belongs to the work.
        spans.__dict__.pop("forest", None)
        spans.__dict__.pop("duration", None)
        analyse(spans, EMPTY, Settings(), "analyze")

    return len(spans) / seconds(work, times)


def decode_rate(total: int) -> tuple[float, float]:
    """Spans a second from OTLP protobuf to columns, and on to the span table."""
    data = _export(total)
    recorder = Recorder()

    def decode() -> None:
        nonlocal recorder
        recorder = Recorder()
        OTLP_BINARY.read(Content("bench", data), recorder)

    decoding = seconds(decode, 3)
    both = decoding + seconds(lambda: normalise(recorder), 3)
    return total / decoding, total / both


def _export(total: int) -> bytes:
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData  # noqa: PLC0415

    data = b""
    for batch in range(max(total // 500, 1)):
        request = TracesData()
        group = request.resource_spans.add()
        for key, value in (("service.name", "order"), ("service.instance.id", "order/0")):
            group.resource.attributes.add(key=key).value.string_value = value
        spans = group.scope_spans.add().spans
        for i in range(500):
            span = spans.add(
                trace_id=(batch + 1).to_bytes(16, "big"),
                span_id=(batch * 500 + i + 1).to_bytes(8, "big"),
                parent_span_id=(batch * 500 + max(i, 1)).to_bytes(8, "big"),
                name="POST /reserve",
                kind=3 if i % 2 else 2,
                start_time_unix_nano=10**18 + i,
                end_time_unix_nano=10**18 + 10**6 + i,
            )
            for key, text in (
                ("server.address", "inventory"),
                ("hopbench.mode", "call"),
                ("http.request.method", "POST"),
                ("url.template", "/reserve/{key}"),
                ("url.full", f"http://inventory/reserve/{i % 50}"),
                ("hopbench.key", str(i % 50)),
            ):
                span.attributes.add(key=key).value.string_value = text
            for key, number in (
                ("hopbench.items", 1),
                ("http.response.status_code", 200),
                ("http.request.body.size", 300 + i % 10),
                ("http.response.body.size", 900 + i % 10),
            ):
                span.attributes.add(key=key).value.int_value = number
        body = request.SerializeToString()
        data += len(body).to_bytes(4, "big") + body
    return data


def main() -> int:
    rows: list[tuple[str, float, float]] = []
    flat = 0.0
    for name, parents, total in (
        ("trees of 50 spans", tree(50), SPANS),
        ("trees of 500 spans", tree(500), SPANS),
        ("2,000 sequential children", sequential(2000), SPANS),
        ("500-deep chains", chain(500), SPANS),
        ("10,000-deep chains", chain(10_000), SPANS),
        ("100,000-wide fan-outs", sequential(100_000), SPANS),
    ):
        rate = findings_rate(spans_of(Shape(name, parents), total))
        flat = flat or rate
        rows.append((name, rate, flat / rate))
    print(f"{'span table to findings':<28}{'spans/s':>12}{'target':>12}{'time/flat':>12}")
    for name, rate, ratio in rows:
        print(f"{name:<28}{rate:>12,.0f}{TARGET:>12,}{ratio:>12.2f}")
    for name, make, sizes in (
        ("deep", chain, (10_000, 40_000)),
        ("wide", sequential, (100_000, 400_000)),
    ):
        small, large = (findings_rate(spans_of(Shape(name, make(n)), n)) for n in sizes)
        growth = sizes[1] / large / (sizes[0] / small)
        print(f"one trace 4 times as {name}: {growth:.1f} times as long (linear: 4)")
    decoded, tabled = decode_rate(50_000)
    print(f"OTLP protobuf to columns: {decoded:,.0f} spans/s (target {DECODE_TARGET:,})")
    print(f"OTLP protobuf to the span table: {tabled:,.0f} spans/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
