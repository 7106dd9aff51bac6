"""Stages of a proof without an engine: what each refactor does is written down, ratios by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from analysis.arrays.quantiles import Quantiles
from analysis.findings.finding import Finding, Where, fingerprint
from hopbench.comparison.document import (
    GuardrailRow,
    Means,
    MetricRow,
    RaisedDoubt,
    Sides,
    Verdict,
    Voided,
)
from hopbench.engines.port import Settings
from hopbench.proving.stages import Asked, Compared, Factored, Looked
from hopbench.results.variant import VariantRow
from hopbench.runs.plan import RunPlan
from hopbench.statistics.effect import Outcome
from services.scenario.file.parser import parse_text
from services.scenario.model import Refactor
from services.scenario.refactors import to_mapping

SCENARIO = """
version: 1
name: shop
services:
  order:
    operations:
      create:
        - {call: stock.take, count: 6, id: take}
        - {call: price.quote, count: 6, id: quote}
  stock: {operations: {take: [sleep: 1ms]}}
  price: {operations: {quote: [sleep: 1ms]}}
load: {rate: 50/s, duration: 5s, warmup: 1s, entry: order.create}
"""
SETTINGS = Settings("virtual", "embedded", True, 0.5, "lean", None)
TAKE: dict[str, Any] = {"op": "batch", "edge": "order->stock.take", "size": 6}
QUOTE: dict[str, Any] = {"op": "batch", "edge": "order->price.quote", "size": 6}
AT_ONCE: dict[str, Any] = {"op": "parallelize", "at": "order.create"}
HEDGED: dict[str, Any] = {"op": "hedge", "edge": "order->stock.take", "after": "p95"}
TAKEN_BY, QUOTED_BY = "batch-order-stock-take", "batch-order-price-quote"
AT_ONCE_BY, HEDGED_BY = "parallelize-order-create", "hedge-order-stock-take"


def asked(depth: int = 3, budget_s: float | None = None, text: str = SCENARIO) -> Asked:
    scenario = parse_text(text, str(Path("shop.yaml")))
    return Asked(scenario, "0" * 64, SETTINGS, depth, 0.95, 0.05, 6, budget_s)


def finding(refactor: Mapping[str, Any] | None, promised_ms: float = 5.0) -> Finding:
    kind, where = "chatty.sequential", Where("order", "create", "stock", "take", "http", None)
    none = Quantiles(1, promised_ms, None, None, None, promised_ms)
    saving = (None, None) if refactor is None else (promised_ms, promised_ms)
    identity = fingerprint(kind, Where(caller=str(refactor)))
    return Finding(kind, identity, where, none, none, saving, "high", 1.0, "", (), refactor)


@dataclass
class Written:
    """``finds`` by depth, from the first; ``ratios`` by stage and name, or by name in every stage;
    ``worse``: names whose CPU time goes up."""

    finds: Sequence[Sequence[Finding]]
    ratios: Mapping[str, float]
    worse: frozenset[str] = frozenset()
    room: float = float("inf")
    """Rounds in the budget."""
    void: str = ""
    """The stage that is."""
    untold: frozenset[str] = frozenset()
    """Arms whose requests never end."""
    there: frozenset[str] = frozenset()
    """Stages of an earlier sitting."""
    ran: list[tuple[str, tuple[str, ...], int]] = field(default_factory=list)
    """Stage, arms and rounds."""
    seeds: list[int] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def looked(self, stage: str, plan: RunPlan) -> Looked:
        self._runs(stage, plan)
        depth = int(stage.partition("-")[0])
        found = tuple(self.finds[depth - 1]) if depth <= len(self.finds) else ()
        row = VariantRow(
            *("baseline", "", (), 2, 2 if stage == self.void else 0, 9.0, None, None, None, ()),
            *(1.0, None, 100, found, (), (), ()),
        )
        return Looked(stage, row)

    def compared(self, stage: str, plan: RunPlan) -> Compared:
        self._runs(stage, plan)
        assert plan.design is not None
        verdicts = tuple(self._verdict(stage, arm) for arm in plan.design.arms[1:])
        return Compared(stage, len(plan.order), verdicts)

    def factored(self, stage: str, plan: RunPlan) -> Factored:
        """Each refactor saves what it does to 20 ms, whatever else is on."""
        self._runs(stage, plan)
        rows = [
            20.0
            + sum(20.0 * (self._alone(each) - 1) for each in plan.scenario.variants[arm].refactors)
            if arm in plan.scenario.variants
            else 20.0
            for arm in plan.scenarios
        ]
        noise = np.random.default_rng(1).normal(0, 0.5, (4, len(rows)))
        values = np.array([rows] * 4) + noise
        return Factored(
            stage, len(plan.order), {} if stage == self.void else {"order.create": values}
        )

    def _alone(self, refactor: Refactor) -> float:
        said = to_mapping(refactor)
        return self.ratios.get(str(said.get("edge") or said.get("at")), 1.0)

    def begun(self, stage: str) -> bool:
        return stage in self.there

    def fits(self, rounds: int) -> bool:
        return rounds <= self.room - sum(count for *_, count in self.ran)

    def note(self, text: str) -> None:
        self.said.append(text)

    def _runs(self, stage: str, plan: RunPlan) -> None:
        self.ran.append((stage, tuple(plan.scenarios), len(plan.order)))
        self.seeds.append(plan.scenario.seed)

    def _verdict(self, stage: str, arm: str) -> Verdict:
        p50 = self.ratios.get(f"{stage} {arm}", self.ratios.get(arm, 0.5))
        p95 = self.ratios.get(f"{arm} P95", p50)
        untold = stage == self.void or arm in self.untold
        outcome = Outcome.VOID if untold else _outcome(p50)
        cpu = 1.4 if arm in self.worse else 1.0
        return Verdict(
            scenario="shop",
            scenario_sha256="",
            run_dir=stage,
            engine="virtual",
            clock="virtual",
            headline="unsampled",
            a="baseline",
            b=arm,
            arms=(0, 1),
            design="rounds",
            rate_rps=None,
            planned_pairs=8,
            pairs=8,
            unit="pair",
            restarts=8,
            rounds=16,
            void_rounds=0,
            repeated_blocks=0,
            repeated_for=Voided(0, 0),
            resumed=False,
            level=0.95,
            size=0.01,
            delta=0.05,
            until=None,
            seed=1,
            old=None,
            primary="response_p50",
            entries=("order.create",),
            verdict=outcome,
            sentence="",
            doubts=(RaisedDoubt("few_pairs", "2 pairs", None, True),)
            if outcome is Outcome.VOID
            else (),
            metrics=()
            if untold
            else (_row("response_p50", p50, primary=True), _row("response_p95", p95)),
            guardrails=(
                GuardrailRow(
                    "cpu_us_per_request",
                    None,
                    100,
                    100 * cpu,
                    cpu,
                    None,
                    (cpu, cpu),
                    0.01,
                    worse=cpu > 1,
                    ruled_out=cpu == 1,
                ),
            ),
            ratio_function=(),
            null=None,
            variance=None,
            ledger=None,
            direct_tax_ms=Sides(None, None),
            spillover_ms=None,
            mean_ms=Means(Sides(None, None), Sides(None, None)),
            why=(),
        )


def _outcome(ratio: float) -> Outcome:
    if abs(ratio - 1) < 0.05:
        return Outcome.EQUIVALENT
    return Outcome.FASTER if ratio < 1 else Outcome.SLOWER


def _row(metric: str, ratio: float, *, primary: bool = False) -> MetricRow:
    ends = (ratio * 0.98, ratio * 1.02)
    p = 1.0 if _outcome(ratio) is Outcome.EQUIVALENT else 0.005
    return MetricRow(
        *(metric, "order.create", "ms", primary, 20.0, 20.0 * ratio, ratio, None),
        *(ends, p, ends, p, _outcome(ratio), 0.04, ()),
    )
