"""``hopbench run``: from a scenario to findings, and the variants side by side."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from hopbench import disk, engines
from hopbench.deploy.compose_run import Order, drive
from hopbench.deploy.preparation import Prepared, lines, prepare
from hopbench.exits import Exit, Terminated, worst
from hopbench.front import ending, options, progress
from hopbench.front.output import Output, complain
from hopbench.front.settings import run_settings, with_load
from hopbench.host.awake import awake
from hopbench.results import gate_values
from hopbench.results.gates import Gate, check, parse
from hopbench.results.summary import Summary, summarise
from hopbench.runs import directory as rundir
from hopbench.runs import plan
from hopbench.runs.directory import RunDir
from hopbench.runs.plan import RunPlan, Turn
from hopbench.runs.rounds import STOPS, Course, Ended, begin, execute, missing
from services.errors import BadInput, CannotStart
from services.scenario.file.parser import load

TELL_ABOVE_MINUTES: Final = 0.5
RESUMABLE: Final = {
    "resume",
    "json",
    "fail_on",
    "dry_run",
    "strict",
    "quiet",
    "keep",
    "repeat_void",
}
"""Flags that go with ``--resume``; all others are the plan's, which is made already."""
OWN: Final = {"scenario", "engine", "resume", "out", "json", "web", "keep"}
"""With ``--engine compose``, what the host sees to itself."""
CONTAINERS: Final = {
    "broker": "Kafka",
    "jaeger": "Jaeger",
    "jaeger_otlp": "Jaeger",
    "jaeger_ui": "Jaeger",
}
"""What is a container of its own with that engine."""


def command(
    context: typer.Context,
    scenario: Annotated[
        str | None, typer.Argument(help=options.SCENARIO_HELP, show_default=False)
    ] = None,
    *,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="DIR", help="Run the rounds that DIR still lacks."),
    ] = None,
    variant: options.Variants = None,
    rounds: options.Rounds = 1,
    rate: options.Rate = None,
    duration: options.Duration = None,
    warmup: options.Warmup = None,
    users: options.Users = None,
    seed: options.Seed = None,
    engine: options.Engine = "local",
    broker: options.Broker = "embedded",
    jaeger: options.Jaeger = None,
    jaeger_otlp: options.JaegerOtlp = None,
    jaeger_ui: options.JaegerUi = None,
    trace_ratio: options.TraceRatio = options.TRACE_RATIO,
    tracing: options.Tracing = "on",
    instrumentation: options.Instrumentation = "lean",
    workers: options.Workers = 1,
    web: options.Web = None,
    out: options.Out = None,
    json: options.Json = None,
    fail_on: options.FailOn = None,
    dry_run: options.DryRun = False,
    strict: options.Strict = False,
    repeat_void: options.RepeatVoid = 0,
    quiet: options.Quiet = False,
    keep: options.Keep = False,
) -> Exit:
    """Build a scenario out of real services, load it, trace it, and say what is wrong with it.

    Runs the baseline and every variant, or those that --variant names, in interleaved rounds.
    """
    output = Output(json, quiet)
    gates = [parse(text) for text in fail_on or ()]
    given = _given(context)
    directory: RunDir | None = None
    text: str | None = None
    if resume is None:
        loaded = load(_named(scenario))
        text = loaded.text
        planned = plan.plan_of(
            with_load(
                loaded.scenario, rate=rate, duration=duration, warmup=warmup, users=users, seed=seed
            ),
            loaded.sha256,
            variants=tuple(variant or ()),
            rounds=rounds,
            settings=run_settings(
                engine=engine,
                broker=broker,
                jaeger=jaeger,
                jaeger_otlp=jaeger_otlp,
                jaeger_ui=jaeger_ui,
                trace_ratio=trace_ratio,
                tracing=tracing,
                instrumentation=instrumentation,
                workers=workers,
                web=web,
            ),
        )
        turns = planned.order
    else:
        directory = _resumed(given, resume)
        planned = plan.read(directory)
        turns = missing(planned, directory)
    check(gates, gate_values.planned(planned.scenarios))
    prepared = prepare(planned, turns, os.environ)
    if keep and prepared.deployment is None:
        raise BadInput("--keep is about containers", hint="it goes with --engine compose alone")
    if prepared.deployment is None:
        prepared.check(os.environ)
    if dry_run:
        return _dry(prepared, output)
    if prepared.deployment is not None:
        flags = _passed_on(context, given)
        return drive(Order(prepared, prepared.deployment, text, flags, resume, out, keep, output))
    if prepared.estimate.minutes > TELL_ABOVE_MINUTES:
        output.note(_told(prepared))
    if directory is None:
        directory = rundir.create(planned.scenario.name, datetime.now(), out)
        begin(planned, directory)
    return _run(
        prepared,
        directory,
        gates,
        output,
        strict=strict,
        repeat_void=repeat_void,
        fresh=resume is None,
    )


