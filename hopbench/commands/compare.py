"""``hopbench compare``: whether a variant is faster, or that nobody can tell."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from analysis.figures import plural
from hopbench import engines
from hopbench.comparison import gating, ledger
from hopbench.comparison.judgement import judged
from hopbench.comparison.looking import Looks
from hopbench.comparison.metrics import PRIMARY, family
from hopbench.comparison.precision import check_identifiable
from hopbench.deploy.preparation import Prepared, prepare
from hopbench.exits import Exit, worst
from hopbench.front import options, running, verdict_ending
from hopbench.front.output import Output, check_target
from hopbench.front.settings import run_settings, share, with_load
from hopbench.results.gates import Gate, check, parse
from hopbench.results.summary import Summary
from hopbench.runs import directory as rundir
from hopbench.runs import plan
from hopbench.runs.design import design
from hopbench.runs.directory import RunDir
from hopbench.runs.environment import Environment, environment
from hopbench.runs.evidence import read_file
from hopbench.runs.plan import RunPlan
from hopbench.runs.repeats import Block, lacking, times_repeated, void_blocks
from hopbench.runs.rounds import STOPS, begin
from hopbench.statistics.effect import fewest_pairs
from services.errors import BadInput
from services.scenario.file.parser import load
from services.scenario.model import Scenario
from services.scenario.refactors import BASELINE
from services.system.cores import usable_cores

PAIRS: Final = 20
"""The fewest that need no belief about the noise (docs/measurement.md)."""
MOST_PAIRS: Final = 80
"""With ``--until``."""
REPEAT_VOID: Final = 6
RESUMABLE: Final = {"resume", "json", "markdown", "fail_on", "dry_run", "quiet"}
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
    variants: options.Arms = None,
    pairs: options.Pairs = None,
    until: options.Until = None,
    level: options.Level = 0.95,
    delta: options.Delta = "5%",
    metric: options.PrimaryMetric = PRIMARY,
    repeat_void: options.RepeatBlocks = REPEAT_VOID,
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
    out: options.Out = None,
    json: options.Json = None,
    markdown: options.Markdown = None,
    fail_on: options.FailOn = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
) -> Exit:
    """Measure variants side by side, in drawn blocks of rounds, and say which is faster.

    Or that they are equivalent, or that so many pairs cannot tell. Every variant is compared with
    the first one.
    """
    output = Output(json, quiet)
    check_target("--markdown", markdown)
    gates = [parse(text) for text in fail_on or ()]
    directory: RunDir | None = None
    if resume is None:
        loaded = load(running.named(scenario))
        with_flags = with_load(
            loaded.scenario, rate=rate, duration=duration, warmup=warmup, users=users, seed=seed
        )
        arms = _arms(variants, with_flags)
        planned = plan.comparison_of(
            with_flags,
            loaded.sha256,
            design=design(
                arms,
                pairs=pairs or (_pairs(with_flags, len(arms)) if until is None else MOST_PAIRS),
                until=None if until is None else share("--until", until),
                level=level,
                delta=share("--delta", delta),
                metric=metric,
                repeat_void=repeat_void,
            ),
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
                web=None,
            ),
        )
        turns = planned.order
    else:
        directory, planned = running.resumed(running.given(context), resume, "compare", RESUMABLE)
        turns = lacking(planned, directory, Looks(planned, directory).needed())
        if turns:
            _unchanged(planned, directory)
    check_identifiable(planned)
    gates = gating.of_every_arm(gates, planned)
    check(gates, gating.planned(planned))
    prepared = prepare(planned, turns, os.environ)
    if prepared.deployment is not None:
        raise BadInput(
            f"--engine {planned.settings.engine}: comparisons run beside the bench so far",
            hint="--engine local, or virtual",
        )
    prepared.check(os.environ)
    at = Path(rundir.RUNS) / ledger.FILE if directory is None else ledger.beside(directory)
    if at is not None and (directory is not None or out is None):
        output.note(ledger.foresight(at, planned))
    if dry_run:
        return running.dry(prepared, output)
    if prepared.estimate.minutes > running.TELL_ABOVE_MINUTES:
        output.note(running.told(prepared))
    if directory is None:
        directory = rundir.create(planned.scenario.name, datetime.now(), out)
        begin(planned, directory)
    elif turns and any(directory.trials.iterdir()):
        directory.resumed.touch()
    return _run(prepared, directory, gates, markdown, output, fresh=resume is None)


def _run(
    prepared: Prepared,
    directory: RunDir,
    gates: Sequence[Gate],
    markdown: str | None,
    output: Output,
    *,
    fresh: bool,
) -> Exit:
    planned = prepared.plan
    assert planned.design is not None
    with rundir.claimed(directory):
        # What was missing before somebody else let go of the run may be there by now.
        looks = Looks(planned, directory)
        turns = prepared.turns if fresh else lacking(planned, directory, looks.needed())
        ended = running.executed(planned, turns, directory, output, looks.enough)
        if fresh and not ended.could_start:
            rundir.discard(directory)
            return ended.code
        with running.kept(directory, output):
            summary = running.analysed(planned, directory, output)
            while ended.code is Exit.DONE:
                # Blocks that are repeated all run: what they show may ask for further ones.
                again = _again(planned, directory, summary, output)
                more = again or lacking(planned, directory, looks.needed())
                if not more:
                    break
                enough = None if again else looks.enough
                ended = running.executed(planned, more, directory, output, enough)
                summary = running.analysed(planned, directory, output)
            document = judged(planned, directory, summary, note=True)
            verdict_ending.show(document, directory, markdown, output)
    code = verdict_ending.code(document, gating.of(planned, summary, document), gates, output)
    if ended.code in STOPS.values():
        output.note(f"stopped; continue with: hopbench compare --resume {directory.path}")
    if ended.code is Exit.BROKEN:
        output.note(f"to repeat what broke: hopbench compare --resume {directory.path}")
    return worst([ended.code, code])


def _arms(variants: str | None, scenario: Scenario) -> tuple[str, ...]:
    if variants is None:
        return (BASELINE, *scenario.variants)
    return tuple(name.strip() for name in variants.split(","))


def _pairs(scenario: Scenario, arms: int) -> int:
    """PAIRS, or where many arms and entries make a large family, as many as can call it at 95 %."""
    return fewest_pairs(0.05, max(1, family(len(scenario.load.entries), arms)), PAIRS)


def _again(planned: RunPlan, directory: RunDir, summary: Summary, output: Output) -> Block:
    """The rounds of blocks to repeat, as many as are allowed still."""
    assert planned.design is not None
    left = planned.design.repeat_void - times_repeated(planned, directory)
    void = {trial.round for trial in summary.trials if trial.void}
    again = void_blocks(planned, void)[: max(0, left)]
    if again:
        output.note(f"a void round in {plural(len(again), 'block')}: once more")
    return tuple(turn for block in again for turn in block)


def _unchanged(planned: RunPlan, directory: RunDir) -> None:
    """Raises BadInput where rounds from here on could not be compared with those that are there."""
    then = read_file(Environment, directory.environment)
    if then is None:
        return
    engine = engines.engine(planned.settings)
    now = environment(planned.settings, planned.scenario.seed, engine, usable_cores())
    # The broker is not up yet; which one it will be is the plan's.
    changes = replace(now, broker=then.broker).changes(then)
    if changes:
        raise BadInput(
            f"{directory.path} was measured in another environment: {'; '.join(changes)}",
            hint=f"what there is: hopbench report {directory.path}; or measure all of it anew: "
            f"hopbench compare {directory.scenario}",
        )
