"""``hopbench compare``: whether a variant is faster, or that nobody can tell."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Annotated, Final, cast

import typer

from analysis.figures import plural
from hopbench.comparison import gating, ledger
from hopbench.comparison.asked import Asked, asked
from hopbench.comparison.judgement import judged
from hopbench.comparison.looking import Looks
from hopbench.comparison.metrics import PRIMARY, family
from hopbench.comparison.precision import check_identifiable
from hopbench.deploy.preparation import HERE, Prepared, prepare
from hopbench.exits import Exit, worst
from hopbench.front import at_rates, knees, options, running, verdict_ending
from hopbench.front.comparing import measure
from hopbench.front.output import Output, check_target
from hopbench.front.settings import one_of, run_settings, share, with_load
from hopbench.results.gates import Gate, check, parse
from hopbench.results.summary import Summary
from hopbench.runs import directory as rundir
from hopbench.runs import plan
from hopbench.runs.design import Kind, design, in_slices
from hopbench.runs.directory import RunDir
from hopbench.runs.plan import RunPlan
from hopbench.runs.repeats import Turns, lacking
from hopbench.runs.rounds import STOPS, begin
from hopbench.statistics.effect import fewest_pairs
from services.errors import BadInput
from services.scenario.even import is_even

PAIRS: Final = 20
"""The fewest that need no belief about the noise (docs/measurement.md)."""
RESTARTS: Final = 8
"""Of a duet."""
MOST_PAIRS: Final = 80
"""With ``--until``."""
REPEAT_VOID: Final = 6
SCENARIOS_HELP: Final = (
    f"{options.SCENARIO_HELP} A second one is compared with the first, as a whole; the first may "
    "then be an old run, whose scenario is measured anew."
)
RESUMABLE: Final = {"resume", "json", "markdown", "fail_on", "dry_run", "quiet"}
"""Flags that go with ``--resume``; all others are the plan's, which is made already."""


