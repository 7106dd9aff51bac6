"""From hop records to the collector, beside the requests and never in their way.

Every few milliseconds a slice of records is derived, encoded and counted, small enough that no
request waits for it longer than for a neighbour; where more is left, the loop gets a turn between
two slices. Requests leave by size or age, metrics every other second, a metric a turn.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from services.telemetry import protobuf
from services.telemetry.encoding import SCOPE_FIELD, SpanEncoder
from services.telemetry.lean import LeanTelemetry
from services.telemetry.metrics import Collected, Metric, Metrics, encode_metric, metrics_request
from services.telemetry.records import SAMPLED
from services.telemetry.sender import Request, Sender


@dataclass(frozen=True, slots=True)
class Pace:
    """How derivation is cut up.

    The defaults are a choice, not the best of a sweep: benchmarks/tail.py measures the tail with
    them, and with no others.
    """

    slice_records: int = 32
    """Derived at a time: 0.1 ms."""
    busy_s: float = 0.004
    """Between two looks at the records while there are some."""
    idle_s: float = 0.02
    """While there are none."""
    request_bytes: int = 256 * 1024
    request_age_s: float = 1.0
    metrics_s: float = 2.0


DEFAULT_PACE: Final = Pace()


def resource_attributes(
    service: str, replica: int, variant: str, instrumentation: str = "lean"
) -> dict[str, protobuf.Value]:
    """Who speaks: the resource of spans and metrics of this process."""
    return {
        "service.name": service,
        "service.instance.id": f"{service}/{replica}",
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
        "telemetry.sdk.language": "python",
        # Other SDKs than the default one must not use its name, by the resource conventions.
        "telemetry.sdk.name": "hopbench" if instrumentation == "lean" else "opentelemetry",
        "telemetry.sdk.version": _version(
            "hopbench" if instrumentation == "lean" else "opentelemetry-sdk"
        ),
        "hopbench.variant": variant,
        "hopbench.instrumentation": instrumentation,
    }


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unreleased"  # hopbench itself, in a checkout


class Pipeline:
    """Derives from one telemetry's records and gives spans and metrics to ``sender``.

    ``spans=False`` sends metrics alone. ``offset_ns`` turns the clock's time into Unix time; None
    takes it now. Where it is ``shared``, somebody else calls :meth:`step` and closes the sender, as
    they do for several pipelines; else no record is left untouched for long after :meth:`start`.
    """

    def __init__(
        self,
        telemetry: LeanTelemetry,
        sender: Sender,
        resource: protobuf.Attributes,
        *,
        spans: bool = True,
        offset_ns: int | None = None,
        pace: Pace = DEFAULT_PACE,
        shared: bool = False,
    ) -> None:
        self._telemetry = telemetry
        self._sender = sender
        self._resource = protobuf.resource(resource)
        self._spans = spans
        self._shared = shared
        self._pace = pace
        now = telemetry.now_ns()
        self._offset_ns = time.time_ns() - now if offset_ns is None else offset_ns
        self._encoder = SpanEncoder(telemetry.topology, self._offset_ns)
        self._metrics = Metrics(telemetry.topology, now)
        self._encoded: list[bytes] = []
        self._encoded_bytes = 0
        self._oldest_s = 0.0
        self._collected_s = 0.0
        self._collecting: _Collecting | None = None
        self._derived_spans = 0
        self._timer: asyncio.Handle | None = None

    @property
    def spans_ended(self) -> int:
        """Spans of sampled requests that ended so far, derived or not."""
        if not self._spans:
            return 0
        waiting = self._telemetry.records
        return self._derived_spans + sum(record[SAMPLED] for record in waiting)

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._collected_s = loop.time()
        if not self._shared:
            self._timer = loop.call_later(self._pace.idle_s, self._turn)

    async def flush(self, timeout_s: float = 5.0) -> bool:
        """Derive and send everything that has ended. False where the receiver took too long."""
        await self.hand_over()
        return await asyncio.to_thread(self._sender.drain, timeout_s)

    async def hand_over(self) -> None:
        """Derive everything that has ended, and give it to the sender."""
        while self._telemetry.records:
            self._derive()
            await asyncio.sleep(0)
        self._send_spans()
        await self._finish_metrics()
        self._begin_metrics()
        await self._finish_metrics()

    async def close(self) -> None:
        if self._shared:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await asyncio.to_thread(self._sender.close)

    def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        wait_s = self._pace.busy_s if self.step(loop.time()) else self._pace.idle_s
        if len(self._telemetry.records) >= self._pace.slice_records:
            self._timer = loop.call_soon(self._turn)
        else:
            self._timer = loop.call_later(wait_s, self._turn)

    def step(self, now_s: float) -> bool:
        """Derive a slice, and send a request or encode a metric where it is time to; whether there
        were records. ``now_s`` is the loop's time."""
        pace = self._pace
        derived = bool(self._telemetry.records)
        if derived:
            if not self._encoded_bytes:
                self._oldest_s = now_s
            self._derive()
        if self._encoded_bytes and (
            self._encoded_bytes >= pace.request_bytes
            or now_s - self._oldest_s >= pace.request_age_s
        ):
            self._send_spans()
        elif self._step_metrics():
            pass
        elif now_s - self._collected_s >= pace.metrics_s:
            self._collected_s = now_s
            self._begin_metrics()
        return derived

    def _derive(self) -> None:
        telemetry = self._telemetry
        size = self._pace.slice_records
        records = telemetry.records[:size]
        del telemetry.records[:size]
        self._metrics.take(records)
        if not self._spans:
            return
        before = len(self._encoded)
        self._encoder.encode(records, self._encoded)
        self._derived_spans += len(self._encoded) - before
        self._encoded_bytes += sum(map(len, self._encoded[before:]))

    def _send_spans(self) -> None:
        if not self._encoded_bytes:
            return
        body = protobuf.export_request(self._resource, SCOPE_FIELD, self._encoded)
        count = len(self._encoded)
        self._encoded, self._encoded_bytes = [], 0
        self._sender.send("traces", Request(body, count))

    def _begin_metrics(self) -> None:
        collected = self._metrics.collect(self._telemetry.now_ns())
        if collected is not None:
            self._collecting = _Collecting(collected, collected.metrics(), [], 0)

    async def _finish_metrics(self) -> None:
        while self._step_metrics():  # noqa: ASYNC110  # gives way, waits for nothing
            await asyncio.sleep(0)

    def _step_metrics(self) -> bool:
        """Encode one metric; after the last one, send them. False where there is nothing to do."""
        under_way = self._collecting
        if under_way is None:
            return False
        metric = next(under_way.left, None)
        if metric is not None:
            of = under_way.of
            start, end = of.start_ns + self._offset_ns, of.end_ns + self._offset_ns
            under_way.fields.append(encode_metric(metric, start, end))
            under_way.points += len(metric.points)
            return True
        self._collecting = None
        body = metrics_request(self._resource, under_way.fields)
        self._sender.send("metrics", Request(body, under_way.points))
        return True


@dataclass(slots=True)
class _Collecting:
    of: Collected
    left: Iterator[Metric]
    fields: list[bytes]
    points: int
