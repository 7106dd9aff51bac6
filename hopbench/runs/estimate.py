"""What a run will cost, whatever it runs on: requests, spans, disk, minutes, the bench's memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean
from typing import Final

from hopbench.engines import is_virtual
from hopbench.runs.design import GAP_NS, SLICE_NS
from hopbench.runs.plan import RunPlan
from loadgen.schedule import arrivals
from services.scenario.capacity import worst_calls
from services.scenario.chance import round_seed
from services.scenario.model import Load, Scenario
from services.scenario.pace import Closed, Open, Replay
from services.simulation.replay import SpanCount, expected_spans
from services.simulation.round import Arrival, simulate

PROBE: Final = 40
"""Requests of each variant that are simulated, at most, to learn how many spans one makes."""
PROBED_CALLS: Final = 20_000
"""Fewer requests are simulated where these make more calls."""
BENCH_MB: Final = 300
SPAN_BYTES: Final = 350
"""In memory while they are analysed; on disk a spool and then Parquet hold about as much."""
SAMPLE_BYTES: Final = 200
ARRIVAL_BYTES: Final = 360
"""Of a schedule while it is made; one of a closed load has more than will be sent."""
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
    bench_mb: float
    """Memory of the bench itself, which holds all rounds of one variant to analyse them."""
    disk_mb: float
    minutes: float

    @property
    def stored_spans(self) -> int:
        """To make room for, also where nobody knows how many there will be."""
        return self.traces * 100 if self.spans is None else self.spans


def estimate(plan: RunPlan, rounds: int) -> Estimate:
    """Of so many rounds of the plan."""
    seconds = plan.scenario.load.length_ns / 1e9
    each = fmean(map(_requests, plan.scenarios.values()))
    ratio = plan.settings.trace_ratio if plan.settings.tracing else 0.0
    per_request = [_spans_per_request(plan, scenario) for scenario in plan.scenarios.values()]
    known = [spans for spans in per_request if spans is not None]
    mean = sum(known) / len(known) if known else 0.0
    spans = each * ratio * mean * rounds
    virtual = is_virtual(plan.settings)
    per_round = each * (mean or 1) / 2 / VIRTUAL_CALLS_PER_S if virtual else seconds + START_S
    if not virtual and plan.at_once > 1:
        # They start at once, and take turns.
        per_round = seconds * (1 + GAP_NS / SLICE_NS) + START_S / plan.at_once
    load = plan.scenario.load
    ready = load.requests
    held = spans / len(plan.scenarios) * SPAN_BYTES + each * rounds * SAMPLE_BYTES
    return Estimate(
        requests=round(each * rounds),
        traces=round(each * ratio * rounds),
        spans=round(spans) if len(known) == len(per_request) else None,
        bench_mb=BENCH_MB + (held + ready * ARRIVAL_BYTES) / 1e6,
        disk_mb=round((spans * SPAN_BYTES / 4 + each * rounds * SAMPLE_BYTES / 2) / 1e6, 1),
        minutes=round(
            (per_round * rounds + (0 if virtual else BROKER_S) + 2 * spans / READ_SPANS_PER_S) / 60,
            2,
        ),
    )


def _requests(scenario: Scenario) -> float:
    """Of one round. Of a closed load as many as its users would send if no request waited for
    another (the interactive response time law: Lazowska et al., Quantitative System Performance,
    1984)."""
    load = scenario.load
    most = load.requests
    if not isinstance(load.pace, Closed):
        return most
    seed = round_seed(scenario.seed, 0)
    result = simulate(
        scenario,
        seed,
        _probe(scenario, seed),
        0,
        lambda service, replica, numbered, clock: SpanCount(),
    )
    took = [
        o.done_ns - o.sent_ns
        for o in result.outcomes
        if o.done_ns is not None and o.sent_ns is not None
    ]
    turn_ns = load.pace.think.mean() + (fmean(took) if took else 0.0)
    return min(most, load.pace.users * load.length_ns / turn_ns) if turn_ns else most


def _spans_per_request(plan: RunPlan, scenario: Scenario) -> float | None:
    """Simulated: a sampled request's spans, on average."""
    seed = round_seed(plan.scenario.seed, 0)
    due = _probe(scenario, seed)
    if not due:
        return 0.0
    expected = expected_spans(scenario, seed, due, plan.settings.instrumentation)
    return None if expected.spans is None else expected.spans / len(due)


def _probe(scenario: Scenario, seed: int) -> list[Arrival]:
    """The first requests."""
    probe = max(1, min(PROBE, PROBED_CALLS // max(1, int(worst_calls(scenario)))))
    schedule = arrivals(_shortened(scenario.load), seed, trace_ratio=1.0)
    return [
        Arrival(int(n), int(at), int(entry), True, 1)
        for n, at, entry in zip(
            schedule.number[:probe], schedule.offset_ns[:probe], schedule.entry[:probe], strict=True
        )
    ]


def _shortened(load: Load) -> Load:
    """The load, no longer than the probe needs; without a rate, one request a second."""
    match load.pace:
        case Replay():
            return load
        case Open(_, rate, ()):
            needed = min(load.length_ns, int(2 * PROBE / rate * 1e9))
            return replace(load, warmup_ns=0, duration_ns=needed)
        case _:
            slow = Open("uniform", 1.0)
            return replace(load, pace=slow, warmup_ns=0, duration_ns=2 * PROBE * 10**9)
