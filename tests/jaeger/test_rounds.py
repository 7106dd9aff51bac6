"""Runs whose traces go to a Jaeger: to the end, and when it dies on the way.

Jaeger is stood in for by the embedded collector, which takes the spans, and an API that answers
with what its spool holds. `tests/front/test_real_jaeger.py` has the real one.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from hopbench.collector.server import collecting
from hopbench.collector.spool import read_spool
from hopbench.exits import Exit
from tests.faults.harness import Bench, Site, doubt
from tests.jaeger.stand_in import Span, Store, serving

pytestmark = pytest.mark.slow

RUN = ("--variant", "baseline", "--warmup", "500ms", "--duration", "3s", "--out", "run")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    found = Site(tmp_path)
    yield found
    found.clear()


@dataclass(frozen=True)
class Kept(Span):
    """A span as it came over OTLP."""

    whole: tuple[tuple[str, object], ...] = ()

    def otlp(self) -> dict[str, object]:
        return dict(self.whole)


class Spooled(Store):
    """What a collector's spool holds."""

    def __init__(self, spool: Path) -> None:
        super().__init__()
        self._spool = spool
        self._read = 0

    def traces(self) -> dict[str, list[Span]]:
        records = list(read_spool(self._spool))
        for record in records[self._read :]:
            self.add(*_spans(record))
        self._read = len(records)
        return super().traces()


def _spans(record: bytes) -> Iterator[Span]:
    for group in ExportTraceServiceRequest.FromString(record).resource_spans:
        service = next(
            a.value.string_value for a in group.resource.attributes if a.key == "service.name"
        )
        for scope in group.scope_spans:
            for span in scope.spans:
                document = MessageToDict(span)
                document["traceId"] = span.trace_id.hex()
                document["spanId"] = span.span_id.hex()
                document["parentSpanId"] = span.parent_span_id.hex()
                whole = {
                    "resource": MessageToDict(group.resource),
                    "scopeSpans": [{"spans": [document]}],
                }
                yield Kept(
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    service,
                    span.start_time_unix_nano,
                    whole=tuple(whole.items()),
                )


class StandIn:
    """A thread with both sides of a Jaeger; :meth:`kill` ends both at once."""

    def __init__(self, directory: Path) -> None:
        self.flags: tuple[str, ...] = ()
        self._directory = directory
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._live()))

    async def _live(self) -> None:
        store = Spooled(self._directory / "traces.otlp")
        async with (
            collecting(self._directory, grpc_port=0, http_port=0) as listening,
            serving(store) as url,
        ):
            self.flags = ("--jaeger", url, "--jaeger-otlp", f"127.0.0.1:{listening.grpc_port}")
            self._ready.set()
            await self._stop.wait()

    def kill(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(20)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(20)

    def close(self) -> None:
        self.kill()
        self._loop.close()


@contextmanager
def jaeger(directory: Path) -> Iterator[StandIn]:
    found = StandIn(directory)
    found.start()
    try:
        yield found
    finally:
        found.close()


def started(site: Site, stand_in: StandIn) -> Bench:
    return site.start(
        "run",
        site.scenario(),
        *RUN,
        *stand_in.flags,
        "--json",
        "-",
        "--quiet",
        run=site.path / "run",
    )


def test_a_run_has_its_spans_from_jaeger(site: Site, tmp_path: Path) -> None:
    with jaeger(tmp_path / "jaeger") as stand_in:
        ended = started(site, stand_in).end()
    assert ended.code == Exit.DONE, ended.err
    summary = ended.document
    assert summary["trace_store"] == "jaeger"
    (trial,) = summary["trials"]
    assert trial["spans"]["lost"] == 0
    assert trial["spans"]["received"] == trial["spans"]["by_scenario"] > 0
    assert trial["requests"]["complete"] == trial["requests"]["sampled"] > 0
    assert trial["metrics"]
    assert not (site.path / "run" / "trials" / "01-baseline" / "traces.jaeger").exists()
    report = (site.path / "run" / "report.md").read_text()
    cited = [e for f in summary["variants"][0]["findings"] for e in f["evidence"]]
    assert all(f"]({e['url']})" in report for e in cited)


def test_a_jaeger_that_dies_breaks_the_round_and_what_was_measured_stays(
    site: Site, tmp_path: Path
) -> None:
    with jaeger(tmp_path / "jaeger") as stand_in:
        bench = started(site, stand_in)
        bench.wait("requests", lambda: True if bench.recorded() > 25 else None)
        stand_in.kill()
        ended = bench.end()
    assert ended.code == Exit.BROKEN
    assert "jaeger" in ended.err
    (trial,) = ended.document["trials"]
    assert trial["void"]
    assert "jaeger" in doubt(trial, "broken")
    assert trial["load"]["sent"] > 0
    assert trial["metrics"]


def test_no_jaeger_is_told_before_a_round(site: Site) -> None:
    ended = site.run("run", site.scenario(), *RUN, "--jaeger", "http://127.0.0.1:1", "--quiet")
    assert ended.code == Exit.BROKEN
    assert "jaeger: http://127.0.0.1:1 does not answer: Connection refused" in ended.err
    assert "start Jaeger there" in ended.err
    assert not (site.path / "run").exists()


def test_a_resumed_run_looks_for_its_own_traces(site: Site, tmp_path: Path) -> None:
    with jaeger(tmp_path / "jaeger") as stand_in:
        assert started(site, stand_in).end().code == Exit.DONE
        before = json.loads((site.path / "run" / "plan.json").read_bytes())
        assert before["salt"] > 0
        (site.path / "run" / "trials" / "01-baseline" / "trial.json").unlink()
        ended = site.run("run", "--resume", site.path / "run", "--json", "-", "--quiet")
    assert ended.code == Exit.DONE, ended.err
    (trial,) = ended.document["trials"]
    assert trial["spans"]["lost"] == 0
    assert json.loads((site.path / "run" / "plan.json").read_bytes())["salt"] == before["salt"]
