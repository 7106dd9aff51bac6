"""``hopbench.summary/1``: a run, told from what lies in its directory (docs/output.md).

Variant by variant, so that the spans of one variant alone are in memory. A variant's figures are
medians over its valid rounds; where none is valid, over all of them, and a doubt says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from analysis.analyse import Analysis, analyse
from analysis.findings.finding import Finding
from analysis.findings.settings import Settings as AnalysisSettings
from analysis.spans.table import SpanTable, concat
from hopbench import disk
from hopbench.engines import ENGINES, is_virtual
from hopbench.engines.wall import trace_stores
from hopbench.jaeger.links import linked
from hopbench.results import latency
from hopbench.results.round import Account, World, account, edges
from hopbench.runs import evidence, trial
from hopbench.runs.directory import RunDir
from hopbench.runs.environment import Environment
from hopbench.runs.plan import RunPlan
from services import codec
from services.doubts import Code, Doubt
from services.scenario.facts import facts_of
from services.scenario.model import Expectation, Scenario
from services.scenario.packing import packed
from services.scenario.refactors import BASELINE, to_mapping

SCHEMA: Final = "hopbench.summary/1"
FINDINGS_SCHEMA: Final = "hopbench.findings/1"

Progress = Callable[[str, float], None]
"""The variant under work, and the share of the whole that is done."""


@dataclass(frozen=True, slots=True)
class Told:
    """One variant over its rounds."""

    name: str
    accounts: tuple[Account, ...]
    used: tuple[Account, ...]
    """The rounds that its figures come from."""
    analysis: Analysis
    document: dict[str, Any]


def summarise(
    plan: RunPlan, run: RunDir, progress: Progress = lambda variant, share: None
) -> dict[str, Any]:
    """The summary, which is also written to the run directory with the findings apart and the
    doubts of each round beside its evidence."""
    surroundings = evidence.read_file(Environment, run.environment)
    world = World(
        clock=ENGINES[plan.settings.engine].clock,
        broker=None if surroundings is None else surroundings.broker,
        limits=plan.limits,
        environment=surroundings,
    )
    told: list[Told] = []
    for i, name in enumerate(plan.scenarios):
        progress(name, i / len(plan.scenarios))
        told.append(_variant(plan, run, name, world))
    progress("", 1.0)
    trials = sorted((a for t in told for a in t.accounts), key=lambda a: a.round)
    settings = plan.settings
    document = {
        "schema": SCHEMA,
        "scenario": plan.scenario.name,
        "scenario_sha256": plan.sha256,
        "description": plan.scenario.description,
        "seed": plan.scenario.seed,
        "engine": settings.engine,
        "processes": processes(plan),
        "clock": world.clock,
        "broker": world.broker,
        "trace_store": trace_stores.name(settings),
        "instrumentation": settings.instrumentation,
        "tracing": settings.tracing,
        "trace_ratio": settings.trace_ratio,
        "headline": latency.headline(settings.tracing, settings.trace_ratio),
        "run_dir": str(run.path),
        "limits": plan.limits.document(),
        "environment": {} if surroundings is None else codec.plain(surroundings),
        "doubts": [d.document() for d in _doubts(plan, world, told)],
        "trials": [a.document for a in trials],
        "variants": [t.document for t in told],
    }
    disk.write_json(run.summary, document)
    disk.write_json(run.findings, _findings(told))
    return document


def processes(plan: RunPlan) -> int | None:
    """Into how many the services are packed; None where each replica has one of its own, or none
    has any, as in virtual time."""
    if is_virtual(plan.settings) or not any(map(packed, plan.scenarios.values())):
        return None
    return plan.scenario.processes


def _variant(plan: RunPlan, run: RunDir, name: str, world: World) -> Told:
    scenario = plan.scenarios[name]
    turns = [turn for turn in plan.order if turn.variant == name]
    accounts: list[Account] = []
    spans: dict[int, SpanTable] = {}
    for turn in turns:
        found = trial.read(run, plan, turn)
        if found is None:
            continue
        told = account(found, world)
        disk.write_json(found.directory.doubts, told.document["doubts"])
        accounts.append(told)
        spans[turn.round] = found.measured_spans()
    used = [a for a in accounts if not a.void] or accounts
    complete = sum(a.complete for a in used)
    analysis = analyse(
        concat(spans[a.round] for a in used),
        facts_of(scenario),
        AnalysisSettings(expected_kinds=frozenset(e.kind for e in scenario.expectations)),
        "run",
        requests=complete,
    )
    jaeger = trace_stores.where(plan.settings)
    judged = plan.settings.tracing and complete >= plan.limits.complete_traces
    return Told(
        name=name,
        accounts=tuple(accounts),
        used=tuple(used),
        analysis=analysis,
        document={
            "name": name,
            "description": _description(plan.scenario, name),
            "refactors": _refactors(plan.scenario, name),
            "rounds": len(accounts),
            "void_rounds": sum(a.void for a in accounts),
            "response_p50_ms": _median(a.latency.headline(a.headline).p50 for a in used),
            "response_p95_ms": _median(a.latency.headline(a.headline).p95 for a in used),
            "response_p99_ms": _median(a.latency.headline(a.headline).p99 for a in used),
            "entries": _entries(used),
            "calls_per_request": _median(a.calls_per_request for a in used),
            # Virtual time charges nothing for tracing; a difference there is one of requests.
            "direct_tax_ms": _median(a.latency.direct_tax_ms for a in used)
            if world.clock == "wall"
            else None,
            "complete_traces": complete,
            "findings": [linked(f.document(), jaeger) for f in analysis.findings],
            "minor": [linked(f.document(), jaeger) for f in analysis.minor],
            "expectations": [
                {
                    "kind": e.kind,
                    "where": dict(e.where),
                    "met": any(meets(f, e) for f in analysis.findings) if judged else None,
                }
                for e in scenario.expectations
            ],
            "unexpected": [
                linked(f.document(), jaeger)
                for f in analysis.findings
                if not any(meets(f, e) for e in scenario.expectations)
            ],
        },
    )


def _entries(used: Sequence[Account]) -> list[dict[str, Any]]:
    """Each entry over the rounds: requests sent in all, and medians of the rounds' quantiles."""
    rounds = [{row["entry"]: row for row in a.document["entries"]} for a in used]
    return [
        {
            "entry": entry,
            "sent": sum(of[entry]["sent"] for of in rounds if entry in of),
            **{
                f"response_{q}_ms": _median(
                    of[entry]["response_ms"][q] for of in rounds if entry in of
                )
                for q in ("p50", "p95", "p99")
            },
        }
        for entry in sorted({entry for of in rounds for entry in of})
    ]


