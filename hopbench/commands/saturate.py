"""``hopbench saturate``: at which rate a design gives out."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Final

import typer

from hopbench.deploy.preparation import prepare
from hopbench.exits import Exit
from hopbench.front import options
from hopbench.front.output import Output
from hopbench.front.saturating import Search
from hopbench.front.settings import quantity, run_settings, share, with_load
from hopbench.results import gate_values
from hopbench.results.gates import check, parse
from hopbench.runs import directory as rundir
from hopbench.runs import plan
from hopbench.runs.plan import RunPlan
from hopbench.saturation.shown import terminal
from services.codec import plain
from services.errors import BadInput
from services.scenario.file.parser import load
from services.scenario.pace import Open
from services.scenario.refactors import BASELINE
from services.scenario.text import units

MOST_NEAR: Final = 0.01


def command(
    scenario: options.Scenario,
    *,
    variant: Annotated[
        str, typer.Option("--variant", metavar="NAME", help="'baseline' is the scenario itself.")
    ] = BASELINE,
    objective: Annotated[
        str | None,
        typer.Option(
            "--objective",
            metavar="EXPR",
            help="What a rate has to keep, such as 'response_p95_ms < 200'; names as for gates.",
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--start", metavar="20/s", help="The first rate. Default: the scenario's."),
    ] = None,
    most: Annotated[
        str, typer.Option("--most", metavar="5000/s", help="The highest rate to try.")
    ] = "5000/s",
    within: Annotated[
        str, typer.Option("--within", metavar="5%", help="How near the knee is to be found.")
    ] = "5%",
    duration: options.Duration = None,
    warmup: options.Warmup = None,
    seed: options.Seed = None,
    engine: options.Engine = "local",
    broker: options.Broker = "embedded",
    trace_ratio: Annotated[
        float, typer.Option("--trace-ratio", metavar="0..1", help="Share of the requests traced.")
    ] = 0.1,
    instrumentation: options.Instrumentation = "lean",
    workers: options.Workers = 1,
    out: options.Out = None,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> Exit:
    """Find the highest rate that a design holds: steps up, then a bisection.

    A rate is held where 98 % of what arrives is answered meanwhile, requests do not pile up, and
    the objective is met. Where the generator gives out first, it says "at least".
    """
    output = Output(json, quiet)
    loaded = load(scenario)
    base = with_load(
        loaded.scenario, rate=None, duration=duration, warmup=warmup, users=None, seed=seed
    )
    pace = base.load.pace
    if not isinstance(pace, Open) or pace.ramp:
        raise BadInput("saturate: the load has not one rate to raise", hint="an open load: `rate`")
    first_rps = quantity("--start", start, units.rate) or pace.rate_rps
    most_rps = quantity("--most", most, units.rate) or 0.0
    near = share("--within", within)
    if not 0 < first_rps <= most_rps:
        raise BadInput(f"--start {first_rps:g}/s is above --most {most_rps:g}/s, or not above 0")
    if near < MOST_NEAR:
        text = f"--within {within}: no round tells rates apart that well"
        raise BadInput(text, hint="--within 5%")
    settings = run_settings(
        engine=engine,
        broker=broker,
        jaeger=None,
        trace_ratio=trace_ratio,
        tracing="on",
        instrumentation=instrumentation,
        workers=workers,
        web=None,
    )
    goal = None if objective is None else parse(objective)

    def at(rate_rps: float) -> RunPlan:
        paced = replace(base.load, pace=replace(pace, rate_rps=rate_rps))
        return plan.plan_of(
            replace(base, load=paced),
            loaded.sha256,
            variants=(variant,),
            rounds=1,
            settings=settings,
        )

    planned = at(most_rps)
    if goal is not None:
        check([goal], gate_values.planned(planned.scenarios))
    prepared = prepare(planned, planned.order, os.environ)
    if prepared.deployment is not None:
        text = f"--engine {engine}: saturate runs beside the bench so far"
        raise BadInput(text, hint="--engine local, or virtual")
    prepared.check(os.environ)
    place = rundir.made(f"{base.name}-saturation", datetime.now(), out)
    code, found = Search(place, at, goal, first_rps, most_rps, near, output).run()
    output.show(terminal(found))
    output.show(f"rounds and figures: {place}")
    output.document(plain(found))
    if code is not Exit.DONE:
        return code
    return Exit.DONE if found.knee_rps is not None else Exit.INCONCLUSIVE
