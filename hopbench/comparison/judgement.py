"""From rounds to verdicts: blocks without a void round, their pairs, and what these say.

A block counts whole or not at all. Where rounds are missing there are figures and no verdict: who
stops when the figures please has tested at another level than the one declared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hopbench.comparison import ledger
from hopbench.comparison.document import (
    AtRate,
    Document,
    GuardrailRow,
    MetricRow,
    Sides,
    Verdict,
    Verdicts,
    Voided,
    comparisons,
)
from hopbench.comparison.doubts import doubts_of
from hopbench.comparison.ledger import Rate
from hopbench.comparison.looking import Looks
from hopbench.comparison.measured import WHOLE, Entries, Key, Measured, entries, measured
from hopbench.comparison.metrics import FAILED, METRICS, known
from hopbench.comparison.partition import partition
from hopbench.comparison.sentence import arm_name, sentence
from hopbench.comparison.side import Block, Side, of_difference, of_ratio
from hopbench.comparison.why import means, why
from hopbench.results.summary import Summary
from hopbench.runs.design import Design
from hopbench.runs.directory import RunDir
from hopbench.runs.plan import RunPlan, Turn
from hopbench.runs.repeats import Repeated, lacking, repeated
from hopbench.statistics import Floats, blocks, stopping
from hopbench.statistics.blocks import PAIRS
from hopbench.statistics.effect import Effect, Outcome
from hopbench.statistics.guardrails import Guardrail
from hopbench.statistics.verdict import Verdict as Judged
from hopbench.statistics.verdict import verdicts
from loadgen.schedule import arrivals

_FAILURES: Final[Key] = (FAILED, WHOLE)


@dataclass(frozen=True, slots=True)
class Progression:
    """How the rounds went."""

    needed: int
    """Blocks: all that were planned, or as many as ``--until`` asked for."""
    missing: int
    """Rounds of these that did not come to their end."""
    repeated: tuple[Repeated, ...]
    resumed: bool
    rate: Rate | None
    """Of called nulls, this run's among them."""
    rate_rps: float | None
    """Of one of several."""


@dataclass(frozen=True, slots=True)
class Judgement:
    document: Document
    nulls: Mapping[str, Floats]
    """Log ratios of null pairs, for the ledger; none of a comparison that has not ended."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A comparison: its plan, where it lies, and what is told of its rounds."""

    planned: RunPlan
    run: RunDir
    summary: Summary

    @property
    def design(self) -> Design:
        assert self.planned.design is not None
        return self.planned.design

    def sides(self) -> tuple[Side, ...]:
        known(self.design.metric)
        valid = _valid(self.planned, self.run, self.summary)
        seed = self.planned.scenario.seed
        return tuple(Side(self.design, seed, arm, valid) for arm in range(1, len(self.design.arms)))


def judged(planned: RunPlan, run: RunDir, summary: Summary) -> Judgement:
    """What the rounds of a comparison say. ``summary`` is of the same run."""
    (found,) = judged_together([Ran(planned, run, summary)])
    return found


def at_rates(ran: Sequence[Ran], found: Sequence[Judgement]) -> Verdicts:
    """Of comparisons at several rates, judged together."""
    load = tuple(
        AtRate(one.planned.scenario.load.pace.steady_rps or 0.0, verdict)
        for one, of in zip(ran, found, strict=True)
        for verdict in comparisons(of.document)
    )
    outcomes: dict[str, set[Outcome]] = {}
    for each in load:
        outcomes.setdefault(each.verdict.b, set()).add(each.verdict.verdict)
    both = {Outcome.FASTER, Outcome.SLOWER}
    return Verdicts(
        scenario=ran[0].summary.scenario,
        load=load,
        flips=tuple(arm for arm, of in outcomes.items() if both <= of),
    )


def judged_together(ran: Sequence[Ran]) -> tuple[Judgement, ...]:
    """Comparisons of one design at several rates: all arms at all rates form one family."""
    sides = [one.sides() for one in ran]
    told = [side.comparison() for of in sides for side in of if side.blocks]
    design = ran[0].design
    said = iter(verdicts(told, alpha=design.alpha, delta=design.delta) if told else ())
    each = [[next(said) if side.blocks else None for side in of] for of in sides]
    several = len(ran) > 1
    return tuple(
        _judgement(one, of, of_them, several=several)
        for one, of, of_them in zip(ran, sides, each, strict=True)
    )


def _judgement(
    ran: Ran, sides: Sequence[Side], said: Sequence[Judged | None], *, several: bool
) -> Judgement:
    planned, run, design = ran.planned, ran.run, ran.design
    needed = Looks(planned, run).needed()
    missing = len(lacking(planned, run, needed))
    whole = bool(sides[0].blocks) and not missing
    nulls = sides[0].nulls((design.metric, *ledger.TOLD)) if whole else {}
    course = Progression(
        needed=needed,
        missing=missing,
        repeated=repeated(run),
        resumed=run.resumed.exists(),
        rate=ledger.rate(run, planned, nulls.get(design.metric)),
        rate_rps=planned.scenario.load.pace.steady_rps if several else None,
    )
    found = tuple(
        _document(side, one, planned, ran.summary, course)
        for side, one in zip(sides, said, strict=True)
    )
    together = Verdicts(scenario=ran.summary.scenario, comparisons=found)
    return Judgement(found[0] if len(found) == 1 else together, nulls)