def meets(finding: Finding, expectation: Expectation) -> bool:
    """Whether every key that the expectation gives is equal."""
    where = finding.where.document()
    return finding.kind == expectation.kind and all(
        where[key] == value for key, value in expectation.where.items()
    )


def _median(values: Iterable[float | None]) -> float | None:
    """Over rounds; None where one of them is not known, or there is none."""
    found = list(values)
    known = [value for value in found if value is not None]
    return median(known) if known and len(known) == len(found) else None


def _description(scenario: Scenario, name: str) -> str:
    return scenario.description if name == BASELINE else scenario.variants[name].description


def _refactors(scenario: Scenario, name: str) -> list[dict[str, object]]:
    if name == BASELINE:
        return []
    return [to_mapping(refactor) for refactor in scenario.variants[name].refactors]


def _doubts(plan: RunPlan, world: World, told: Sequence[Told]) -> list[Doubt]:
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
    for of in told:
        if of.accounts and all(a.void for a in of.accounts):
            doubts.append(
                Doubt(
                    Code.NO_VALID_ROUND, f"{of.name} has no valid round; its figures are over all"
                )
            )
        if not of.accounts:
            doubts.append(Doubt(Code.NO_VALID_ROUND, f"{of.name} has not run"))
    return doubts


def _findings(told: Sequence[Told]) -> dict[str, Any]:
    return {
        "schema": FINDINGS_SCHEMA,
        "variants": [
            {
                "name": of.name,
                "findings": of.document["findings"],
                "minor": of.document["minor"],
            }
            for of in told
        ],
    }
