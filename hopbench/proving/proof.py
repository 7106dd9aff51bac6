"""From the first look to the verdict on everything that held.

At each depth: what the scenario as it is now shows; each proposal by itself (the screen); those
that helped there once more, by fresh rounds; what holds is kept, unless it rules out something
better; and again from the top, while there are new findings. At last the baseline against all that
was kept, by rounds that selected none of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from analysis.figures import digits, plural
from hopbench.comparison.sentence import changed, ends
from hopbench.proving.candidates import Candidate, candidates, clash, combined
from hopbench.proving.course import ARMS, Course, Void, least_rounds
from hopbench.proving.judging import faster, figure, price, ratio_of, step_of
from hopbench.proving.screens import by_name, must_tell, screened, screened_together, together
from hopbench.proving.stages import Asked, Compared, Stages, concluding, confirming, looking
from hopbench.statistics.effect import fewest_pairs
from services.errors import BadInput
from services.scenario.model import Refactor

FINAL_PAIRS: Final = 12
"""Of the last comparison; fewer where the budget says so."""


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
            course.steps.append(
                step_of(depth, each, f"does not go with what has held: {error.text}")
            )
        else:
            found.append(each)
    return tuple(found)


def _tried(
    asked: Asked, stages: Stages, course: Course, depth: int, found: Sequence[Candidate]
) -> tuple[Candidate, ...]:
    """Those of ``found`` that held, the best first; all of them are among the steps."""
    if together(asked, stages, depth, len(found)):
        winners = screened_together(asked, stages, course, depth, found)
    else:
        winners = screened(asked, stages, course, depth, found)
    if not winners:
        return ()
    confirmed = stages.compared(f"{depth}-confirm", confirming(asked, course.kept, winners, depth))
    must_tell(f"{depth}-confirm", confirmed)
    fresh = by_name(confirmed)
    # What was affordable when the stage began stands.
    left_out = [each for each in winners if each.name not in fresh]
    better_first = sorted(
        (each for each in winners if each.name in fresh),
        key=lambda each: ratio_of(each, fresh[each.name]),
    )
    held: list[Candidate] = []
    for each in better_first:
        verdict = fresh[each.name]
        if not faster(each, verdict, asked.alpha, len(fresh)):
            why = f"not in fresh rounds: {figure(each, verdict)}"
            course.steps.append(step_of(depth, each, why, verdict, confirmed=True))
        elif (ruled := clash(asked.scenario, [*course.kept, *held], each)) is not None:
            other, because = ruled
            why = f"an alternative to {other.name}, which was kept: {because}"
            course.steps.append(step_of(depth, each, why, verdict, confirmed=True))
        else:
            held.append(each)
            why = figure(each, verdict) + price(verdict)
            course.steps.append(step_of(depth, each, why, verdict, confirmed=True, held=True))
    course.steps += [step_of(depth, each, "not confirmed: the budget") for each in left_out]
    return tuple(held)


def _concluded(asked: Asked, stages: Stages, course: Course) -> Compared:
    fewest = fewest_pairs(asked.alpha)
    pairs = max(FINAL_PAIRS, fewest)
    while pairs > fewest and not stages.fits(ARMS * pairs):
        pairs -= 2
    return stages.compared("final", concluding(asked, course.kept, pairs))


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
    return f"{among}; together: {figures}, {verdict.verdict.value}{price(verdict)}."
