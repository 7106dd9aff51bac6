"""What commands that run rounds have in common: from their flags to rounds that have ended."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer

from analysis.figures import plural
from hopbench import disk, engines
from hopbench.deploy.preparation import Prepared, lines
from hopbench.exits import Exit, Terminated
from hopbench.front import progress
from hopbench.front.output import Output, complain
from hopbench.host.awake import awake
from hopbench.results.summary import Summary, summarise
from hopbench.runs import directory as rundir
from hopbench.runs import plan
from hopbench.runs.directory import RunDir
from hopbench.runs.plan import RunPlan, Turn
from hopbench.runs.rounds import Course, Ended, execute
from services.errors import BadInput, CannotStart

TELL_ABOVE_MINUTES: Final = 0.5


@dataclass(frozen=True, slots=True)
class Sitting:
    """Of rounds that are run together: as of :class:`Course`."""

    enough: Callable[[], bool] | None = None
    resumes: bool = False


def named(scenario: str | None) -> str:
    if scenario is None:
        raise BadInput("which scenario?", hint="`hopbench list` names the bundled ones")
    return scenario


def given(context: typer.Context) -> dict[str, str]:
    """By parameter, how the command line spells it: of those that it sets."""
    return {
        str(parameter.name): parameter.opts[0]
        if parameter.param_type_name == "option"
        else "SCENARIO"
        for parameter in context.command.params
        if (source := context.get_parameter_source(str(parameter.name))) is not None
        and source.name == "COMMANDLINE"
    }


def resumed(
    given: Mapping[str, str], directory: Path, command: str, resumable: Collection[str]
) -> tuple[RunDir, RunPlan]:
    """The run that ``hopbench COMMAND`` has begun. Raises BadInput where another has, and for a
    flag of ``given`` that is the plan's, which is made already."""
    must_be_resumable(given, directory, command, resumable)
    run = rundir.opened(directory)
    planned = plan.read(run)
    if (began := begun_by(planned)) != command:
        raise BadInput(
            f"{directory} was begun by hopbench {began}",
            hint=f"hopbench {began} --resume {directory}",
        )
    rundir.must_take(run)
    return run, planned


def must_be_resumable(
    given: Mapping[str, str], directory: Path, command: str, resumable: Collection[str]
) -> None:
    """Raises BadInput for a flag of ``given`` that goes not with ``--resume``."""
    wrong = [flag for name, flag in given.items() if name not in resumable]
    if wrong:
        raise BadInput(
            f"--resume takes the scenario, and every setting, from its directory: {wrong[0]} "
            "cannot change it",
            hint=f"hopbench {command} --resume {directory}",
        )


def begun_by(planned: RunPlan) -> str:
    """The command."""
    return "run" if planned.design is None else "compare"


def executed(
    planned: RunPlan,
    turns: tuple[Turn, ...],
    directory: RunDir,
    output: Output,
    sitting: Sitting = Sitting(),
) -> Ended:
    simulated = engines.is_virtual(planned.settings)
    with (
        progress.rounds(planned, len(turns), output.notes) as show,
        nullcontext() if simulated else awake(),
    ):
        engine = engines.engine(planned.settings)
        ended = execute(
            Course(planned, turns, directory, engine, show, sitting.enough, sitting.resumes)
        )
    for message in ended.messages:
        complain(message)
    return ended


def analysed(planned: RunPlan, directory: RunDir, output: Output) -> Summary:
    with output.working("analysing"):
        return summarise(planned, directory)


@contextmanager
def kept(directory: RunDir, output: Output) -> Iterator[None]:
    """What ends the analysis is told together with the way to have it later. Raises CannotStart for
    a disk that refuses: what was measured is there."""
    again = f"hopbench report {directory.path}"
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        output.note(f"stopped; what was measured is kept: {again}")
        raise
    except OSError as error:
        if (refusal := disk.refusal(error)) is None:
            raise
        output.note(f"once there is room: {again}")
        raise CannotStart("report", str(refusal)) from error


def dry(prepared: Prepared, output: Output) -> Exit:
    output.document(prepared.document())
    planned, settings = prepared.plan, prepared.plan.settings
    output.show(f"{planned.scenario.name}: {told(prepared)}")
    output.show(
        f"engine {settings.engine}, tracing {'on' if settings.tracing else 'off'}"
        f" (ratio {settings.trace_ratio:g}), instrumentation {settings.instrumentation},"
        f" seed {planned.scenario.seed}"
    )
    for line in lines(prepared.starts):
        output.show(f"  {line}")
    for turn in prepared.turns:
        output.show(f"  round {turn.round}: {turn.variant} (pair {turn.pair})")
    return Exit.DONE


def told(prepared: Prepared) -> str:
    cost, rounds = prepared.estimate, len(prepared.turns)
    spans = "an unknown number of" if cost.spans is None else f"about {cost.spans:,}"
    where = f"{prepared.processes} processes"
    if prepared.deployment is not None:
        limits = sum(part.limit_mib or 0 for part in prepared.starts)
        count = sum(part.count for part in prepared.starts)
        where = f"{count} containers (memory limits {limits:,} MiB together)"
    design = prepared.plan.design
    most = "" if design is None or design.until is None else "at most "
    return (
        f"{most}{plural(rounds, 'round')}, about {cost.requests:,} requests and {spans} spans, "
        f"{where}, {prepared.memory_mb:,.0f} MB of memory, "
        f"{cost.disk_mb:,.0f} MB on disk, about {_time(cost.minutes)}"
    )


def _time(minutes: float) -> str:
    return f"{minutes:.1f} minutes" if minutes >= 2 else f"{minutes * 60:.0f} s"
