"""From the first look to the verdict on everything that held.

At each depth: what the scenario as it is now shows; each proposal by itself (the screen); those
that helped there once more, by fresh rounds; what holds is kept, unless it rules out something
better; and again from the top, while there are new findings. At last the baseline against all that
was kept, by rounds that selected none of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from analysis.figures import digits, plural
from analysis.findings.finding import Finding, saves_at
from hopbench.comparison.document import Interval, MetricRow, Verdict
from hopbench.comparison.sentence import change, changed, ends, named
from hopbench.proving.candidates import Candidate, candidates, clash, combined
from hopbench.proving.document import Effect, Found, Screen, Step
from hopbench.proving.stages import (
    FACTOR_ROUNDS,
    LOOKS,
    Asked,
    Compared,
    Looked,
    Stages,
    concluding,
    confirming,
    factoring,
    looking,
    rounds_of,
    screening,
)
from hopbench.statistics.effect import Outcome, fewest_pairs
from hopbench.statistics.screening import MOST, Effects, effects, limit
from services.errors import BadInput
from services.scenario.model import Refactor

MOST_AT_ONCE: Final = 6
"""Refactors that are screened one by one; more are screened together."""
FINAL_PAIRS: Final = 12
"""Twelve pairs tell a third of what six need to differ by; fewer where the budget says so."""
_ARMS: Final = 2
_LEAST_MS: Final = 1e-6
"""Errors below a nanosecond are none, in virtual time."""


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
    """Fill ``course``. Raises Void where no verdict can be reached, and whatever ends a stage."""
    tried: list[Refactor] = []
    for depth in range(1, asked.depth + 1):
        if depth > 1 and not stages.begun(f"{depth}-look") and not stages.fits(least_rounds(asked)):
            stages.note(f"the budget has no room for look {depth}")
            break
        try:
            found = _found(asked, stages, course, depth, tried)
            tried += [each.refactor for each in found]
            held = _tried(asked, stages, course, depth, found) if found else ()
        except Void as void:
            if not course.kept:
                raise
            # What held before is no worse for it.
            stages.note(str(void))
            break
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
    return 2 * rounds_of(asked, 1) + _last(asked)


def _last(asked: Asked) -> int:
    """Rounds of the shortest last comparison."""
    return _ARMS * fewest_pairs(asked.alpha)


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
    if _together(asked, stages, depth, len(found)):
        winners = _screened_together(asked, stages, course, depth, found)
    else:
        winners = _screened(asked, stages, course, depth, found)
    if not winners:
        return ()
    confirmed = stages.compared(f"{depth}-confirm", confirming(asked, course.kept, winners, depth))
    _must_tell(f"{depth}-confirm", confirmed)
    fresh = _by_name(confirmed)
    # What was affordable when the stage began stands.
    left_out = [each for each in winners if each.name not in fresh]
    better_first = sorted(
        (each for each in winners if each.name in fresh),
        key=lambda each: _ratio(each, fresh[each.name]),
    )
    held: list[Candidate] = []
    for each in better_first:
        verdict = fresh[each.name]
        if not _faster(each, verdict, asked.alpha, len(fresh)):
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
    course.steps += [_step(depth, each, "not confirmed: the budget") for each in left_out]
    return tuple(held)


def _together(asked: Asked, stages: Stages, depth: int, found: int) -> bool:
    """Whether so many are screened together: as the stage was begun, or as the budget allows."""
    if found <= MOST_AT_ONCE or stages.begun(f"{depth}-screen"):
        return False
    return stages.begun(f"{depth}-factors") or stages.fits(
        FACTOR_ROUNDS + rounds_of(asked, 1) + _last(asked)
    )


def _screened(
    asked: Asked, stages: Stages, course: Course, depth: int, found: Sequence[Candidate]
) -> Sequence[Candidate]:
    """One by one: those that helped."""
    count = _affordable(asked, stages, min(len(found), MOST_AT_ONCE), screens=2)
    screen = stages.compared(f"{depth}-screen", screening(asked, course.kept, found[:count], depth))
    _must_tell(f"{depth}-screen", screen)
    alone = _by_name(screen)
    course.screens.append(_screen(depth, screen))
    winners = []
    for each in found:
        verdict = alone.get(each.name)
        if verdict is None:
            course.steps.append(_step(depth, each, "not tried: the budget"))
        elif _helps(each, verdict, asked.alpha):
            winners.append(each)
        else:
            why = f"not in the screen: {_figure(each, verdict)}"
            course.steps.append(_step(depth, each, why, verdict))
    return winners


def _screened_together(
    asked: Asked, stages: Stages, course: Course, depth: int, found: Sequence[Candidate]
) -> Sequence[Candidate]:
    """By twelve runs of several at once: those that helped, the best first."""
    chosen: list[Candidate] = []
    # What shows at the slowest requests does not add up in the middle ones.
    late = [each for each in found if _late(each)]
    for each in found:
        if each in late:
            continue
        if (ruled := clash(asked.scenario, [*course.kept, *chosen], each)) is not None:
            why = f"an alternative to {ruled[0].name}, which promises more: {ruled[1]}"
            course.steps.append(_step(depth, each, why))
        elif len(chosen) == MOST:
            course.steps.append(_step(depth, each, f"not tried: {MOST} at once are the most"))
        else:
            chosen.append(each)
    if not chosen:
        return late
    done = stages.factored(f"{depth}-factors", factoring(asked, course.kept, chosen, depth))
    told = {name: of for name, of in done.p50_ms.items() if len(of) > 1}
    if not told:
        raise Void(f"{depth}-factors is void: no two replicates without a void round")
    by_entry = {name: effects(of, len(chosen)) for name, of in told.items()}
    shown = [_effect(each, at, by_entry, asked.alpha) for at, each in enumerate(chosen)]
    departures = [each.departure for each in by_entry.values() if each.departure is not None]
    course.screens.append(
        Screen(
            *(depth, done.run_dir, done.rounds, "plackett_burman", tuple(shown)),
            max(departures, default=None),
        )
    )
    winners = []
    for each, effect in zip(chosen, shown, strict=True):
        assert effect.interval_ms is not None
        if (effect.interval_ms[0] or 0.0) > 0:
            winners.append((each, effect))
        else:
            low, high = (digits(end or 0.0) for end in effect.interval_ms)
            why = f"not in the screen: {digits(effect.saved_ms or 0.0)} ms [{low}, {high}] of P50"
            step = replace(
                _step(depth, each, why),
                entry=effect.entry,
                estimate_ms=effect.saved_ms,
                saved_ms=effect.interval_ms,
            )
            course.steps.append(step)
    best_first = sorted(winners, key=lambda pair: -(pair[1].saved_ms or 0.0))
    going_on = [*(each for each, _ in best_first), *late]
    if not going_on or stages.begun(f"{depth}-confirm"):
        return going_on
    count = _affordable(asked, stages, len(going_on), screens=1)
    course.steps += [_step(depth, each, "not confirmed: the budget") for each in going_on[count:]]
    return going_on[:count]


def _effect(of: Candidate, at: int, by_entry: Mapping[str, Effects], alpha: float) -> Effect:
    """Of the factor ``at``, at the entry where it shows most."""
    name = max(by_entry, key=lambda entry: _errors(by_entry[entry], at))
    shown = by_entry[name]
    # Any of the entries may show by chance what is not there.
    around = limit(alpha / len(by_entry), shown.degrees) * shown.error
    saved = -float(shown.estimates[at])
    return Effect(of.name, None, (None, None), name, saved, (saved - around, saved + around))


def _errors(of: Effects, at: int) -> float:
    """How many standard errors an effect is from 0."""
    return abs(float(of.estimates[at])) / max(of.error, _LEAST_MS)


def _affordable(asked: Asked, stages: Stages, count: int, *, screens: int) -> int:
    """How many, of those that promise most, can be measured as often as that, with a verdict on all
    of them still to come."""
    while count > 1 and not stages.fits(screens * rounds_of(asked, count) + _last(asked)):
        count -= 1
    return count


def _concluded(asked: Asked, stages: Stages, course: Course) -> Compared:
    fewest = fewest_pairs(asked.alpha)
    pairs = max(FINAL_PAIRS, fewest)
    while pairs > fewest and not stages.fits(_ARMS * pairs):
        pairs -= 2
    return stages.compared("final", concluding(asked, course.kept, pairs))


def _must_tell(stage: str, done: Compared) -> None:
    """Raises Void where it tells of no arm. One arm alone may have nothing to tell: requests that
    never end."""
    if all(each.verdict is Outcome.VOID for each in done.verdicts):
        why = "; ".join(doubt.text for doubt in done.verdicts[0].doubts if doubt.voids)
        raise Void(f"{stage} is void: {why} ({done.run_dir})")


def _by_name(done: Compared) -> dict[str, Verdict]:
    return {each.b: each for each in done.verdicts}


def _screen(depth: int, done: Compared) -> Screen:
    shown = [
        Effect(each.b, None, (None, None))
        if each.first is None
        else Effect(each.b, each.first.ratio, each.first.interval)
        for each in done.verdicts
    ]
    return Screen(depth, done.run_dir, done.rounds, "one_by_one", tuple(shown), None)


def _row(of: Candidate, verdict: Verdict) -> MetricRow | None:
    """By which a refactor is judged: the primary metric; of a hedge, which helps the slowest
    requests, P95 where every round tells it. None of what has no verdict."""
    if _late(of):
        rows = [row for row in verdict.metrics if row.metric == f"response_p{_at(of)}"]
        whole = [row for row in rows if row.entry is None] or rows
        if whole:
            return whole[0]
    return verdict.first


def _ratio(of: Candidate, verdict: Verdict) -> float:
    row = _row(of, verdict)
    return 1.0 if row is None or row.ratio is None else row.ratio


def _at(of: Candidate) -> int:
    return saves_at(str(of.written["op"]))


def _late(of: Candidate) -> bool:
    """Whether it shows at the slowest requests."""
    return _at(of) != saves_at("")


def _helps(of: Candidate, verdict: Verdict, alpha: float) -> bool:
    row = _row(of, verdict)
    return row is not None and row.ratio is not None and row.ratio < 1 and row.p <= alpha


def _faster(of: Candidate, verdict: Verdict, alpha: float, family: int) -> bool:
    """By the family of the refactors that are confirmed together. The primaries are that already;
    another metric is by its own p and Bonferroni: among all the secondary ones it could never be
    called."""
    if _late(of):
        return _helps(of, verdict, alpha / family)
    return verdict.verdict is Outcome.FASTER


def _figure(of: Candidate, verdict: Verdict) -> str:
    row = _row(of, verdict)
    if row is None:
        return "; ".join(doubt.text for doubt in verdict.doubts if doubt.voids)
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
    metric = f"response_p{_at(of)}"
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
        quantile=_at(of),
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
    among = f"{len(held)} of {plural(len(course.steps), 'refactor')} held"
    if not course.finished:
        return f"{among} so far; not everything has run."
    if not course.steps:
        return "Nothing to prove: no finding proposes a refactor."
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
