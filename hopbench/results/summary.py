"""``hopbench.summary/1``: a run, told from what lies in its directory (docs/output.md).

Variant by variant, so that the spans of one variant alone are in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from analysis.findings.finding import Finding
from hopbench import disk
from hopbench.engines import ENGINES, is_virtual
from hopbench.engines.port import BrokerKind, ClockName, Instrumentation
from hopbench.engines.wall import trace_stores
from hopbench.engines.wall.trace_stores import StoreName
from hopbench.results import latency
from hopbench.results.latency import Headline
from hopbench.results.round import Account, World, edges
from hopbench.results.variant import VariantRow, told
from hopbench.runs import evidence
from hopbench.runs.directory import RunDir
from hopbench.runs.environment import Environment
from hopbench.runs.limits import Limits
from hopbench.runs.plan import RunPlan
from services.codec import plain
from services.doubts import Code, Doubt
from services.scenario.model import Load
from services.scenario.packing import packed

Progress = Callable[[str, float], None]
"""The variant under work, and the share of the whole that is done."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The load of every round, as the plan has it."""

    model: str
    arrivals: str | None
    rate_rps: float | None
    """None for a load that has not one rate."""
    pace: str
    """As a report says it."""
    warmup_s: float
    duration_s: float


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
    load: Asked
    began: str | None
    """When the first round did, UTC, ISO 8601; None in virtual time, and where none has begun."""
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
        rounds, variant = told(plan, run, name, world)
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
        load=_asked(plan.scenario.load),
        began=_began(plan, run),
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


def _asked(load: Load) -> Asked:
    pace = load.pace
    return Asked(
        model=pace.model,
        arrivals=pace.arrivals,
        rate_rps=pace.steady_rps,
        pace=str(pace),
        warmup_s=load.warmup_ns / 1e9,
        duration_s=load.duration_ns / 1e9,
    )


def _began(plan: RunPlan, run: RunDir) -> str | None:
    if is_virtual(plan.settings):
        return None
    for turn in plan.order:
        found = evidence.read(run.trial(turn.round, turn.variant))
        if found is not None:
            at = datetime.fromtimestamp((found.start_ns + found.unix_offset_ns) // 10**9, UTC)
            return at.isoformat()
    return None


def processes(plan: RunPlan) -> int | None:
    """Into how many the services are packed; None where each replica has one of its own, or none
    has any, as in virtual time."""
    if is_virtual(plan.settings) or not any(map(packed, plan.scenarios.values())):
        return None
    return plan.scenario.processes


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
        elif not of.valid:
            what = f"{of.name} has no valid round; its figures are over all"
            doubts.append(Doubt(Code.NO_VALID_ROUND, what))
    return doubts


def _findings(variants: Sequence[VariantRow]) -> Findings:
    return Findings(variants=tuple(VariantFindings(v.name, v.findings, v.minor) for v in variants))
