"""The account of one round: the entry of ``trials[]`` in a summary, and its doubts.

Here the four witnesses of a round are held against each other: what the generator recorded, what
the services counted, what the collector received, and what the scenario implies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from analysis.analyse import Analysis, analyse
from analysis.findings.settings import Settings as AnalysisSettings
from hopbench.engines.port import BrokerKind, Instrumentation, Settings
from hopbench.results import checks, latency
from hopbench.results.checks import Observed, Sent
from hopbench.results.latency import Counts, Headline, Latency
from hopbench.runs import metrics
from hopbench.runs.environment import Environment
from hopbench.runs.limits import Limits
from hopbench.runs.trial import Trial
from loadgen.samples import NOT_REACHED
from loadgen.schedule import MEASURED
from services.doubts import Doubt, void
from services.report import ProcessReport
from services.scenario.facts import facts_of
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

    clock: Literal["wall", "virtual"]
    broker: BrokerKind | None
    limits: Limits
    environment: Environment | None
    """Of the first round; None where none was begun."""


@dataclass(frozen=True, slots=True)
class Account:
    """What one round says by itself."""

    round: int
    variant: str
    doubts: tuple[Doubt, ...]
    latency: Latency
    headline: Headline
    counts: Counts
    complete: int
    calls_per_request: float | None
    document: dict[str, Any]

    @property
    def void(self) -> bool:
        return void(self.doubts)


def account(trial: Trial, world: World) -> Account:
    settings = trial.settings
    kind = latency.headline(settings.tracing, settings.trace_ratio)
    times = latency.latency(trial.samples)
    count = latency.counts(trial.samples)
    scheduled = int((trial.schedule.phase == MEASURED).sum())
    load = latency.load_document(trial.plan.scenario.load, scheduled, count, times.lag)
    found = analyse(
        trial.measured_spans(), facts_of(trial.plan.scenario), AnalysisSettings(), "run"
    )
    spans = _spans(trial)
    head = times.headline(kind).document()
    observed = replace(
        _observed(trial, world, found, spans),
        lag_p99_ms=times.lag_p99_ms,
        service_p50_ms=times.service.p50,
        offered_rps=load["offered_rps"],
        achieved_rps=load["achieved_rps"],
        failed=count.failed,
        unidentifiable=(
            *(f"response_p{p}_ms" for p in HEADLINE_PERCENTS if head[f"p{p}"] is None),
            *(["direct_tax_ms"] if _tax_unknown(settings, times) else []),
        ),
    )
    doubts = checks.judge(observed, world.limits)
    evidence = trial.evidence
    document = {
        "variant": trial.turn.variant,
        "round": trial.turn.round,
        "pair": trial.turn.pair,
        "void": void(doubts),
        "doubts": [{**doubt.document(), "voids": doubt.voids} for doubt in doubts],
        "service_pids": _lists(evidence.service_pids) if evidence is not None else {},
        "locust_pids": list(evidence.locust_pids) if evidence is not None else [],
        "start_s": evidence.host.start_s if evidence is not None else None,
        "memory_mb": evidence.host.memory_mb if evidence is not None else None,
        "load": load,
        "latency_ms": times.document(),
        "spans": {
            "expected": spans.expected,
            "received": spans.received,
            "lost": spans.lost,
            "by_scenario": spans.by_scenario,
        },
        "requests": {"sampled": trial.asked.height, "complete": found.complete},
        "entries": latency.entries(trial.samples, kind),
        "edges": list(found.edges),
        "critical_path": list(found.critical_path),
        "metrics": metrics.totals(trial.points),
    }
    return Account(
        round=trial.turn.round,
        variant=trial.turn.variant,
        doubts=doubts,
        latency=times,
        headline=kind,
        counts=count,
        complete=found.complete,
        calls_per_request=_calls_per_request(found),
        document=document,
    )


def _tax_unknown(settings: Settings, times: Latency) -> bool:
    """Although there were requests of both kinds; where there were not, a check says so."""
    both = settings.tracing and 0.0 < settings.trace_ratio < 1.0
    return both and times.direct_tax_ms is None


def _lists(pids: Mapping[str, tuple[int, ...]]) -> dict[str, list[int]]:
    return {service: list(of) for service, of in pids.items()}


@dataclass(frozen=True, slots=True)
class Spans:
    expected: int | None
    """Spans of sampled requests that ended, as the service processes report."""
    received: int
    by_scenario: int | None
    refused: str | None
    """Why ``by_scenario`` is None."""

    @property
    def lost(self) -> int | None:
        return None if self.expected is None else max(0, self.expected - self.received)


def _spans(trial: Trial) -> Spans:
    evidence = trial.evidence
    if evidence is None:
        return Spans(None, len(trial.spans), None, None)
    sent = trial.samples.filter(pl.col("sampled") & pl.col("sent_ns").is_not_null())
    by_scenario, refused = _replayed(trial, sent)
    return Spans(
        expected=sum(process.spans_ended for process in evidence.processes),
        received=evidence.spans_received,
        by_scenario=by_scenario,
        refused=refused,
    )


def _replayed(trial: Trial, sent: pl.DataFrame) -> tuple[int | None, str | None]:
    """Spans that the scenario implies for the sampled requests of the round, or why not."""
    evidence = trial.evidence
    if evidence is None or not trial.settings.tracing:
        return None, None
    unforeseen = unforeseen_spans(evidence.processes, trial.settings.instrumentation)
    if unforeseen is not None:
        return None, f"{unforeseen}, so the number of spans cannot be replayed"
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


def _calls_per_request(found: Analysis) -> float | None:
    if not found.requests:
        return None
    calls: int = sum(edge["calls"] for edge in found.edges)
    return calls / found.requests


def _observed(trial: Trial, world: World, found: Analysis, spans: Spans) -> Observed:
    """Everything but the generator's own figures."""
    scenario = trial.plan.scenario
    return Observed(
        clock=world.clock,
        broker=world.broker,
        settings=trial.settings,
        load=scenario.load,
        evidence=trial.evidence,
        scheduled=trial.schedule,
        sent=_sent(trial.samples),
        lag_p99_ms=None,
        service_p50_ms=None,
        offered_rps=None,
        achieved_rps=None,
        failed=0,
        failures_planned=_may_fail(scenario),
        paused=_paused(scenario),
        spans_expected=spans.expected,
        spans_received=spans.received,
        spans_by_scenario=spans.by_scenario,
        replay_refused=spans.refused,
        answered=_answered(trial.samples),
        counted=_counted(trial),
        requests_sampled=trial.asked.height,
        requests_complete=found.complete,
        kafka_used="kafka" in _protocols(scenario),
        unidentifiable=(),
        changes=()
        if trial.environment is None or world.environment is None
        else trial.environment.changes(world.environment),
    )


def _sent(samples: pl.DataFrame) -> Sent:
    def column(name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
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
