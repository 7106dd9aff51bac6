"""The account of one round, which is its entry in ``trials[]`` of a summary.

Here the four witnesses of a round are held against each other: what the generator recorded, what
the services counted, what the collector received, and what the scenario implies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from analysis.arrays import I64
from analysis.findings.observed import Observed
from analysis.report.overtime import Second
from analysis.rows.edges import EdgeRow, edge_rows
from analysis.rows.paths import PathRow, path_rows
from analysis.rows.services import ServiceRow, service_rows
from hopbench.engines.port import BrokerKind, ClockName, Instrumentation, Settings
from hopbench.results import checks, latency
from hopbench.results.checks import observed
from hopbench.results.checks.observed import Sent, Untold
from hopbench.results.latency import EntryRow, Headline, Latency, LoadRow
from hopbench.results.timeline import timeline
from hopbench.runs import metrics
from hopbench.runs.environment import Environment
from hopbench.runs.limits import Limits
from hopbench.runs.metrics import Total
from hopbench.runs.trial import Trial
from loadgen.samples import NOT_REACHED
from loadgen.schedule import MEASURED
from services.doubts import Code, void
from services.report import ProcessReport
from services.scenario.file.validation import BUSY, overloads
from services.scenario.model import Edge, Scenario
from services.scenario.steps.calls import Talk
from services.scenario.tree import operations, walk
from services.simulation.replay import expected_spans
from services.simulation.round import Arrival

HEADLINE_PERCENTS: Final = (50, 95, 99)
"""Those that a variant is summed up by."""


@dataclass(frozen=True, slots=True)
class World:
    """What all rounds of a run have in common."""

    clock: ClockName
    broker: BrokerKind | None
    limits: Limits
    environment: Environment | None
    """Of the first round; None where none was begun."""


@dataclass(frozen=True, slots=True)
class Raised:
    """A doubt about a round, and whether it voids it."""

    code: Code
    text: str
    voids: bool


@dataclass(frozen=True, slots=True)
class Spans:
    expected: int | None
    """Spans of sampled requests that ended, as the service processes report."""
    received: int
    lost: int | None
    by_scenario: int | None


@dataclass(frozen=True, slots=True)
class Requests:
    """Of the measured phase."""

    sampled: int
    complete: int
    """Of these, those with a complete trace."""


@dataclass(frozen=True, slots=True)
class Account:
    """What one round says by itself."""

    variant: str
    round: int
    pair: int
    traced: bool
    """False of a round that a comparison had without any tracing."""
    repeats: int
    """How often it was measured before, and was void or broke off."""
    void: bool
    doubts: tuple[Raised, ...]
    service_pids: Mapping[str, tuple[int, ...]]
    locust_pids: tuple[int, ...]
    start_s: float | None
    memory_mb: float | None
    load: LoadRow
    latency_ms: Latency
    spans: Spans
    requests: Requests
    entries: tuple[EntryRow, ...]
    edges: tuple[EdgeRow, ...]
    critical_path: tuple[PathRow, ...]
    services: tuple[ServiceRow, ...]
    metrics: tuple[Total, ...]
    timeline: tuple[Second, ...]
    """Empty of a round that did not end."""

    @property
    def calls_per_request(self) -> float | None:
        """None where no trace is complete."""
        if not self.requests.complete:
            return None
        return sum(edge.calls for edge in self.edges) / self.requests.complete


def usable(accounts: Sequence[Account]) -> tuple[Account, ...]:
    """Those that a variant's figures come from: valid rounds, or where there is none, all."""
    return tuple(a for a in accounts if not a.void) or tuple(accounts)


def account(trial: Trial, world: World, seen: Observed) -> Account:
    """``seen``: in the measured spans of the trial."""
    settings, samples, evidence = trial.settings, trial.samples, trial.evidence
    scenario = trial.plan.scenario
    kind = latency.headline(settings.tracing, settings.trace_ratio)
    times = latency.latency(samples)
    load = latency.load_row(scenario.load, int((trial.schedule.phase == MEASURED).sum()), samples)
    by_scenario, refused = _replayed(trial)
    spans = _spans(trial, by_scenario)
    requests = Requests(trial.asked.height, int(seen.complete.sum()))
    doubts = checks.judge(
        observed.Observed(
            clock=world.clock,
            broker=world.broker,
            settings=settings,
            load=scenario.load,
            evidence=evidence,
            scheduled=trial.schedule,
            sent=_sent(samples),
            lag_p99_ms=latency.lag_p99_ms(samples),
            service_p50_ms=times.service.p50,
            offered_rps=load.offered_rps,
            achieved_rps=load.achieved_rps,
            failed=load.failed,
            failures_planned=_may_fail(scenario),
            overloads=(over := overloads(scenario)),
            strained=tuple(s for s in overloads(scenario, BUSY) if s not in over),
            paused=_paused(scenario),
            spans_expected=spans.expected,
            spans_received=spans.received,
            spans_by_scenario=spans.by_scenario,
            replay_refused=refused,
            answered=_answered(samples),
            counted=_counted(trial),
            requests_sampled=requests.sampled,
            requests_complete=requests.complete,
            kafka_used="kafka" in _protocols(scenario),
            untold=_untold(settings, times, kind),
            changes=()
            if trial.environment is None or world.environment is None
            else trial.environment.changes(world.environment),
        ),
        world.limits,
    )
    return Account(
        variant=trial.turn.variant,
        round=trial.turn.round,
        pair=trial.turn.pair,
        traced=trial.turn.traced,
        repeats=trial.repeats,
        void=void(doubts),
        doubts=tuple(Raised(d.code, d.text, d.voids) for d in doubts),
        service_pids={} if evidence is None else evidence.service_pids,
        locust_pids=() if evidence is None else evidence.locust_pids,
        start_s=None if evidence is None else evidence.host.start_s,
        memory_mb=None if evidence is None else evidence.host.memory_mb,
        load=load,
        latency_ms=times,
        spans=spans,
        requests=requests,
        entries=latency.entry_rows(samples, kind),
        edges=edge_rows(seen),
        critical_path=path_rows(seen),
        services=service_rows(seen),
        metrics=metrics.totals(trial.points),
        timeline=()
        if evidence is None
        else timeline(
            samples,
            evidence.measured_from_ns,
            {str(entry.target): entry.timeout_ns for entry in scenario.load.entries},
            seen.flows,
        ),
    )


