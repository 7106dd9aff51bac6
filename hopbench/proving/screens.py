"""Rounds that select: which refactors are worth fresh ones.

Few are measured one by one. Many are measured several at a time, by twelve runs
(hopbench/statistics/screening.py); one of alternatives takes part, and what shows at the slowest
requests alone goes on without a screen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from analysis.figures import digits
from hopbench.comparison.document import Verdict
from hopbench.proving.candidates import Candidate, clash
from hopbench.proving.course import Course, Void, last_rounds
from hopbench.proving.document import Effect, Screen
from hopbench.proving.judging import figure, helps, late, step_of
from hopbench.proving.stages import (
    FACTOR_ROUNDS,
    Asked,
    Compared,
    Stages,
    factoring,
    rounds_of,
    screening,
)
from hopbench.statistics.effect import Outcome
from hopbench.statistics.screening import MOST, Effects, effects, limit

MOST_AT_ONCE: Final = 6
"""Refactors that are screened one by one; more are screened together."""
_LEAST_MS: Final = 1e-6
"""Errors below a nanosecond are none, in virtual time."""


def together(asked: Asked, stages: Stages, depth: int, found: int) -> bool:
    """Whether so many are screened together: as the stage was begun, or as the budget allows."""
    if found <= MOST_AT_ONCE or stages.begun(f"{depth}-screen"):
        return False
    return stages.begun(f"{depth}-factors") or stages.fits(
        FACTOR_ROUNDS + rounds_of(asked, 1) + last_rounds(asked)
    )


def screened(
    asked: Asked, stages: Stages, course: Course, depth: int, found: Sequence[Candidate]
) -> Sequence[Candidate]:
    """One by one: those that helped."""
    count = affordable(asked, stages, min(len(found), MOST_AT_ONCE), screens=2)
    screen = stages.compared(f"{depth}-screen", screening(asked, course.kept, found[:count], depth))
    must_tell(f"{depth}-screen", screen)
    alone = by_name(screen)
    course.screens.append(_screen(depth, screen))
    winners = []
    for each in found:
        verdict = alone.get(each.name)
        if verdict is None:
            course.steps.append(step_of(depth, each, "not tried: the budget"))
        elif helps(each, verdict, asked.alpha):
            winners.append(each)
        else:
            why = f"not in the screen: {figure(each, verdict)}"
            course.steps.append(step_of(depth, each, why, verdict))
    return winners


def screened_together(
    asked: Asked, stages: Stages, course: Course, depth: int, found: Sequence[Candidate]
) -> Sequence[Candidate]:
    """By twelve runs of several at once: those that helped, the best first."""
    chosen: list[Candidate] = []
    # What shows at the slowest requests does not add up in the middle ones.
    tail = [each for each in found if late(each)]
    for each in found:
        if each in tail:
            continue
        if (ruled := clash(asked.scenario, [*course.kept, *chosen], each)) is not None:
            why = f"an alternative to {ruled[0].name}, which promises more: {ruled[1]}"
            course.steps.append(step_of(depth, each, why))
        elif len(chosen) == MOST:
            course.steps.append(step_of(depth, each, f"not tried: {MOST} at once are the most"))
        else:
            chosen.append(each)
    if not chosen:
        return tail
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
                step_of(depth, each, why),
                entry=effect.entry,
                estimate_ms=effect.saved_ms,
                saved_ms=effect.interval_ms,
            )
            course.steps.append(step)
    best_first = sorted(winners, key=lambda pair: -(pair[1].saved_ms or 0.0))
    going_on = [*(each for each, _ in best_first), *tail]
    if not going_on or stages.begun(f"{depth}-confirm"):
        return going_on
    count = affordable(asked, stages, len(going_on), screens=1)
    course.steps += [step_of(depth, each, "not confirmed: the budget") for each in going_on[count:]]
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


def affordable(asked: Asked, stages: Stages, count: int, *, screens: int) -> int:
    """How many, of those that promise most, can be measured as often as that, with a verdict on all
    of them still to come."""
    while count > 1 and not stages.fits(screens * rounds_of(asked, count) + last_rounds(asked)):
        count -= 1
    return count


def must_tell(stage: str, done: Compared) -> None:
    """Raises Void where it tells of no arm. One arm alone may have nothing to tell: requests that
    never end."""
    if all(each.verdict is Outcome.VOID for each in done.verdicts):
        why = "; ".join(doubt.text for doubt in done.verdicts[0].doubts if doubt.voids)
        raise Void(f"{stage} is void: {why} ({done.run_dir})")


def by_name(done: Compared) -> dict[str, Verdict]:
    return {each.b: each for each in done.verdicts}


def _screen(depth: int, done: Compared) -> Screen:
    shown = [
        Effect(each.b, None, (None, None))
        if each.first is None
        else Effect(each.b, each.first.ratio, each.first.interval)
        for each in done.verdicts
    ]
    return Screen(depth, done.run_dir, done.rounds, "one_by_one", tuple(shown), None)
