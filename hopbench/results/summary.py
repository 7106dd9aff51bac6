"""``hopbench.summary/1``: a run, told from what lies in its directory (docs/output.md).

Variant by variant, so that the spans of one variant alone are in memory. A variant's figures are
medians over its valid rounds; where none is valid, over all of them, and a doubt says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from analysis.analyse import concluded, observe
from analysis.findings.finding import Finding
from analysis.findings.observed import Observed
from analysis.findings.settings import Settings as AnalysisSettings
from analysis.spans.table import SpanTable, concat
from hopbench import disk
from hopbench.engines import ENGINES, is_virtual
from hopbench.engines.port import BrokerKind, ClockName, Instrumentation
from hopbench.engines.wall import trace_stores
from hopbench.engines.wall.trace_stores import StoreName
from hopbench.jaeger.links import linked
from hopbench.results import latency
from hopbench.results.latency import EntryRow, Headline
from hopbench.results.round import Account, World, account, edges, usable
from hopbench.runs import evidence, trial
from hopbench.runs.directory import RunDir
from hopbench.runs.environment import Environment
from hopbench.runs.limits import Limits
from hopbench.runs.plan import RunPlan
from services.codec import plain
from services.doubts import Code, Doubt
from services.scenario.facts import facts_of
from services.scenario.model import Expectation, Scenario
from services.scenario.packing import packed
from services.scenario.refactors import BASELINE, to_mapping

Progress = Callable[[str, float], None]
"""The variant under work, and the share of the whole that is done."""


@dataclass(frozen=True, slots=True)
class EntryMedians:
    """An entry over the rounds: requests sent in all, and medians of the rounds' quantiles."""

    entry: str
    sent: int
    response_p50_ms: float | None
    response_p95_ms: float | None
    response_p99_ms: float | None


@dataclass(frozen=True, slots=True)
class Expected:
    """An expectation of the scenario; ``met`` is None where there was too little to judge it."""

    kind: str
    where: Mapping[str, str]
    met: bool | None


@dataclass(frozen=True, slots=True)
class VariantRow:
    """One variant over its rounds."""

    name: str
    description: str
    refactors: tuple[Mapping[str, Any], ...]
    """As the scenario file writes them."""
    rounds: int
    void_rounds: int
    response_p50_ms: float | None
    response_p95_ms: float | None
    response_p99_ms: float | None
    entries: tuple[EntryMedians, ...]
    calls_per_request: float | None
    direct_tax_ms: float | None
    complete_traces: int
    findings: tuple[Finding, ...]
    minor: tuple[Finding, ...]
    expectations: tuple[Expected, ...]
    unexpected: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    schema: Literal["hopbench.summary/1"] = "hopbench.summary/1"
    scenario: str
    scenario_sha256: str
    description: str
    seed: int
    engine: str
    processes: int | None
    clock: ClockName
    broker: BrokerKind | None
    trace_store: StoreName
    instrumentation: Instrumentation
    tracing: bool
    trace_ratio: float
    headline: Headline
    run_dir: str
    limits: Limits
    environment: Mapping[str, Any]
    doubts: tuple[Doubt, ...]
    trials: tuple[Account, ...]
    """In the order that they ran in."""
    variants: tuple[VariantRow, ...]

    def of(self, variant: VariantRow) -> tuple[Account, ...]:
        """Its rounds."""
        return tuple(trial for trial in self.trials if trial.variant == variant.name)


@dataclass(frozen=True, slots=True)
class VariantFindings:
    name: str
    findings: tuple[Finding, ...]
    minor: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    schema: Literal["hopbench.findings/1"] = "hopbench.findings/1"
    variants: tuple[VariantFindings, ...]


def summarise(
    plan: RunPlan, run: RunDir, progress: Progress = lambda variant, share: None
) -> Summary:
    """The summary, which is also written to the run directory, with the findings apart and the
    doubts of each round beside its evidence."""
    surroundings = evidence.read_file(Environment, run.environment)
    world = World(
        clock=ENGINES[plan.settings.engine].clock,
        broker=None if surroundings is None else surroundings.broker,
        limits=plan.limits,
        environment=surroundings,
    )
    accounts: list[Account] = []
    variants: list[VariantRow] = []
    for i, name in enumerate(plan.scenarios):
        progress(name, i / len(plan.scenarios))
        rounds, variant = _variant(plan, run, name, world)
        accounts += rounds
        variants.append(variant)
    progress("", 1.0)
    settings = plan.settings
    summary = Summary(
        scenario=plan.scenario.name,
        scenario_sha256=plan.sha256,
        description=plan.scenario.description,
        seed=plan.scenario.seed,
        engine=settings.engine,
        processes=processes(plan),
        clock=world.clock,
        broker=world.broker,
        trace_store=trace_stores.name(settings),
        instrumentation=settings.instrumentation,
        tracing=settings.tracing,
        trace_ratio=settings.trace_ratio,
        headline=latency.headline(settings.tracing, settings.trace_ratio),
        run_dir=str(run.path),
        limits=plan.limits,
        environment={} if surroundings is None else plain(surroundings),
        doubts=tuple(_doubts(plan, world, variants)),
        trials=tuple(sorted(accounts, key=lambda a: a.round)),
        variants=tuple(variants),
    )
    disk.write_json(run.summary, plain(summary))
    disk.write_json(run.findings, plain(_findings(variants)))
    return summary


def processes(plan: RunPlan) -> int | None:
    """Into how many the services are packed; None where each replica has one of its own, or none
    has any, as in virtual time."""
    if is_virtual(plan.settings) or not any(map(packed, plan.scenarios.values())):
        return None
    return plan.scenario.processes


