"""A summary and a run directory of two variants, as small as a report can use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from analysis.arrays.quantiles import Quantiles
from analysis.findings.finding import Evidence, Finding, Where
from analysis.report.html import html
from analysis.report.markdown import markdown
from analysis.report.terminal import terminal
from analysis.rows.edges import EdgeRow
from analysis.rows.paths import PathRow
from analysis.spans.table import Kind
from hopbench.results.latency import EntryRow, Latency, LoadRow
from hopbench.results.round import Account, Raised, Requests, Spans
from hopbench.results.summary import Asked, Summary
from hopbench.results.variant import EntryMedians, Expected, VariantRow
from hopbench.results.view import view
from hopbench.runs.directory import RunDir
from hopbench.runs.limits import Limits
from services.doubts import Code
from tests.analysis.build import Traces, written


def page(of: Summary) -> str:
    """The report for a browser."""
    return html(view(of))


def printed(summary: Summary, width: int = 120) -> str:
    console = Console(width=width, record=True, file=StringIO())
    console.print(terminal(view(summary)))
    return console.export_text()


def marked_down(of: Summary) -> str:
    return markdown(view(of))


def quantiles(p50: float | None, n: int = 400) -> Quantiles:
    p90, p95 = (None if p50 is None else p50 * by for by in (1.5, 2.0))
    return Quantiles(n=n, p50=p50, p90=p90, p95=p95, p99=None, max=p50)


def edge(
    caller: str, callee: str, *, calls: float = 1.0, p50: float = 10.0, **other: Any
) -> EdgeRow:
    caller_service, _, caller_operation = caller.partition(".")
    callee_service, _, operation = callee.partition(".")
    row = EdgeRow(
        caller=caller_service,
        caller_operation=caller_operation,
        caller_operations=(caller_operation,),
        callee=callee_service,
        operation=operation,
        protocol="http",
        calls=int(calls * 100),
        calls_per_request=calls,
        errors=0,
        retries=0,
        hedges=0,
        client_ms=quantiles(p50),
        server_ms=quantiles(p50 * 0.7),
        tax_ms=quantiles(p50 * 0.3),
        queue_ms=None,
        request_bytes=quantiles(200.0),
        response_bytes=quantiles(2000.0),
        replicas=(),
    )
    return replace(row, **other)


def path(root: str, name: str, share: float = 0.4) -> PathRow:
    service, _, operation = name.partition(".")
    return PathRow(root, service, operation, share, 0.0, quantiles(4.0))


def finding(**other: Any) -> Finding:
    whole = Finding(
        kind="chatty.sequential",
        fingerprint="f1",
        where=Where(caller="order", callee="inventory"),
        count_per_request=quantiles(7.0),
        cost_ms=quantiles(28.0),
        saving_ms=(12.0, 24.0),
        confidence="high",
        completeness=1.0,
        text="7 calls a request, one after another.",
        evidence=(Evidence("t1", ("s2",)),),
        refactor={"op": "batch", "edge": "order->inventory.reserve", "size": 7},
    )
    return replace(whole, **other)


def trial(variant: str, number: int, edges: Sequence[EdgeRow], **other: Any) -> Account:
    whole = Account(
        variant=variant,
        round=number,
        pair=number,
        traced=True,
        repeats=0,
        void=False,
        doubts=(),
        service_pids={},
        locust_pids=(),
        start_s=None,
        memory_mb=None,
        load=LoadRow(
            model="open",
            arrivals="poisson",
            rate_rps=20.0,
            offered_rps=20.0,
            achieved_rps=20.0,
            sent=160,
            ok=160,
            failed=0,
            dropped=0,
            lag_ms=quantiles(0.1),
        ),
        latency_ms=Latency(*[quantiles(10.0)] * 5),
        spans=Spans(expected=4, received=4, lost=0, by_scenario=4),
        requests=Requests(sampled=80, complete=80),
        entries=(EntryRow("gateway.buy", "http", 160, 80, quantiles(10.0)),),
        edges=tuple(edges),
        critical_path=(path("order.create", "order.create"),),
        services=(),
        metrics=(),
        timeline=(),
    )
    return replace(whole, **other)


def variant(
    name: str, p50: float | None, findings: Sequence[Finding] = (), **other: Any
) -> VariantRow:
    whole = VariantRow(
        name=name,
        description="",
        refactors=(),
        rounds=1,
        void_rounds=0,
        response_p50_ms=p50,
        response_p95_ms=p50,
        response_p99_ms=None,
        response_p99_pooled_ms=None,
        entries=(EntryMedians("gateway.buy", "http", 160, p50, p50, None, None),),
        calls_per_request=7.0,
        direct_tax_ms=None,
        complete_traces=80,
        findings=tuple(findings),
        minor=(),
        expectations=(),
        unexpected=(),
    )
    return replace(whole, **other)


def summary(trials: Sequence[Account], variants: Sequence[VariantRow], **other: Any) -> Summary:
    whole = Summary(
        scenario="shop",
        scenario_sha256="0" * 64,
        description="",
        seed=7,
        engine="local",
        processes=None,
        clock="wall",
        broker=None,
        trace_store="embedded",
        instrumentation="lean",
        tracing=True,
        trace_ratio=0.5,
        headline="unsampled",
        load=Asked("open", "poisson", 20.0, "20/s poisson", 5.0, 10.0),
        began="2026-03-01T14:05:09+00:00",
        run_dir="runs/shop",
        limits=Limits(),
        environment={"host": "bench", "cores": 2, "cpu_model": None, "code": "0.1.0"},
        doubts=(),
        trials=tuple(trials),
        variants=tuple(variants),
    )
    return replace(whole, **other)


def shop(**baseline: Any) -> Summary:
    """``baseline``: what is other about its row."""
    edges = [
        edge("gateway.buy", "order.create", p50=60.0),
        edge("order.create", "inventory.reserve", calls=7.0, p50=4.0),
    ]
    found = finding()
    return summary(
        [trial("baseline", 1, edges), trial("batched", 2, edges[:1])],
        [
            variant("baseline", 60.0, **{"findings": (found,), **baseline}),
            variant("batched", 30.0, refactors=(found.refactor,)),
        ],
    )


def measured(of: Summary, at: Path, said: str = "reserve") -> Summary:
    """``of`` with a run directory of samples and one trace a trial, whose spans say ``said``."""
    traces = Traces()
    root = traces.span("t1", "absent", "order", "create", 0, 9, Kind.SERVER, id="s1")
    call = traces.span("t1", root, "order", "reserve", 1, 5, Kind.CLIENT, id="s2")
    traces.span("t1", call, "inventory", said, 2, 4, Kind.SERVER, id="s3", error=True)
    for each in of.trials:
        place = RunDir(at).trial(each.round, each.variant)
        place.path.mkdir(parents=True)
        due = [k * 10_000_000 for k in range(200)]
        pl.DataFrame(
            {
                "intended_ns": due,
                "done_ns": [ns + each.round * 1_000_000 + ns // 2000 for ns in due],
                "status": ["ok"] * 200,
                "sampled": [False] * 200,
                "phase": ["measured"] * 200,
            }
        ).write_parquet(place.samples)
        written(traces.table(), place.spans)
    return replace(of, run_dir=str(at))


NASTY = """x"><img src=x onerror="ran = 1"> `<!--<script></script><b>"""


def hostile() -> Summary:
    """Its traces say :data:`NASTY` wherever they can."""
    one = trial(
        "baseline",
        0,
        [
            edge("gateway.buy", f"{NASTY}.{NASTY}", protocol=NASTY),
            edge(f"{NASTY}.{NASTY}", f"{NASTY}.{NASTY}", protocol=NASTY),
        ],
        doubts=(Raised(Code.STEAL, NASTY, voids=True),),
        critical_path=(path(NASTY, f"{NASTY}.{NASTY}"),),
    )
    said = finding(
        text=NASTY,
        where=Where(NASTY, NASTY, NASTY, NASTY),
        refactor={"op": "batch", "edge": NASTY},
    )
    row = variant("baseline", 1.0, [said], minor=(said,), unexpected=(said,))
    expected = Expected("chain", {"caller": NASTY}, met=False)
    return summary([one], [replace(row, expectations=(expected,))], scenario=NASTY)
