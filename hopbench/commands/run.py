"""``hopbench run``: from a scenario to findings, and the variants side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from hopbench import disk, engines
from hopbench.deploy import starts
from hopbench.deploy.arguments import passed_on
from hopbench.deploy.deployment import needed_mb
from hopbench.deploy.drive import Order, drive, image_of
from hopbench.engines.attached import places
from hopbench.engines.port import Settings
from hopbench.exits import Exit, Terminated, worst
from hopbench.front import ending, options, progress
from hopbench.front.output import Output, complain
from hopbench.host.memory import available_mb
from hopbench.results import gate_values
from hopbench.results.gates import Gate, check, parse
from hopbench.results.summary import summarise
from hopbench.runs import directory as rundir
from hopbench.runs import memory, plan, retention
from hopbench.runs.directory import RunDir
from hopbench.runs.estimate import Estimate, estimate
from hopbench.runs.limits import Limits
from hopbench.runs.plan import RunPlan, Turn
from hopbench.runs.rounds import STOPS, Course, begin, execute, missing
from services.errors import BadInput, CannotStart
from services.scenario.file.parser import Loaded, load
from services.scenario.model import Scenario

TELL_ABOVE_MINUTES: Final = 0.5
HERE: Final = ("local", "virtual")
"""Engines whose services take the memory of this machine, and of this process's own view of it."""
RESUMABLE: Final = {"resume", "json", "fail_on", "dry_run", "strict", "quiet", "keep"}
"""Flags that go with ``--resume``; all others are the plan's, which is made already."""


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
    quiet: options.Quiet = False,
    keep: options.Keep = False,
) -> Exit:
    """Build a scenario out of real services, load it, trace it, and say what is wrong with it.

    Runs the baseline and every variant, or those that --variant names, in interleaved rounds.
    """
    output = Output(json, quiet)
    gates = [parse(text) for text in fail_on or ()]
    if resume is not None:
        loaded = None
        directory, planned = _resumed(context, resume)
    else:
        loaded = load(_named(scenario))
        directory = None
        planned = _planned(
            loaded,
            lambda base: options.with_load(base, rate, duration, warmup, seed),
            tuple(variant or ()),
            rounds,
            options.settings(
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
    driven = planned.settings.engine == "compose" and not places.are_given(os.environ)
    if keep and not driven:
        raise BadInput("--keep is about containers", hint="it goes with --engine compose alone")
    check(gates, gate_values.planned(planned))
    turns = planned.order if directory is None else missing(planned, directory)
    cost = estimate(planned, len(turns))
    if dry_run:
        return _dry(planned, turns, cost, output, driven=driven)
    if driven:
        flags = passed_on(context)
        text = None if loaded is None else loaded.text
        return drive(Order(planned, cost, text, flags, resume, out, web, keep, output))
    engines.check(planned.settings, planned.scenarios.values())
    retention.check(cost, planned.settings, os.environ)
    if planned.settings.engine in HERE:
        memory.check(cost, available_mb())
    if cost.minutes > TELL_ABOVE_MINUTES:
        output.note(_told(cost, len(turns)))
    if directory is None:
        directory = rundir.create(planned.scenario.name, datetime.now(), out)
        begin(planned, directory)
    return _run(planned, turns, directory, gates, output, strict=strict)


def _run(
    planned: RunPlan,
    turns: tuple[Turn, ...],
    directory: RunDir,
    gates: list[Gate],
    output: Output,
    *,
    strict: bool,
) -> Exit:
    with rundir.claimed(directory):
        with progress.rounds(planned, len(turns), output.notes) as show:
            engine = engines.engine(planned.settings)
            ended = execute(Course(planned, turns, directory, engine, show))
        for message in ended.messages:
            complain(message)
        with _kept(directory, output):
            with output.working("analysing"):
                summary = summarise(planned, directory)
            ending.show(summary, directory, output)
    code = ending.code(planned, summary, gates, output, strict=strict)
    if ended.code in STOPS.values():
        output.note(f"stopped; continue with: hopbench run --resume {directory.path}")
    if ended.code is Exit.BROKEN:
        output.note(f"to repeat what broke: hopbench run --resume {directory.path}")
    return worst([ended.code, code])


@contextmanager
def _kept(directory: RunDir, output: Output) -> Iterator[None]:
    """What ends the analysis is told together with the way to have it later. Raises CannotStart for
    a disk that refuses: what was measured is there."""
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        output.note(f"stopped; what was measured is kept: hopbench report {directory.path}")
        raise
    except OSError as error:
        if (refusal := disk.refusal(error)) is None:
            raise
        output.note(f"once there is room: hopbench report {directory.path}")
        raise CannotStart("report", str(refusal)) from error


def _named(scenario: str | None) -> str:
    if scenario is None:
        raise BadInput("which scenario?", hint="`hopbench list` names the bundled ones")
    return scenario


def _resumed(context: typer.Context, directory: Path) -> tuple[RunDir | None, RunPlan]:
    given = [
        parameter.opts[0] if parameter.param_type_name == "option" else "SCENARIO"
        for parameter in context.command.params
        if parameter.name not in RESUMABLE
        and (source := context.get_parameter_source(str(parameter.name))) is not None
        and source.name == "COMMANDLINE"
    ]
    if given:
        raise BadInput(
            f"--resume takes the scenario, and every setting, from its directory: {given[0]} "
            "cannot change it",
            hint=f"hopbench run --resume {directory}",
        )
    run_dir = rundir.opened(directory)
    disk.must_take(run_dir.path)
    return run_dir, plan.read(run_dir)


def _planned(
    loaded: Loaded,
    changed: Callable[[Scenario], Scenario],
    variants: tuple[str, ...],
    rounds: int,
    settings: Settings,
) -> RunPlan:
    return plan.plan_of(
        changed(loaded.scenario),
        loaded.sha256,
        variants=variants,
        rounds=rounds,
        settings=settings,
        limits=Limits(),
    )


def _dry(
    planned: RunPlan, turns: tuple[Turn, ...], cost: Estimate, output: Output, *, driven: bool
) -> Exit:
    if driven:
        parts = starts.containers(planned, cost, image_of(os.environ))
        cost = replace(cost, memory_mb=round(needed_mb(planned, cost), 1))
    else:
        parts = starts.processes(planned)
    output.document(
        {
            **planned.document(),
            "estimate": cost.document(),
            "starts": [part.document() for part in parts],
        }
    )
    settings = planned.settings
    where = _containers(parts) if driven else None
    output.show(f"{planned.scenario.name}: {_told(cost, len(turns), where)}")
    output.show(
        f"engine {settings.engine}, tracing {'on' if settings.tracing else 'off'}"
        f" (ratio {settings.trace_ratio:g}), instrumentation {settings.instrumentation},"
        f" seed {planned.scenario.seed}"
    )
    for line in starts.lines(parts):
        output.show(f"  {line}")
    for turn in turns:
        output.show(f"  round {turn.round}: {turn.variant} (pair {turn.pair})")
    return Exit.DONE


def _containers(parts: tuple[starts.Started, ...]) -> str:
    limits = sum(part.limit_mib or 0 for part in parts)
    count = sum(part.count for part in parts)
    return f"{count} containers (memory limits {limits:,} MiB together)"


def _told(cost: Estimate, rounds: int, where: str | None = None) -> str:
    spans = "an unknown number of" if cost.spans is None else f"about {cost.spans:,}"
    return (
        f"{rounds} round{'s' if rounds != 1 else ''}, about {cost.requests:,} requests and {spans} "
        f"spans, {where or f'{cost.processes} processes'}, {cost.memory_mb:,.0f} MB of memory, "
        f"{cost.disk_mb:,.0f} MB on disk, about {_time(cost.minutes)}"
    )


def _time(minutes: float) -> str:
    return f"{minutes:.1f} minutes" if minutes >= 2 else f"{minutes * 60:.0f} s"