def _variant(
    plan: RunPlan, run: RunDir, name: str, world: World
) -> tuple[tuple[Account, ...], VariantRow]:
    scenario = plan.scenarios[name]
    facts = facts_of(scenario)
    asked = AnalysisSettings(expected_kinds=tuple(sorted({e.kind for e in scenario.expectations})))
    seen: Observed | None = None
    accounts: list[Account] = []
    spans: dict[int, SpanTable] = {}
    for turn in plan.order:
        found = trial.read(run, plan, turn) if turn.variant == name else None
        if found is None:
            continue
        seen = observe(found.measured_spans(), facts, asked, "run")
        told = account(found, world, seen)
        disk.write_json(found.directory.doubts, plain(told.doubts))
        accounts.append(told)
        spans[turn.round] = seen.spans
    used = usable(accounts)
    if seen is None or len(accounts) > 1:
        seen = observe(concat(spans[a.round] for a in used), facts, asked, "run")
    jaeger = trace_stores.where(plan.settings)
    findings, minor = (linked(found, jaeger) for found in concluded(seen))
    complete = sum(a.requests.complete for a in used)
    judged = plan.settings.tracing and complete >= plan.limits.complete_traces
    kind = latency.headline(plan.settings.tracing, plan.settings.trace_ratio)
    heads = [a.latency_ms.headline(kind) for a in used]
    return tuple(accounts), VariantRow(
        name=name,
        description=_description(plan.scenario, name),
        refactors=_refactors(plan.scenario, name),
        rounds=len(accounts),
        void_rounds=sum(a.void for a in accounts),
        response_p50_ms=_median(of.p50 for of in heads),
        response_p95_ms=_median(of.p95 for of in heads),
        response_p99_ms=_median(of.p99 for of in heads),
        entries=_entries(used),
        calls_per_request=_median(a.calls_per_request for a in used),
        # Virtual time charges nothing for tracing; a difference there is one of requests.
        direct_tax_ms=_median(a.latency_ms.direct_tax_ms for a in used)
        if world.clock == "wall"
        else None,
        complete_traces=complete,
        findings=findings,
        minor=minor,
        expectations=tuple(
            Expected(e.kind, e.where, any(meets(f, e) for f in findings) if judged else None)
            for e in scenario.expectations
        ),
        unexpected=tuple(
            f for f in findings if not any(meets(f, e) for e in scenario.expectations)
        ),
    )


def _entries(used: Sequence[Account]) -> tuple[EntryMedians, ...]:
    alike: dict[str, list[EntryRow]] = {}
    for row in (row for a in used for row in a.entries):
        alike.setdefault(row.entry, []).append(row)
    return tuple(
        EntryMedians(
            entry=entry,
            sent=sum(row.sent for row in rows),
            response_p50_ms=_median(row.response_ms.p50 for row in rows),
            response_p95_ms=_median(row.response_ms.p95 for row in rows),
            response_p99_ms=_median(row.response_ms.p99 for row in rows),
        )
        for entry, rows in sorted(alike.items())
    )


def meets(finding: Finding, expectation: Expectation) -> bool:
    """Whether every key that the expectation gives is equal."""
    return finding.kind == expectation.kind and all(
        getattr(finding.where, key) == value for key, value in expectation.where.items()
    )


def _median(values: Iterable[float | None]) -> float | None:
    """Over rounds; None where one of them is not known, or there is none."""
    found = list(values)
    known = [value for value in found if value is not None]
    return median(known) if known and len(known) == len(found) else None


def _description(scenario: Scenario, name: str) -> str:
    return scenario.description if name == BASELINE else scenario.variants[name].description


def _refactors(scenario: Scenario, name: str) -> tuple[Mapping[str, object], ...]:
    return () if name == BASELINE else tuple(map(to_mapping, scenario.variants[name].refactors))


def _doubts(plan: RunPlan, world: World, variants: Sequence[VariantRow]) -> list[Doubt]:
    """Those about the run as a whole."""
    doubts: list[Doubt] = []
    platform = "Linux" if world.environment is None else world.environment.platform
    if world.clock == "wall" and platform != "Linux":
        doubts.append(Doubt(Code.PLATFORM, f"measured on {platform}: timers are less exact"))
    protocols = sorted(
        {edge.protocol for scenario in plan.scenarios.values() for edge in edges(scenario)}
    )
    if len(protocols) > 1 and world.clock == "wall":
        doubts.append(
            Doubt(
                Code.LIBRARY_TRUTH,
                f"{' and '.join(protocols)} are compared through their Python libraries, "
                "whose cost is part of every figure",
            )
        )
    shared = processes(plan)
    if shared is not None:
        services = len(plan.scenario.services)
        doubts.append(
            Doubt(
                Code.PACKED,
                f"{services:,} services share {shared:,} process{'es' if shared > 1 else ''}: "
                "one that works keeps its neighbours waiting",
            )
        )
    for of in variants:
        if not of.rounds:
            doubts.append(Doubt(Code.NO_VALID_ROUND, f"{of.name} has not run"))
        elif of.rounds == of.void_rounds:
            what = f"{of.name} has no valid round; its figures are over all"
            doubts.append(Doubt(Code.NO_VALID_ROUND, what))
    return doubts


def _findings(variants: Sequence[VariantRow]) -> Findings:
    return Findings(variants=tuple(VariantFindings(v.name, v.findings, v.minor) for v in variants))
