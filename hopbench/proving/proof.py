"""From the first look to the verdict on everything that held.

At each depth: what the scenario as it is now shows; each proposal by itself (the screen); those
that helped there once more, by fresh rounds; what holds is kept, unless it rules out something
better; and again from the top, while there are new findings. At last the baseline against all that
was kept, by rounds that selected none of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from analysis.figures import digits, plural
from analysis.findings.finding import Finding, saves_at
from hopbench.comparison.document import Interval, MetricRow, Verdict
from hopbench.comparison.sentence import change, changed, ends, named
from hopbench.proving.candidates import Candidate, candidates, clash, combined
from hopbench.proving.document import Effect, Found, Screen, Step
from hopbench.proving.stages import (
    LOOKS,
    Asked,
    Compared,
    Looked,
    Stages,
    concluding,
    confirming,
    looking,
    rounds_of,
    screening,
)
from hopbench.statistics.effect import FEWEST_PAIRS, Outcome
from services.errors import BadInput
from services.scenario.model import Refactor

MOST_AT_ONCE: Final = 6
"""Refactors that are tried one by one; of more, the most promising."""
FINAL_PAIRS: Final = 12
"""Twelve pairs tell a third of what six need to differ by; fewer where the budget says so."""
_ARMS: Final = 2


class Void(Exception):
    """A stage that can say nothing; its text is for people."""


@dataclass(slots=True)
class Course:
    """How far it has come: what an end at any moment leaves to be told."""

    looks: list[Looked] = field(default_factory=list)
    screens: list[Screen] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    kept: tuple[Candidate, ...] = ()
    final: Compared | None = None
    finished: bool = False


def prove(asked: Asked, stages: Stages, course: Course) -> None:
    """Fill ``course``. Raises Void, and whatever ends a stage."""
    tried: list[Refactor] = []
    for depth in range(1, asked.depth + 1):
        if depth > 1 and not stages.fits(_least(asked)):
            stages.note(f"the budget has no room for look {depth}")
            break
        found = _found(asked, stages, course, depth, tried)
        if not found:
            break
        tried += [each.refactor for each in found]
        held = _tried(asked, stages, course, depth, found)
        if not held:
            break
        course.kept = (*course.kept, *held)
    if course.kept:
        course.final = _concluded(asked, stages, course)
    course.finished = True


def least_rounds(asked: Asked) -> int:
    """What the smallest proof takes: one refactor that holds."""
    return LOOKS + _least(asked)


def _least(asked: Asked) -> int:
    return 2 * rounds_of(asked, 1) + _ARMS * FEWEST_PAIRS


def _found(
    asked: Asked, stages: Stages, course: Course, depth: int, tried: Sequence[Refactor]
) -> tuple[Candidate, ...]:
    """What is proposed, and can be applied to what has held so far."""
    looked = stages.looked(f"{depth}-look", looking(asked, course.kept, depth))
    if not looked.row.valid:
        raise Void(f"look {depth}: no valid round to look at ({looked.run_dir})")
    course.looks.append(looked)
    names = [step.name for step in course.steps]
    proposed = candidates(looked.row.findings, tried, names)
    found = []
    for each in proposed:
        try:
            combined(asked.scenario, [*(kept.refactor for kept in course.kept), each.refactor])
        except BadInput as error:
            course.steps.append(_step(depth, each, f"does not go with what has held: {error.text}"))
        else:
            found.append(each)
    return tuple(found)


def _tried(
    asked: Asked, stages: Stages, course: Course, depth: int, found: Sequence[Candidate]
) -> tuple[Candidate, ...]:
    """Those of ``found`` that held, the best first; all of them are among the steps."""
    chosen = _affordable(asked, stages, found)
    screen = stages.compared(f"{depth}-screen", screening(asked, course.kept, chosen, depth))
    alone = _by_name(screen)
    # What was chosen when the stage began stands.
    chosen = [each for each in found if each.name in alone]
    course.screens.append(_screen(depth, screen))
    _must_tell(f"{depth}-screen", screen)
    left_out = [each for each in found if each.name not in alone]
    winners = [each for each in chosen if _helps(each, alone[each.name], asked.alpha)]
    fresh: Mapping[str, Verdict] = {}
    if winners:
        confirmed = stages.compared(
            f"{depth}-confirm", confirming(asked, course.kept, winners, depth)
        )
        _must_tell(f"{depth}-confirm", confirmed)
        fresh = _by_name(confirmed)
    better_first = sorted(winners, key=lambda each: _row(each, fresh[each.name]).ratio or 1.0)
    held: list[Candidate] = []
    for each in better_first:
        verdict = fresh[each.name]
        if not _faster(each, verdict):
            why = f"not in fresh rounds: {_figure(each, verdict)}"
            course.steps.append(_step(depth, each, why, verdict, confirmed=True))
        elif (ruled := clash(asked.scenario, [*course.kept, *held], each)) is not None:
            other, because = ruled
            why = f"an alternative to {other.name}, which was kept: {because}"
            course.steps.append(_step(depth, each, why, verdict, confirmed=True))
        else:
            held.append(each)
            why = _figure(each, verdict) + _price(verdict)
            course.steps.append(_step(depth, each, why, verdict, confirmed=True, held=True))
    for each in chosen:
        if each not in winners:
            verdict = alone[each.name]
            why = f"not in the screen: {_figure(each, verdict)}"
            course.steps.append(_step(depth, each, why, verdict))
    course.steps += [_step(depth, each, "not tried: the budget") for each in left_out]
    return tuple(held)


def _affordable(asked: Asked, stages: Stages, found: Sequence[Candidate]) -> Sequence[Candidate]:
    """As many, of those that promise most, as can be screened and confirmed, with a verdict on all
    of them still to come."""
    count = min(len(found), MOST_AT_ONCE)
    while count > 1 and not stages.fits(2 * rounds_of(asked, count) + _ARMS * FEWEST_PAIRS):
        count -= 1
    return found[:count]


def _concluded(asked: Asked, stages: Stages, course: Course) -> Compared:
    pairs = FINAL_PAIRS
    while pairs > FEWEST_PAIRS and not stages.fits(_ARMS * pairs):
        pairs -= 2
    return stages.compared("final", concluding(asked, course.kept, pairs))


def _must_tell(stage: str, done: Compared) -> None:
    void = [each for each in done.verdicts if each.verdict is Outcome.VOID]
    if void:
        why = "; ".join(doubt.text for doubt in void[0].doubts if doubt.voids)
        raise Void(f"{stage} is void: {why} ({done.run_dir})")


def _by_name(done: Compared) -> dict[str, Verdict]:
    return {each.b: each for each in done.verdicts}


def _screen(depth: int, done: Compared) -> Screen:
    effects = [
        Effect(each.b, None, (None, None))
        if each.first is None
        else Effect(each.b, each.first.ratio, each.first.interval)
        for each in done.verdicts
    ]
    return Screen(depth, done.run_dir, done.rounds, tuple(effects))


def _row(of: Candidate, verdict: Verdict) -> MetricRow:
    """By which a refactor is judged: the primary metric; of a hedge, which helps the slowest
    requests, P95 where every round tells it."""
    at = saves_at(str(of.written["op"]))
    rows = [row for row in verdict.metrics if row.metric == f"response_p{at}"]
    whole = [row for row in rows if row.entry is None] or rows
    first = verdict.first
    assert first is not None
    return whole[0] if whole and at != saves_at("") else first


def _helps(of: Candidate, verdict: Verdict, alpha: float) -> bool:
    row = _row(of, verdict)
    return row.ratio is not None and row.ratio < 1 and row.p <= alpha


def _faster(of: Candidate, verdict: Verdict) -> bool:
    return _row(of, verdict).verdict is Outcome.FASTER


def _figure(of: Candidate, verdict: Verdict) -> str:
    row = _row(of, verdict)
    everywhere = " of all entries" if row.entry is None else ""
    what = f"{named(row.metric, row.entry)}{everywhere}"
    return f"{what} {changed(row)} {ends(row)}, {row.verdict.value}"


def _price(verdict: Verdict) -> str:
    worse = ", ".join(
        f"{named(g.metric, g.entry)} {change(g)}" for g in verdict.guardrails if g.worse
    )
    return f", but {worse}" if worse else ""


def _most_changed(of: Candidate, verdict: Verdict) -> MetricRow | None:
    """The entry's row in which it shows most, at the quantile that is the refactor's."""
    metric = f"response_p{saves_at(str(of.written['op']))}"
    rows = [row for row in verdict.metrics if row.metric == metric and row.entry and row.ratio]
    return max(rows, key=lambda row: abs(math.log(row.ratio or 1.0)), default=None)


def _saved(row: MetricRow) -> tuple[float, Interval]:
    """ms: the estimate, and what the interval says, as if the row were alone."""
    assert row.ratio is not None
    low, high = (None if end is None else row.a * (1 - end) for end in row.interval)
    return row.a * (1 - row.ratio), (high, low)


def _step(
    depth: int,
    of: Candidate,
    why: str,
    verdict: Verdict | None = None,
    *,
    confirmed: bool = False,
    held: bool = False,
) -> Step:
    row = None if verdict is None else _most_changed(of, verdict)
    estimate, saved = (None, None) if row is None else _saved(row)
    low, high = of.finding.saving_ms
    return Step(
        depth=depth,
        name=of.name,
        refactor=of.written,
        finding=_of(of.finding),
        predicted_ms=None if low is None or high is None else (low, high),
        entry=None if row is None else row.entry,
        quantile=saves_at(str(of.written["op"])),
        estimate_ms=estimate,
        saved_ms=saved,
        verdict=verdict,
        confirmed=confirmed,
        held=held,
        why=why,
    )


def _of(finding: Finding) -> Found:
    return Found(
        finding.kind, finding.fingerprint, finding.where, finding.text, finding.cost_ms.p50
    )


def told(course: Course) -> str:
    """The whole proof in a sentence."""
    held = [step for step in course.steps if step.held]
    if not course.steps:
        return "Nothing to prove: no finding proposes a refactor."
    among = f"{len(held)} of {plural(len(course.steps), 'refactor')} held"
    if not course.finished:
        return f"{among} so far; not everything has run."
    if course.final is None:
        return "No refactor held."
    (verdict,) = course.final.verdicts
    rows = [row for row in verdict.metrics if row.metric == "response_p50"]
    by_entry = [row for row in rows if row.entry is not None] or rows
    figures = ", ".join(
        f"{row.entry or 'P50'} {digits(row.a)} → {digits(row.b)} ms ({changed(row)} {ends(row)})"
        for row in by_entry
    )
    return f"{among}; together: {figures}, {verdict.verdict.value}{_price(verdict)}."
