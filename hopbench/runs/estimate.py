"""What a run will cost, before it starts: requests, spans, memory, disk, minutes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from hopbench.runs.plan import RunPlan
from loadgen.schedule import arrivals
from services.scenario.capacity import worst_calls
from services.scenario.chance import round_seed
from services.scenario.model import Load, Scenario
from services.scenario.packing import packs
from services.simulation.replay import expected_spans
from services.simulation.round import Arrival
from services.wire.topology import topology, uses_kafka

PROBE: Final = 40
"""Requests of each variant that are simulated, at most, to learn how many spans one makes."""
PROBED_CALLS: Final = 20_000
"""Fewer requests are simulated where these make more calls."""
PROCESS_MB: Final = 80
PACKED_MB: Final = 0.35
"""Of each service that shares a process with others, beside :data:`PROCESS_MB` of that one."""
BENCH_MB: Final = 300
SPAN_BYTES: Final = 350
"""In memory while they are analysed; on disk a spool and then Parquet hold about as much."""
SAMPLE_BYTES: Final = 200
START_S: Final = 4.0
"""Service processes come up, connect, and stop after the round."""
BROKER_S: Final = 4.0
READ_SPANS_PER_S: Final = 60_000
VIRTUAL_CALLS_PER_S: Final = 15_000


@dataclass(frozen=True, slots=True)
class Estimate:
    requests: int
    traces: int
    """Requests that are sampled."""
    spans: int | None
    """None where how many there are hangs on time (retries, hedges…)."""
    processes: int
    """At once, beside the bench itself."""
    memory_mb: float
    disk_mb: float
    minutes: float

    def document(self) -> dict[str, Any]:
        return asdict(self)


def estimate(plan: RunPlan, rounds: int | None = None) -> Estimate:
    """Of the whole plan, or of so many of its rounds (a resumed run)."""
    load = plan.scenario.load
    total = plan.rounds * len(plan.scenarios)
    rounds = total if rounds is None else rounds
    seconds = (load.warmup_ns + load.duration_ns) / 1e9
    each = load.rate_rps * seconds
    ratio = plan.settings.trace_ratio if plan.settings.tracing else 0.0
    per_request = [_spans_per_request(plan, scenario) for scenario in plan.scenarios.values()]
    known = [spans for spans in per_request if spans is not None]
    mean = sum(known) / len(known) if known else 0.0
    spans = each * ratio * mean * rounds
    local = plan.settings.engine == "local"
    workers = plan.settings.workers
    packs_of = [packs(scenario) for scenario in plan.scenarios.values()]
    over_kafka = any(uses_kafka(topology(scenario)) for scenario in plan.scenarios.values())
    processes = (
        max(map(len, packs_of))
        # Node, fork server, collector and Locust, whose workers stand beside their master.
        + 4
        + (workers if workers > 1 else 0)
        + (plan.settings.broker == "embedded" and over_kafka)
        # Each generator has a process beside it for entries over Kafka.
        + (workers if any(entry.protocol == "kafka" for entry in load.entries) else 0)
        if local
        else 0
    )
    virtual = plan.settings.engine == "virtual"
    per_round = each * (mean or 1) / 2 / VIRTUAL_CALLS_PER_S if virtual else seconds + START_S
    packed = max(sum(len(pack.replicas) for pack in of if pack.shared) for of in packs_of)
    packed_mb = packed * PACKED_MB if local else 0.0
    # Analysis holds all rounds of one variant at once.
    held = spans / len(plan.scenarios) * SPAN_BYTES + each * rounds * SAMPLE_BYTES
    return Estimate(
        requests=round(each * rounds),
        traces=round(each * ratio * rounds),
        spans=round(spans) if len(known) == len(per_request) else None,
        processes=processes,
        memory_mb=round(BENCH_MB + processes * PROCESS_MB + packed_mb + held / 1e6, 1),
        disk_mb=round((spans * SPAN_BYTES / 4 + each * rounds * SAMPLE_BYTES / 2) / 1e6, 1),
        minutes=round(
            (per_round * rounds + (0 if virtual else BROKER_S) + 2 * spans / READ_SPANS_PER_S) / 60,
            2,
        ),
    )


def _spans_per_request(plan: RunPlan, scenario: Scenario) -> float | None:
    """Simulated: a sampled request's spans, on average."""
    seed = round_seed(plan.scenario.seed, 0)
    probe = max(1, min(PROBE, PROBED_CALLS // max(1, int(worst_calls(scenario)))))
    schedule = arrivals(_shortened(scenario), seed, trace_ratio=1.0)
    due = [
        Arrival(int(n), int(at), int(entry), True, 1)
        for n, at, entry in zip(
            schedule.number[:probe], schedule.offset_ns[:probe], schedule.entry[:probe], strict=True
        )
    ]
    if not due:
        return 0.0
    expected = expected_spans(scenario, seed, due, plan.settings.instrumentation)
    return None if expected.spans is None else expected.spans / len(due)


def _shortened(scenario: Scenario) -> Load:
    """The load, no longer than the probe needs."""
    load = scenario.load
    needed = int(2 * PROBE / load.rate_rps * 1e9)
    return replace(load, warmup_ns=0, duration_ns=min(needed, load.warmup_ns + load.duration_ns))