def _valid(planned: RunPlan, run: RunDir, summary: Summary) -> tuple[Block, ...]:
    assert planned.design is not None
    primary = METRICS[planned.design.metric]
    valid = {account.round: account for account in summary.trials if not account.void}
    of: dict[str, Entries] = {
        name: entries(planned.scenario, scenario) for name, scenario in planned.scenarios.items()
    }

    def told(turn: Turn) -> Measured:
        traced = turn.traced and planned.settings.tracing
        return measured(
            valid[turn.round],
            run.trial(turn.round, turn.variant),
            of[turn.variant],
            summary.headline,
            partition(run, planned, turn) if traced else None,
            primary=primary,
            traced=traced,
            as_sampled=None if turn.traced else _as_sampled(planned, turn),
        )

    return tuple(
        Block(number, tuple(map(told, block)))
        for number, block in enumerate(planned.blocks)
        if all(turn.round in valid for turn in block)
    )


def _as_sampled(planned: RunPlan, turn: Turn) -> NDArray[np.bool_]:
    """By number of a request of a round that is not traced: whether its arm's rounds sampled it. It
    is held against the same requests of theirs."""
    load = planned.scenarios[turn.variant].load
    return arrivals(load, turn.seed, trace_ratio=planned.settings.trace_ratio).sampled


def _document(
    side: Side,
    said: Judged | None,
    planned: RunPlan,
    summary: Summary,
    course: Progression,
) -> Verdict:
    design, arm = side.design, side.arm
    valid = PAIRS * len(side.blocks)
    too_few = design.until is not None and len(side.blocks) < stopping.FIRST
    if said is not None and (course.missing or too_few):
        said = _unsaid(said)
    parts = why(side)
    metrics = tuple(_rows(side, said)) if said is not None else ()
    guardrails = tuple(_guardrails(side, said.guardrails)) if said is not None else ()
    first = next((row for row in metrics if row.primary), None)
    outcome = Outcome.VOID if said is None else said.outcome
    void = [each for block in course.repeated for each in block.void]
    voided = Voided(*(sum(each.arm == of for each in void) for of in (0, arm)))
    return Verdict(
        scenario=summary.scenario,
        scenario_sha256=summary.scenario_sha256,
        run_dir=summary.run_dir,
        engine=summary.engine,
        clock=summary.clock,
        rate_rps=course.rate_rps,
        headline=summary.headline,
        a=design.arms[0],
        b=design.arms[arm],
        arms=(0, arm),
        design=design.kind,
        planned_pairs=PAIRS * course.needed,
        pairs=valid,
        unit="block" if len(side.blocks) >= blocks.BY_BLOCK else "pair",
        restarts=2 * len(side.blocks),
        rounds=len(summary.trials),
        void_rounds=sum(account.void for account in summary.trials),
        repeated_blocks=len(course.repeated),
        repeated_for=voided,
        resumed=course.resumed,
        level=design.level,
        size=0.0 if said is None else said.primary.size,
        delta=design.delta,
        until=design.until,
        seed=side.seed,
        old=design.old,
        primary=design.metric,
        entries=side.entries,
        verdict=outcome,
        sentence=sentence(
            _name(design, arm, course), outcome, first, guardrails, why=parts, rows=metrics
        ),
        doubts=doubts_of(side, summary, course.missing, course.rate, voided),
        metrics=metrics,
        guardrails=guardrails,
        ratio_function=tuple(side.ratio_function()),
        null=side.null(),
        variance=side.variance(),
        direct_tax_ms=Sides(None, None)
        if summary.clock == "virtual"
        else Sides(side.tax(0), side.tax(arm)),
        spillover_ms=side.spillover(),
        ledger=course.rate,
        mean_ms=means(side),
        why=parts,
    )


def _name(design: Design, arm: int, course: Progression) -> str:
    at = "" if course.rate_rps is None else f" at {course.rate_rps:.4g}/s"
    return f"{arm_name(design, arm)}{at}"


def _unsaid(said: Judged) -> Judged:
    """The figures alone."""
    return replace(
        said,
        outcome=Outcome.VOID,
        primary=replace(said.primary, outcome=Outcome.VOID),
        secondary=tuple(replace(each, outcome=Outcome.VOID) for each in said.secondary),
        guardrails=tuple(replace(e, worse=False, ruled_out=False) for e in said.guardrails),
    )


def _rows(side: Side, said: Judged) -> Iterator[MetricRow]:
    if side.tells:
        yield _row(side, side.primary, said.primary, primary=True)
    for key, effect in zip((*side.secondary, _FAILURES), said.secondary, strict=True):
        yield _row(side, key, effect, primary=False)


def _row(side: Side, key: Key, effect: Effect, *, primary: bool) -> MetricRow:
    of = of_ratio if effect.difference is None else of_difference
    return MetricRow(
        metric=key[0],
        entry=key[1],
        unit="" if key == _FAILURES else METRICS[key[0]].unit,
        primary=primary,
        a=side.typical(key, 0),
        b=side.typical(key, side.arm),
        ratio=effect.ratio,
        difference=effect.difference,
        interval=of(effect.interval),
        p=effect.p,
        interval_adjusted=of(effect.adjusted),
        p_adjusted=effect.p_adjusted,
        verdict=effect.outcome,
        mde=effect.mde if effect.mde is None or math.isfinite(effect.mde) else None,
        pairs=tuple(side.pairs(key)),
    )


def _guardrails(side: Side, said: Sequence[Guardrail]) -> Iterator[GuardrailRow]:
    for key, found in zip((*side.guarded, _FAILURES), said, strict=True):
        of = of_ratio if found.difference is None else of_difference
        yield GuardrailRow(
            metric=key[0],
            entry=key[1],
            a=side.typical(key, 0),
            b=side.typical(key, side.arm),
            ratio=found.ratio,
            difference=found.difference,
            interval=of(found.interval),
            p_adjusted=found.p_adjusted,
            worse=found.worse,
            ruled_out=found.ruled_out,
        )
