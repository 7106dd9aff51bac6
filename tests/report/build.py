"""A summary and a run directory of two variants, as small as a report can use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

Json = dict[str, Any]


def quantiles(p50: float | None, n: int = 400) -> Json:
    scaled = {name: None if p50 is None else p50 * by for name, by in (("p90", 1.5), ("p95", 2.0))}
    return {"n": n, "p50": p50, **scaled, "p99": None, "max": p50}


def edge(caller: str, callee: str, *, calls: float = 1.0, p50: float = 10.0, **other: Any) -> Json:
    caller_service, _, caller_operation = caller.partition(".")
    callee_service, _, operation = callee.partition(".")
    return {
        "caller": caller_service,
        "caller_operation": caller_operation,
        "caller_operations": [caller_operation],
        "callee": callee_service,
        "operation": operation,
        "protocol": "http",
        "calls": int(calls * 100),
        "calls_per_request": calls,
        "errors": 0,
        "retries": 0,
        "client_ms": quantiles(p50),
        "server_ms": quantiles(p50 * 0.7),
        "tax_ms": quantiles(p50 * 0.3),
        "queue_ms": None,
        "request_bytes": quantiles(200.0),
        "response_bytes": quantiles(2000.0),
        **other,
    }


def finding(**other: Any) -> Json:
    where = dict.fromkeys(
        ("caller", "caller_operation", "callee", "operation", "protocol", "instance")
    )
    where.update(other.pop("where", {"caller": "order", "callee": "inventory"}))
    return {
        "kind": "chatty.sequential",
        "fingerprint": "f1",
        "where": where,
        "count_per_request": quantiles(7.0),
        "cost_ms": quantiles(28.0),
        "saving_ms": [12.0, 24.0],
        "confidence": "high",
        "text": "7 calls a request, one after another.",
        "evidence": [{"trace_id": "t1", "span_ids": ["s2"]}],
        "refactor": {"op": "batch", "edge": "order->inventory.reserve", "size": 7},
        **other,
    }


def trial(variant: str, number: int, edges: list[Json], **other: Any) -> Json:
    return {
        "variant": variant,
        "round": number,
        "void": False,
        "doubts": [],
        "service_pids": {},
        "locust_pids": [],
        "load": {
            "model": "open",
            "rate_rps": 20.0,
            "offered_rps": 20.0,
            "achieved_rps": 20.0,
            "sent": 160,
            "ok": 160,
            "failed": 0,
            "dropped": 0,
            "lag_ms": quantiles(0.1),
        },
        "latency_ms": {},
        "spans": {"expected": 4, "received": 4, "lost": 0, "by_scenario": 4},
        "requests": {"sampled": 80, "complete": 80},
        "entries": [
            {
                "entry": "gateway.buy",
                "protocol": "http",
                "sent": 160,
                "sampled": 80,
                "response_ms": quantiles(10.0),
            }
        ],
        "edges": edges,
        "critical_path": [
            {
                "root": "order.create",
                "service": "order",
                "operation": "create",
                "share": 0.4,
                "self_ms": quantiles(4.0),
            }
        ],
        "metrics": [],
        **other,
    }


def variant(name: str, p50: float | None, findings: list[Json], **other: Any) -> Json:
    return {
        "name": name,
        "refactors": [],
        "rounds": 1,
        "void_rounds": 0,
        "response_p50_ms": p50,
        "response_p95_ms": p50,
        "response_p99_ms": None,
        "entries": [
            {
                "entry": "gateway.buy",
                "sent": 160,
                "response_p50_ms": p50,
                "response_p95_ms": p50,
                "response_p99_ms": None,
            }
        ],
        "calls_per_request": 7.0,
        "direct_tax_ms": None,
        "findings": findings,
        "minor": [],
        "expectations": [],
        **other,
    }


def summary(trials: list[Json], variants: list[Json], **other: Any) -> Json:
    return {
        "schema": "hopbench.summary/1",
        "scenario": "shop",
        "scenario_sha256": "0" * 64,
        "seed": 7,
        "engine": "local",
        "clock": "wall",
        "broker": None,
        "trace_store": "embedded",
        "instrumentation": "lean",
        "headline": "unsampled",
        "run_dir": "runs/shop",
        "environment": {"cpu": {"cores": 2}},
        "trials": trials,
        "variants": variants,
        **other,
    }


def shop() -> Json:
    edges = [
        edge("gateway.buy", "order.create", p50=60.0),
        edge("order.create", "inventory.reserve", calls=7.0, p50=4.0),
    ]
    return summary(
        [trial("baseline", 0, edges), trial("batched", 1, edges[:1])],
        [
            variant("baseline", 60.0, [finding()]),
            variant("batched", 30.0, [], refactors=[finding()["refactor"]]),
        ],
    )


def run_directory(at: Path, said: str = "reserve") -> Path:
    """Samples and one trace for each variant of :func:`shop`; its spans say ``said``."""
    for i, name in enumerate(("baseline", "batched")):
        directory = at / "trials" / f"{i:02d}-{name}"
        directory.mkdir(parents=True)
        due = [k * 10_000_000 for k in range(200)]
        pl.DataFrame(
            {
                "intended_ns": due,
                "done_ns": [at_ns + (i + 1) * 1_000_000 + at_ns // 2000 for at_ns in due],
                "status": ["ok"] * 200,
                "sampled": [False] * 200,
                "phase": ["measured"] * 200,
            }
        ).write_parquet(directory / "samples.parquet")
        pl.DataFrame(
            {
                "trace": ["t1"] * 3,
                "span": ["s1", "s2", "s3"],
                "parent": ["absent", "s1", "s2"],
                "start": [0, 1_000_000, 2_000_000],
                "end": [9_000_000, 5_000_000, 4_000_000],
                "kind": ["server", "client", said],
                "service": ["order", "order", "inventory"],
                "operation": ["create", "reserve", said],
                "status": ["ok", "ok", "error"],
            }
        ).write_parquet(directory / "spans.parquet")
    return at