def command(
    context: typer.Context,
    scenario: Annotated[
        list[str] | None,
        typer.Argument(metavar="SCENARIO [SCENARIO]", help=SCENARIOS_HELP, show_default=False),
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
    design_kind: options.DesignKind = "rounds",
    observer: options.Observer = False,
    rate: options.Rate = None,
    rates: options.Rates = None,
    load: options.LoadShares = None,
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
    if json and markdown and Path(json).resolve() == Path(markdown).resolve():
        raise BadInput(f"--json and --markdown both go to {json}", hint="a file for one of them")
    gates = [parse(text) for text in fail_on or ()]
    directory: RunDir | None = None
    if resume is not None and at_rates.is_one(resume):
        running.must_be_resumable(running.given(context), resume, "compare", RESUMABLE)
        return at_rates.compare(resume, gates, markdown, output)

    def planned_at(one_rate: str | None) -> RunPlan:
        with_flags = partial(
            with_load, rate=one_rate, duration=duration, warmup=warmup, users=users, seed=seed
        )
        of = asked(scenario or [], variants, with_flags)
        kind = cast(Kind, one_of("--design", design_kind, ("rounds", "duet")))
        if kind == "duet":
            of = of.with_load(in_slices(of.scenario.load))
        return plan.comparison_of(
            of.scenario,
            of.sha256,
            others=of.others,
            design=design(
                of.arms,
                pairs=pairs or _pairs(of, kind, until),
                until=None if until is None else share("--until", until),
                level=level,
                delta=share("--delta", delta),
                metric=metric,
                repeat_void=repeat_void,
                old=of.old,
                observed=observer,
                kind=kind,
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

    if resume is None and (rates is not None or load is not None):
        if rate is not None or (rates is not None and load is not None) or "-" in (scenario or ()):
            raise BadInput(
                "--rates, --load, --rate: one of them, and of a scenario in a file",
                hint="--rates 20/s,40/s",
            )
        return _at_rates(
            planned_at,
            rates=rates,
            shares=load,
            gates=gates,
            markdown=markdown,
            output=output,
            out=out,
            dry_run=dry_run,
        )
    if resume is None:
        planned = planned_at(rate)
        turns = planned.order
    else:
        directory, planned = running.resumed(running.given(context), resume, "compare", RESUMABLE)
        turns = lacking(planned, directory, Looks(planned, directory).needed())
    gates = gating.of_every_arm(gates, planned)
    prepared = _checked(planned, turns, gates)
    place = directory or RunDir(out or Path(rundir.RUNS) / "new")
    if (at := ledger.beside(place)) is not None:
        output.note(ledger.foresight(at, planned))
    if dry_run:
        return running.dry(prepared, output)
    if prepared.estimate.minutes > running.TELL_ABOVE_MINUTES:
        output.note(running.told(prepared))
    if directory is None:
        directory = rundir.create(planned.scenario.name, datetime.now(), out)
        begin(planned, directory)
    return _run(prepared, directory, gates, markdown, output, fresh=resume is None)


def _checked(planned: RunPlan, turns: Turns, gates: Sequence[Gate]) -> Prepared:
    """Raises BadInput for what can end in no verdict, before anything starts."""
    check_identifiable(planned)
    assert planned.design is not None
    if planned.at_once > 1:
        _must_go_in_slices(planned)
    if planned.design.observed and not (
        planned.settings.tracing and planned.settings.trace_ratio < 1
    ):
        raise BadInput(
            "--observer: asks what tracing does to requests that are not sampled: there are none",
            hint=f"--tracing on --trace-ratio {options.TRACE_RATIO}",
        )
    check(gates, gating.planned(planned))
    prepared = prepare(planned, turns, os.environ)
    if prepared.deployment is not None:
        raise BadInput(
            f"--engine {planned.settings.engine}: comparisons run beside the bench so far",
            hint="--engine local, or virtual",
        )
    prepared.check(os.environ)
    return prepared


def _at_rates(
    planned_at: Callable[[str | None], RunPlan],
    *,
    rates: str | None,
    shares: str | None,
    gates: Sequence[Gate],
    markdown: str | None,
    output: Output,
    out: Path | None,
    dry_run: bool,
) -> Exit:
    """``--rates``, or ``--load``: then the knees are looked for first."""
    named = [] if rates is None else [each.strip() for each in rates.split(",")]
    parts = [] if shares is None else [share("--load", each) for each in shares.split(",")]
    base = planned_at(None)
    plans = [planned_at(each) for each in named] or [base]
    if len(set(named)) < len(named) or 0.0 in parts:
        raise BadInput("--rates, --load: each once, and above 0", hint="--rates 20/s,40/s")
    _must_call(base, max(len(named), len(parts)))
    prepared = []
    for planned in plans:
        each = gating.of_every_arm(gates, planned)
        prepared.append(_checked(planned, planned.order, each))
    if dry_run:
        for one in prepared:
            running.dry(one, Output(None, output.quiet))
        return Exit.DONE
    place = rundir.made(f"{base.scenario.name}-rates", datetime.now(), out)
    if parts:
        code, knee_rps = knees.lowest(base, place / "knees", output)
        if knee_rps is None:
            return code
        plans = [planned_at(f"{part * knee_rps:.4g}/s") for part in parts]
        for planned in plans:
            _checked(planned, planned.order, gating.of_every_arm(gates, planned))
    at_rates.begin(place, plans)
    return at_rates.compare(place, gates, markdown, output)


def _must_call(base: RunPlan, rates: int) -> None:
    """Raises BadInput where a family of all arms at so many rates is too large for the pairs."""
    made = base.design
    assert made is not None
    verdicts = (len(made.arms) - 1) * rates
    enough = fewest_pairs(made.alpha, verdicts, made.pairs)
    if made.pairs < enough:
        raise BadInput(
            f"--pairs {made.pairs}: so many can call none of {verdicts} verdicts at a level of "
            f"{made.level:.12g}",
            hint=f"--pairs {enough}",
        )


def _run(
    prepared: Prepared,
    directory: RunDir,
    gates: Sequence[Gate],
    markdown: str | None,
    output: Output,
    *,
    fresh: bool,
) -> Exit:
    planned, began = prepared.plan, time.monotonic()
    with rundir.claimed(directory):
        done = measure(prepared, directory, output, fresh=fresh)
        ended, summary = done.ended, done.summary
        if summary is None:
            return ended.code
        with running.kept(directory, output):
            found = judged(planned, directory, summary)
            verdict_ending.show(found.document, summary, directory, markdown, output)
            verdict_ending.note(planned, directory, found)
    if done.rounds and summary.clock == "wall":
        output.note(_time(planned, summary, done.rounds, time.monotonic() - began))
    values = gating.of(planned, summary, found.document)
    code = verdict_ending.code(found.document, values, gates, output)
    if ended.code in STOPS.values():
        output.note(f"stopped; continue with: hopbench compare --resume {directory.path}")
    if ended.code is Exit.BROKEN:
        output.note(f"to repeat what broke: hopbench compare --resume {directory.path}")
    return worst([ended.code, code])


def _time(planned: RunPlan, summary: Summary, rounds: int, took_s: float) -> str:
    """What of it was load. Starts are known of the rounds that are there, not of those that were
    measured once more: their mean stands for both."""
    load_s = rounds * planned.scenario.load.length_ns / 1e9
    starts = [each.start_s for each in summary.trials if each.start_s is not None]
    start_s = rounds / planned.at_once * mean(starts) if starts else 0.0
    return (
        f"{took_s:.0f} s for {plural(rounds, 'round')}: {load_s:.0f} s of load, {start_s:.0f} s of "
        f"starts, the rest {(took_s - start_s) / load_s - 1:.0%} of the load"
    )


def _pairs(of: Asked, kind: Kind, until: str | None) -> int:
    """PAIRS, or where many arms and entries make a large family, as many as can call it at 95 %;
    of a duet RESTARTS; with ``--until`` the most."""
    if until is not None:
        return MOST_PAIRS
    if kind == "duet":
        return RESTARTS
    arms = len(of.scenario.load.entries), of.arms
    return fewest_pairs(0.05, max(1, family(*arms)), PAIRS)


def _must_go_in_slices(planned: RunPlan) -> None:
    """Raises BadInput for what slices would tear apart, and for parts that are there once."""
    uneven = [name for name, scenario in planned.scenarios.items() if not is_even(scenario)]
    if uneven:
        raise BadInput(
            f"--design duet: in {uneven[0]} the load, a fault or a cache goes by the time of the "
            "round",
            hint="--design rounds",
        )
    settings = planned.settings
    if settings.engine not in HERE:
        raise BadInput(
            f"--engine {settings.engine}: has one set of services, and a duet needs two",
            hint="--engine local; or --design rounds",
        )
    if settings.jaeger is not None:
        raise BadInput(
            "--design duet: traces are read from its own collectors",
            hint="leave --jaeger out, or take --design rounds",
        )