def _untold(settings: Settings, times: Latency, kind: Headline) -> tuple[Untold, ...]:
    """Figures of a variant that this round cannot tell; where there is no control, a check says
    so."""
    head = times.headline(kind)
    unknown = [
        Untold(f"response_p{p}_ms", p, head)
        for p in HEADLINE_PERCENTS
        if getattr(head, f"p{p}") is None
    ]
    both = settings.tracing and 0.0 < settings.trace_ratio < 1.0
    if both and times.direct_tax_ms is None:
        both_kinds = (times.sampled, times.unsampled)
        rarer = min((of for of in both_kinds if of.p50 is None), key=lambda of: of.n)
        unknown.append(Untold("direct_tax_ms", 50, rarer))
    return tuple(unknown)


def _spans(trial: Trial, by_scenario: int | None) -> Spans:
    if trial.evidence is None:
        return Spans(expected=None, received=len(trial.spans), lost=None, by_scenario=None)
    expected = sum(process.spans_ended for process in trial.evidence.processes)
    received = trial.evidence.spans_received
    return Spans(expected, received, max(0, expected - received), by_scenario)


def _replayed(trial: Trial) -> tuple[int | None, str | None]:
    """Spans that the scenario implies for the sampled requests of the round, or why not."""
    evidence = trial.evidence
    if evidence is None or not trial.settings.tracing:
        return None, None
    unforeseen = unforeseen_spans(evidence.processes, trial.settings.instrumentation)
    if unforeseen is not None:
        return None, f"{unforeseen}, so the number of spans cannot be replayed"
    sent = trial.samples.filter(pl.col("sampled") & pl.col("sent_ns").is_not_null())
    if sent.filter(pl.col("status") == "timeout").height:
        return None, "requests timed out, so the number of spans cannot be replayed"
    places = {str(e.target): i for i, e in enumerate(trial.plan.scenario.load.entries)}
    numbers = sent.select("seq", "intended_ns", "entry", "trace_id").iter_rows()
    due = [
        Arrival(seq, intended - evidence.start_ns, places[entry], True, int(trace_id, 16))
        for seq, intended, entry, trace_id in numbers
    ]
    expected = expected_spans(
        trial.plan.scenario,
        trial.plan.seed,
        due,
        trial.settings.instrumentation,
        measured_from_ns=evidence.measured_from_ns - evidence.start_ns,
    )
    return expected.spans, expected.reason or None


def unforeseen_spans(
    processes: Sequence[ProcessReport], instrumentation: Instrumentation
) -> str | None:
    """What happened in a round that makes spans of which the scenario knows nothing."""
    for what in ("timeouts", "retries"):
        fired = sum(getattr(process, what) for process in processes)
        if fired:
            return f"{fired} {what} fired"
    twice = sum(sum(process.messages.redelivered.values()) for process in processes)
    # Ours opens a span where a message is handled, the library's where it comes.
    if twice and instrumentation == "official":
        return f"{twice} messages came twice"
    return None


def _sent(samples: pl.DataFrame) -> Sent:
    def column(name: str) -> I64:
        return samples[name].fill_null(NOT_REACHED).to_numpy()

    return Sent(
        seq=column("seq"),
        intended_ns=column("intended_ns"),
        sent_ns=column("sent_ns"),
        done_ns=column("done_ns"),
        measured=(samples["phase"] == "measured").to_numpy(),
        dropped=(samples["status"] == "dropped").to_numpy(),
        sampled=samples["sampled"].to_numpy(),
        worker=column("worker"),
    )


def edges(scenario: Scenario) -> list[Edge]:
    """Every edge that a call or publish step of the scenario uses, in file order."""
    return [
        step.edge
        for _, operation in operations(scenario)
        for step in walk(operation.steps)
        if isinstance(step, Talk)
    ]


def _protocols(scenario: Scenario) -> set[str]:
    return {e.protocol for e in edges(scenario)} | {e.protocol for e in scenario.load.entries}


def _paused(scenario: Scenario) -> frozenset[str]:
    scopes = [fault.scope.service for fault in scenario.faults if fault.kind == "pause"]
    return frozenset(scenario.services if None in scopes else filter(None, scopes))


def _may_fail(scenario: Scenario) -> bool:
    return bool(scenario.faults) or any(
        step.fails for _, operation in operations(scenario) for step in walk(operation.steps)
    )


def _answered(samples: pl.DataFrame) -> tuple[int, int]:
    sent = samples.filter(pl.col("sent_ns").is_not_null())
    surely = sent.filter((pl.col("status") != "timeout") & pl.col("code").is_not_null())
    return surely.height, sent.height


def _counted(trial: Trial) -> int | None:
    """None where the entry operations also serve calls from inside, which count alike."""
    entries = trial.plan.scenario.load.entries
    inside = {(edge.target, edge.protocol) for edge in edges(trial.plan.scenario)}
    if any((entry.target, entry.protocol) in inside for entry in entries):
        return None
    return metrics.handled_at(trial.points, entries)
