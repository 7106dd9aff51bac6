"""``hopbench up``: the services of a scenario, kept running until Ctrl-C."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Annotated

import orjson
import typer

from hopbench.engines.local.up import Up, up
from hopbench.exits import Exit
from hopbench.front import options
from hopbench.front.output import STDOUT, Output, write_document
from hopbench.front.settings import run_settings, with_load
from hopbench.runs import directory as rundir
from hopbench.runs import plan
from services.errors import BadInput
from services.scenario.file.parser import load
from services.scenario.refactors import BASELINE

Variants = Annotated[
    list[str] | None,
    typer.Option("--variant", metavar="NAME", help="Which; default: baseline."),
]


def command(
    scenario: options.Scenario,
    *,
    variant: Variants = None,
    rate: options.Rate = None,
    duration: options.Duration = None,
    warmup: options.Warmup = None,
    users: options.Users = None,
    seed: options.Seed = None,
    broker: options.Broker = "embedded",
    jaeger: options.Jaeger = None,
    jaeger_otlp: options.JaegerOtlp = None,
    trace_ratio: options.TraceRatio = options.TRACE_RATIO,
    tracing: options.Tracing = "on",
    instrumentation: options.Instrumentation = "lean",
    out: options.Out = None,
    json: options.Json = None,
) -> Exit:
    """Keep the services of one variant running until Ctrl-C, and print their addresses.

    Put load on them with the locust command that it prints, or anything else that talks HTTP or
    gRPC.
    """
    output = Output(json)
    names = tuple(variant or (BASELINE,))
    if len(names) > 1:
        raise BadInput("up runs one variant", hint="give --variant once")
    loaded = load(scenario)
    planned = plan.plan_of(
        with_load(
            loaded.scenario, rate=rate, duration=duration, warmup=warmup, users=users, seed=seed
        ),
        loaded.sha256,
        variants=names,
        rounds=1,
        settings=run_settings(
            engine="local",
            broker=broker,
            jaeger=jaeger,
            jaeger_otlp=jaeger_otlp,
            trace_ratio=trace_ratio,
            tracing=tracing,
            instrumentation=instrumentation,
            workers=1,
            web=None,
        ),
    )
    (turn,) = planned.order
    directory = rundir.create(f"{planned.scenario.name}-up", datetime.now(), out)

    def tell(running: Up) -> None:
        if json == STDOUT:
            sys.stdout.buffer.write(
                orjson.dumps(running.document(), option=orjson.OPT_APPEND_NEWLINE)
            )
            sys.stdout.flush()
        elif json is not None:
            write_document(json, running.document())
        for line in running.lines():
            output.show(line)
        output.note("Ctrl-C ends it.")

    code = Exit(up(planned.round_plan(turn), planned.settings, directory.path.absolute(), tell))
    if planned.settings.tracing:
        output.note(f"what was traced: hopbench analyze {jaeger or directory.path}")
    return code