def _run(
    prepared: Prepared,
    directory: RunDir,
    gates: list[Gate],
    output: Output,
    *,
    strict: bool,
    repeat_void: int,
    fresh: bool,
) -> Exit:
    planned = prepared.plan
    with rundir.claimed(directory):
        # What was missing before somebody else let go of the run may be there by now.
        turns = prepared.turns if fresh else missing(planned, directory)
        ended = _executed(planned, turns, directory, output)
        if fresh and not ended.could_start:
            rundir.discard(directory)
            return ended.code
        with _kept(directory, output):
            summary = _analysed(planned, directory, output)
            while ended.code is Exit.DONE and repeat_void and (void := _void(planned, summary)):
                again = void[:repeat_void]
                repeat_void -= len(again)
                output.note(f"{len(void)} of {len(planned.order)} rounds are void: once more")
                ended = _executed(planned, again, directory, output)
                summary = _analysed(planned, directory, output)
            ending.show(summary, directory, output)
    code = ending.code(planned, summary, gates, output, strict=strict)
    if ended.code in STOPS.values():
        output.note(f"stopped; continue with: hopbench run --resume {directory.path}")
    if ended.code is Exit.BROKEN:
        output.note(f"to repeat what broke: hopbench run --resume {directory.path}")
    return worst([ended.code, code])


def _executed(
    planned: RunPlan, turns: tuple[Turn, ...], directory: RunDir, output: Output
) -> Ended:
    simulated = engines.is_virtual(planned.settings)
    with (
        progress.rounds(planned, len(turns), output.notes) as show,
        nullcontext() if simulated else awake(),
    ):
        engine = engines.engine(planned.settings)
        ended = execute(Course(planned, turns, directory, engine, show))
    for message in ended.messages:
        complain(message)
    return ended


def _analysed(planned: RunPlan, directory: RunDir, output: Output) -> Summary:
    with output.working("analysing"):
        return summarise(planned, directory)


def _void(planned: RunPlan, summary: Summary) -> tuple[Turn, ...]:
    void = {trial.round for trial in summary.trials if trial.void}
    return tuple(turn for turn in planned.order if turn.round in void)


@contextmanager
def _kept(directory: RunDir, output: Output) -> Iterator[None]:
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


def _named(scenario: str | None) -> str:
    if scenario is None:
        raise BadInput("which scenario?", hint="`hopbench list` names the bundled ones")
    return scenario


def _given(context: typer.Context) -> dict[str, str]:
    """By parameter, how the command line spells it: of those that it sets."""
    return {
        str(parameter.name): parameter.opts[0]
        if parameter.param_type_name == "option"
        else "SCENARIO"
        for parameter in context.command.params
        if (source := context.get_parameter_source(str(parameter.name))) is not None
        and source.name == "COMMANDLINE"
    }


def _resumed(given: Mapping[str, str], directory: Path) -> RunDir:
    wrong = [flag for name, flag in given.items() if name not in RESUMABLE]
    if wrong:
        raise BadInput(
            f"--resume takes the scenario, and every setting, from its directory: {wrong[0]} "
            "cannot change it",
            hint=f"hopbench run --resume {directory}",
        )
    run = rundir.opened(directory)
    rundir.must_take(run)
    return run


def _passed_on(context: typer.Context, given: Mapping[str, str]) -> tuple[str, ...]:
    """The flags of the command line, as the bench in its container is given them. Raises BadInput
    for one that names a part which is a container."""
    words: list[str] = []
    for name, flag in given.items():
        if name in OWN:
            continue
        if name in CONTAINERS:
            raise BadInput(
                f"{flag}: with --engine compose {CONTAINERS[name]} is a container of its own",
                hint="leave it out, or take --engine local",
            )
        value = context.params[name]
        if value is True:
            words.append(flag)
        elif isinstance(value, list | tuple):
            words += [f"{flag}={one}" for one in value]
        elif value is not False:
            words.append(f"{flag}={value}")
    return tuple(words)


def _dry(prepared: Prepared, output: Output) -> Exit:
    output.document(prepared.document())
    planned, settings = prepared.plan, prepared.plan.settings
    output.show(f"{planned.scenario.name}: {_told(prepared)}")
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


def _told(prepared: Prepared) -> str:
    cost, rounds = prepared.estimate, len(prepared.turns)
    spans = "an unknown number of" if cost.spans is None else f"about {cost.spans:,}"
    where = f"{prepared.processes} processes"
    if prepared.deployment is not None:
        limits = sum(part.limit_mib or 0 for part in prepared.starts)
        count = sum(part.count for part in prepared.starts)
        where = f"{count} containers (memory limits {limits:,} MiB together)"
    return (
        f"{rounds} round{'s' if rounds != 1 else ''}, about {cost.requests:,} requests and {spans} "
        f"spans, {where}, {prepared.memory_mb:,.0f} MB of memory, "
        f"{cost.disk_mb:,.0f} MB on disk, about {_time(cost.minutes)}"
    )


def _time(minutes: float) -> str:
    return f"{minutes:.1f} minutes" if minutes >= 2 else f"{minutes * 60:.0f} s"
