"""A run: rounds of every variant in their order, each saved as it ends; stopped at any moment.

What a round measured is on disk before the next one starts, so an interruption loses nothing but
the round that it hits; and that one's spools stay, for ``hopbench report``.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from hopbench import disk
from hopbench.engines.port import Engine, Evidence
from hopbench.exits import Exit
from hopbench.runs import evidence, trial
from hopbench.runs.directory import RunDir
from hopbench.runs.environment import Environment, environment
from hopbench.runs.evidence import Written
from hopbench.runs.plan import RunPlan, Turn
from services import codec
from services.errors import BadInput, CannotStart
from services.scenario.file.writer import to_yaml
from services.system.cores import usable_cores

STOPS: Final = {signal.SIGINT: Exit.INTERRUPTED, signal.SIGTERM: Exit.TERMINATED}

RoundProgress = Callable[[Turn, str, float], None]
"""The round, its phase (hopbench/engines/port.py) and the share of the phase that is done."""


@dataclass(slots=True)
class Ended:
    """How the rounds went. ``code`` is DONE, BROKEN, INTERRUPTED or TERMINATED."""

    code: Exit = Exit.DONE
    messages: list[str] = field(default_factory=list)
    """What broke, for people; may have the tail of a log."""
    rounds: int = 0
    """How many came to an end of their own."""
    could_start: bool = True
    """False where parts did not come up before any round had ended."""


def begin(plan: RunPlan, run: RunDir) -> None:
    """Write down what is to run, before anything is started."""
    with disk.whole(run.scenario) as file:
        file.write(plan.source.encode())
    for arm, scenario in plan.others.items():
        with disk.whole(run.other(arm)) as file:
            file.write(to_yaml(scenario).encode())
    # Last: it is what makes the directory a run's.
    disk.write_json(run.plan, plan.document())


def missing(plan: RunPlan, run: RunDir) -> tuple[Turn, ...]:
    """The rounds that have not run to their end, in order."""
    return tuple(
        turn for turn in plan.order if not evidence.is_done(run.trial(turn.round, turn.variant))
    )


@dataclass(frozen=True, slots=True)
class Course:
    """The rounds to run, and what they run on."""

    plan: RunPlan
    turns: tuple[Turn, ...]
    run: RunDir
    engine: Engine
    """Opened and closed by :func:`execute`."""
    progress: RoundProgress
    enough: Callable[[], bool] | None = None
    """Asked after each round: whether the ones that are left need not run."""
    resumes: bool = False
    """Whether rounds of an earlier sitting are there, which these will be held against."""


def execute(course: Course) -> Ended:
    """Run the rounds in order. Whoever calls it has claimed the run.

    SIGINT and SIGTERM end the round under way; everything started is stopped before this returns.

    Raises BadInput for a comparison whose earlier rounds ran in another environment.
    """
    ended = Ended()
    with asyncio.Runner() as runner:
        runner.run(_until_stopped(course, ended))
    return ended


async def _until_stopped(course: Course, ended: Ended) -> None:
    rounds = asyncio.create_task(_rounds(course, ended))
    with _stopping(rounds, ended):
        try:
            await rounds
        except asyncio.CancelledError:
            if ended.code not in STOPS.values():
                raise
        except CannotStart as error:
            ended.code = Exit.BROKEN
            ended.could_start = ended.rounds > 0
            ended.messages.append(f"{error}\n{error.log}".rstrip())
        except OSError as error:
            if (refusal := disk.refusal(error)) is None:
                raise
            ended.code = Exit.BROKEN
            ended.messages.append(str(refusal))


@contextmanager
def _stopping(task: asyncio.Task[None], ended: Ended) -> Iterator[None]:
    """A signal cancels ``task``; further ones change nothing, so that stopping can finish."""
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in STOPS}

    def stop(code: Exit) -> None:
        if ended.code not in STOPS.values():
            ended.code = code
            task.cancel()

    for number, code in STOPS.items():
        loop.add_signal_handler(number, stop, code)
    try:
        yield
    finally:
        for number in STOPS:
            loop.remove_signal_handler(number)
            # The loop leaves the default behind, by which SIGTERM would just kill.
            signal.signal(number, before[number])


async def _rounds(course: Course, ended: Ended) -> None:
    plan, engine = course.plan, course.engine
    if not course.turns:
        return
    cores = usable_cores()
    try:
        await engine.open(tuple(plan.scenarios.values()), course.run.path.absolute())
        if plan.design is not None:
            _must_be_as_before(course, cores)
        if course.resumes:
            course.run.resumed.touch()
        for turns in _sittings(course):
            await _sitting(course, turns, cores, ended)
            if course.enough is not None and course.enough():
                break
    finally:
        await engine.close()


def _must_be_as_before(course: Course, cores: frozenset[int]) -> None:
    """Asked with the engine open: which broker it is, and how cores sleep, is known then."""
    then = evidence.read_file(Environment, course.run.environment)
    if then is None:
        return
    plan, place = course.plan, course.run.path
    changes = environment(plan.settings, plan.scenario.seed, course.engine, cores).changes(then)
    if changes:
        raise BadInput(
            f"{place} was measured in another environment: {'; '.join(changes)}",
            hint=f"what there is: hopbench report {place}; or measure all of it anew: "
            f"hopbench compare {course.run.scenario}",
        )


def _sittings(course: Course) -> Iterator[tuple[Turn, ...]]:
    """Rounds that run at once: one, or both of a duet's pair, even where one alone is missing."""
    if course.plan.at_once == 1:
        yield from ((turn,) for turn in course.turns)
        return
    pairs = dict.fromkeys(turn.pair for turn in course.turns)
    for pair in pairs:
        yield tuple(turn for turn in course.plan.order if turn.pair == pair)


async def _sitting(
    course: Course, turns: Sequence[Turn], cores: frozenset[int], ended: Ended
) -> None:
    places = [course.run.trial(turn.round, turn.variant) for turn in turns]
    written = [evidence.written(place) for place in places]
    repeats = [0 if before is None else before.repeats + 1 for before in written]
    for place in places:
        trial.clear(place)
        around = environment(course.plan.settings, course.plan.scenario.seed, course.engine, cores)
        disk.write_json(place.environment, codec.plain(around))
        if not course.run.environment.exists():
            disk.write_json(course.run.environment, codec.plain(around))
    plans = [course.plan.round_plan(turn) for turn in turns]
    tell = partial(course.progress, turns[0])
    if len(plans) == 1:
        found: tuple[Evidence, ...] = (
            await course.engine.round(plans[0], places[0].path.absolute(), tell),
        )
    else:
        found = await course.engine.sitting(
            plans, [place.path.absolute() for place in places], tell
        )
    for turn, each, place, repeated in zip(turns, found, places, repeats, strict=True):
        if each.broken is not None:
            # Before anything is written: a full disk is a reason to break, and refuses this, too.
            ended.code = Exit.BROKEN
            ended.messages.append(f"{turn.variant}, round {turn.round}: {each.broken}")
        seed = str(turn.seed)
        evidence.ended(place, Written(turn.variant, turn.round, turn.pair, seed, each, repeated))
        ended.rounds += 1
    for turn, each, place in zip(turns, found, places, strict=True):
        course.progress(turn, "read", 0.0)
        trial.settle(place, turn.variant, each.slices)
        course.progress(turn, "read", 1.0)
