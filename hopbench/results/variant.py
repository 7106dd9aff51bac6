"""One variant over its rounds: its entry in ``variants[]`` of a summary.

Its figures are medians over its valid rounds; where none is valid, over all of them, and a doubt
says so. A P99 that no valid round shows may be known of the requests of all of them together: it is
told apart from the medians, as pooled, and no gate, ratio or verdict takes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from analysis.analyse import concluded, observe
from analysis.arrays.quantiles import Quantiles
from analysis.findings.finding import Finding
from analysis.findings.flows import Flow
from analysis.findings.observed import Observed
from analysis.findings.settings import Settings as AnalysisSettings
from analysis.spans.table import SpanTable, concat
from hopbench import disk
from hopbench.engines.wall import trace_stores
from hopbench.jaeger.links import linked
from hopbench.results import latency
from hopbench.results.flows import flows
from hopbench.results.latency import EntryRow, Headline
from hopbench.results.promises import promises
from hopbench.results.round import Account, World, account, usable
from hopbench.runs import trial
from hopbench.runs.directory import RunDir
from hopbench.runs.plan import RunPlan
from services.codec import plain
from services.scenario.facts import facts_of
from services.scenario.model import Expectation, Scenario
from services.scenario.refactors import BASELINE, to_mapping

_Way = tuple[str, str]
"""An entry, and the protocol it is called over."""


@dataclass(frozen=True, slots=True)
class EntryMedians:
    """An entry over one protocol: requests sent in all rounds, and medians of their quantiles."""

    entry: str
    protocol: str
    sent: int
    response_p50_ms: float | None
    response_p95_ms: float | None
    response_p99_ms: float | None
    response_p99_pooled_ms: float | None


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
    response_p99_pooled_ms: float | None
    """Of all requests of its valid rounds, where none of them identifies a P99."""
    entries: tuple[EntryMedians, ...]
    calls_per_request: float | None
    direct_tax_ms: float | None
    complete_traces: int
    findings: tuple[Finding, ...]
    minor: tuple[Finding, ...]
    expectations: tuple[Expected, ...]
    unexpected: tuple[Finding, ...]

    @property
    def valid(self) -> bool:
        """Whether any of its rounds is."""
        return self.rounds > self.void_rounds


def told(
    plan: RunPlan, run: RunDir, name: str, world: World
) -> tuple[tuple[Account, ...], VariantRow]:
    """The rounds of one variant, and what they say together; the doubts of each are written beside
    its evidence."""
    scenario = plan.scenarios[name]
    facts = facts_of(scenario)
    asked = AnalysisSettings(expected_kinds=tuple(sorted({e.kind for e in scenario.expectations})))
    seen: Observed | None = None
    accounts: list[Account] = []
    spans: dict[int, SpanTable] = {}
    through: dict[int, tuple[Flow, ...]] = {}
    for turn in plan.order:
        found = trial.read(run, plan, turn) if turn.variant == name else None
        if found is None:
            continue
        through[turn.round] = flows(found)
        seen = observe(found.measured_spans(), facts, asked, "run", through[turn.round])
        one = account(found, world, seen)
        disk.write_json(found.directory.doubts, plain(one.doubts))
        accounts.append(one)
        spans[turn.round] = seen.spans
    traced = [of for of in accounts if of.traced]
    used = usable(traced)
    if seen is None or len(accounts) > 1:
        went = tuple(flow for a in used for flow in through[a.round])
        seen = observe(concat(spans[a.round] for a in used), facts, asked, "run", went)
    jaeger = trace_stores.where(plan.settings)
    findings, minor = (linked(found, jaeger) for found in concluded(seen))
    promised = promises(plan, name, seen, world.broker, findings)
    findings, minor = promised.kept(findings), promised.kept(minor)
    complete = sum(a.requests.complete for a in used)
    judged = plan.settings.tracing and complete >= plan.limits.complete_traces
    kind = latency.headline(plan.settings.tracing, plan.settings.trace_ratio)
    heads = [a.latency_ms.headline(kind) for a in used]
    pooled = _pooled_p99(run, [a for a in traced if not a.void], kind)
    return tuple(accounts), VariantRow(
        name=name,
        description=_description(plan.base(name), name),
        refactors=_refactors(plan.base(name), name),
        rounds=len(traced),
        void_rounds=sum(a.void for a in traced),
        response_p50_ms=_median(of.p50 for of in heads),
        response_p95_ms=_median(of.p95 for of in heads),
        response_p99_ms=_median(of.p99 for of in heads),
        response_p99_pooled_ms=pooled.get(None),
        entries=_entries(used, pooled),
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


def _pooled_p99(
    run: RunDir, valid: Sequence[Account], kind: Headline
) -> Mapping[_Way | None, float | None]:
    """By entry, and of all together by None: those that none of these rounds shows."""
    rounds: dict[_Way | None, list[Quantiles]] = {
        None: [a.latency_ms.headline(kind) for a in valid]
    }
    for row in (row for a in valid for row in a.entries):
        rounds.setdefault((row.entry, row.protocol), []).append(row.response_ms)
    hidden = [of for of, alike in rounds.items() if all(q.p99 is None for q in alike)]
    if len(valid) < 2 or not hidden:
        return {}
    samples = latency.pooled(run.trial(a.round, a.variant).samples for a in valid)
    found: dict[_Way | None, Quantiles] = {None: latency.latency(samples).headline(kind)}
    rows = latency.entry_rows(samples, kind)
    found |= {(row.entry, row.protocol): row.response_ms for row in rows}
    return {of: found[of].p99 for of in hidden}


def _entries(
    used: Sequence[Account], pooled_p99: Mapping[_Way | None, float | None]
) -> tuple[EntryMedians, ...]:
    alike: dict[_Way, list[EntryRow]] = {}
    for row in (row for a in used for row in a.entries):
        alike.setdefault((row.entry, row.protocol), []).append(row)
    return tuple(
        EntryMedians(
            entry=entry,
            protocol=protocol,
            sent=sum(row.sent for row in rows),
            response_p50_ms=_median(row.response_ms.p50 for row in rows),
            response_p95_ms=_median(row.response_ms.p95 for row in rows),
            response_p99_ms=_median(row.response_ms.p99 for row in rows),
            response_p99_pooled_ms=pooled_p99.get((entry, protocol)),
        )
        for (entry, protocol), rows in sorted(alike.items())
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
