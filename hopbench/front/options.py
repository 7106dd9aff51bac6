"""Flags that mean the same everywhere, and the text that they hold, parsed once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final, TypeVar, cast

import typer

from hopbench import engines
from hopbench.engines.port import EMBEDDED, Settings
from hopbench.engines.port import Instrumentation as InstrumentationName
from hopbench.jaeger.client import addresses
from services.errors import BadInput
from services.scenario import model
from services.scenario.file.validation import arrivals
from services.scenario.text import units
from services.system.endpoints import endpoint

T = TypeVar("T")

TRACE_RATIO: Final = 0.5

SCENARIO_HELP = "A bundled name, a path, a run directory, or - for standard input."
Scenario = Annotated[str, typer.Argument(help=SCENARIO_HELP, show_default=False)]
Variants = Annotated[
    list[str] | None,
    typer.Option("--variant", metavar="NAME", help="Repeatable; 'baseline' is the base."),
]
Rounds = Annotated[int, typer.Option("--rounds", min=1, metavar="N", help="Rounds per variant.")]
Rate = Annotated[str | None, typer.Option("--rate", metavar="50/s", help="Mean arrival rate.")]
Duration = Annotated[
    str | None, typer.Option("--duration", metavar="20s", help="Length of the measured phase.")
]
Warmup = Annotated[
    str | None, typer.Option("--warmup", metavar="2s", help="Length of the warm-up before it.")
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, metavar="N", help="Of all chance.")]
Engine = Annotated[
    str,
    typer.Option(
        "--engine", metavar="local|compose|kubernetes|virtual", help="What the services run as."
    ),
]
Broker = Annotated[
    str,
    typer.Option("--broker", metavar="embedded|HOST:PORT", help="Which Kafka carries messages."),
]
Jaeger = Annotated[
    str | None,
    typer.Option(
        "--jaeger",
        metavar="URL",
        help="A Jaeger that takes the traces; they are read back from its query API.",
    ),
]
JaegerOtlp = Annotated[
    str | None,
    typer.Option(
        "--jaeger-otlp",
        metavar="HOST:PORT",
        help="Where that Jaeger takes OTLP over gRPC; default: port 4317 of the same host.",
    ),
]
JaegerUi = Annotated[
    str | None,
    typer.Option(
        "--jaeger-ui", metavar="URL", help="Jaeger's pages, for links; default: as --jaeger."
    ),
]
TraceRatio = Annotated[
    float, typer.Option("--trace-ratio", metavar="0..1", help="Share of the requests traced.")
]
Tracing = Annotated[str, typer.Option("--tracing", metavar="on|off", help="Off: metrics alone.")]
Instrumentation = Annotated[
    str, typer.Option("--instrumentation", metavar="lean|official", help="Who makes the spans.")
]
Workers = Annotated[
    int,
    typer.Option(
        "--workers",
        min=1,
        metavar="N",
        help="Locust worker processes that share the arrivals, each up to one core.",
    ),
]
Web = Annotated[
    int | None,
    typer.Option("--web", min=0, max=65535, metavar="PORT", help="Locust's own web UI."),
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="The directory to make and fill.")
]
Json = Annotated[
    str | None,
    typer.Option("--json", metavar="-|FILE", help="The document, on standard output or to a file."),
]
FailOn = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-on", metavar="EXPR", help="Repeatable gate, such as 'findings.chatty > 0'."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and stop.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit 3 where no valid round is left.")]
Keep = Annotated[
    bool,
    typer.Option("--keep", help="With --engine compose: leave the containers when it has ended."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No notes and no progress.")]


def quantity(flag: str, text: str | None, parse: Callable[[object], T]) -> T | None:
    """``text`` of ``flag`` by one of services.scenario.text.units.

    Raises BadInput naming the flag.
    """
    if text is None:
        return None
    try:
        return parse(text)
    except units.Unreadable as error:
        raise BadInput(f"{flag}: {error.text}", hint=error.hint) from error


def one_of(flag: str, text: str, known: tuple[str, ...]) -> str:
    """``text`` where it is known. Raises BadInput otherwise."""
    if text in known:
        return text
    raise BadInput(f"{flag}: {text!r} is none of {', '.join(known)}")


def with_load(
    scenario: model.Scenario,
    rate: str | None,
    duration: str | None,
    warmup: str | None,
    seed: int | None,
) -> model.Scenario:
    """The scenario with the flags that were given in place of its own values."""
    base = scenario.load
    rate_rps = quantity("--rate", rate, units.rate)
    duration_ns = quantity("--duration", duration, units.duration)
    warmup_ns = quantity("--warmup", warmup, units.duration)
    for flag, value in (("--rate", rate_rps), ("--duration", duration_ns)):
        if value is not None and value <= 0:
            raise BadInput(f"{flag} must be more than 0")
    load = replace(
        base,
        rate_rps=base.rate_rps if rate_rps is None else rate_rps,
        duration_ns=base.duration_ns if duration_ns is None else duration_ns,
        warmup_ns=base.warmup_ns if warmup_ns is None else warmup_ns,
    )
    if (many := arrivals(load)) is not None:
        raise BadInput(many.text, hint=many.hint)
    return replace(scenario, seed=scenario.seed if seed is None else seed, load=load)


def settings(
    *,
    engine: str,
    broker: str,
    jaeger: str | None,
    jaeger_otlp: str | None = None,
    jaeger_ui: str | None = None,
    trace_ratio: float,
    tracing: str,
    instrumentation: str,
    workers: int,
    web: int | None,
) -> Settings:
    """Raises BadInput naming the flag."""
    if jaeger is not None:
        addresses(jaeger, jaeger_otlp, jaeger_ui)
    for flag, value in (("--jaeger-otlp", jaeger_otlp), ("--jaeger-ui", jaeger_ui)):
        if value is not None and jaeger is None:
            raise BadInput(f"{flag} belongs to --jaeger", hint="add --jaeger http://HOST:16686")
    if not 0.0 <= trace_ratio <= 1.0:
        raise BadInput(f"--trace-ratio: {trace_ratio:g} is not in 0..1")
    if broker != EMBEDDED:
        try:
            endpoint(broker)
        except ValueError:
            raise BadInput(f"--broker: {broker!r} is neither {EMBEDDED!r} nor HOST:PORT") from None
    found = Settings(
        engine=one_of("--engine", engine, tuple(engines.ENGINES)),
        broker=broker,
        tracing=one_of("--tracing", tracing, ("on", "off")) == "on",
        trace_ratio=trace_ratio,
        instrumentation=cast(
            InstrumentationName,
            one_of("--instrumentation", instrumentation, ("lean", "official")),
        ),
        web_port=web,
        workers=workers,
        jaeger=jaeger,
        jaeger_otlp=jaeger_otlp,
        jaeger_ui=jaeger_ui,
    )
    if engines.is_virtual(found):
        for flag, given in (
            ("--instrumentation official", instrumentation == "official"),
            ("--broker HOST:PORT", broker != EMBEDDED),
            ("--jaeger", jaeger is not None),
            ("--web", web is not None),
            ("--workers above 1", workers > 1),
        ):
            if given:
                raise BadInput(
                    f"{flag}: the engine {engine} has none of it", hint="leave one of the two out"
                )
    return found
