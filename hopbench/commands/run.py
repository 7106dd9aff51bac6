"""``hopbench run``: from a scenario to findings, and the variants side by side."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from hopbench.deploy.compose_run import Order, drive
from hopbench.deploy.preparation import Prepared, prepare
from hopbench.exits import Exit, worst
from hopbench.front import ending, options, running
from hopbench.front.output import Output
from hopbench.front.settings import run_settings, with_load
from hopbench.results import gate_values
from hopbench.results.gates import Gate, check, parse
from hopbench.results.summary import Summary
from hopbench.runs import directory as rundir
from hopbench.runs import plan
from hopbench.runs.directory import RunDir
from hopbench.runs.plan import RunPlan, Turn
from hopbench.runs.rounds import STOPS, begin, missing
from services.errors import BadInput
from services.scenario.file.parser import load

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
    given = running.given(context)
    directory: RunDir | None = None
    text: str | None = None
    if resume is None:
        loaded = load(running.named(scenario))
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
        directory, planned = running.resumed(given, resume, "run", RESUMABLE)
        turns = missing(planned, directory)
    check(gates, gate_values.planned(planned.scenarios))
    prepared = prepare(planned, turns, os.environ)
    if keep and prepared.deployment is None:
        raise BadInput("--keep is about containers", hint="it goes with --engine compose alone")
    if prepared.deployment is None:
        prepared.check(os.environ)
    if dry_run:
        return running.dry(prepared, output)
    if prepared.deployment is not None:
        flags = _passed_on(context, given)
        return drive(Order(prepared, prepared.deployment, text, flags, resume, out, keep, output))
    if prepared.estimate.minutes > running.TELL_ABOVE_MINUTES:
        output.note(running.told(prepared))
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
        ended = running.executed(planned, turns, directory, output)
        if fresh and not ended.could_start:
            rundir.discard(directory)
            return ended.code
        with running.kept(directory, output):
            summary = running.analysed(planned, directory, output)
            while ended.code is Exit.DONE and repeat_void and (void := _void(planned, summary)):
                again = void[:repeat_void]
                repeat_void -= len(again)
                output.note(f"{len(void)} of {len(planned.order)} rounds are void: once more")
                ended = running.executed(planned, again, directory, output)
                summary = running.analysed(planned, directory, output)
            ending.show(summary, directory, output)
    code = ending.code(planned, summary, gates, output, strict=strict)
    if ended.code in STOPS.values():
        output.note(f"stopped; continue with: hopbench run --resume {directory.path}")
    if ended.code is Exit.BROKEN:
        output.note(f"to repeat what broke: hopbench run --resume {directory.path}")
    return worst([ended.code, code])


def _void(planned: RunPlan, summary: Summary) -> tuple[Turn, ...]:
    void = {trial.round for trial in summary.trials if trial.void}
    return tuple(turn for turn in planned.order if turn.round in void)


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
