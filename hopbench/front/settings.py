"""What flags say, parsed once: the settings of a run, and a load in place of the scenario's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar, cast

from hopbench.engines import ENGINES, is_virtual
from hopbench.engines.port import EMBEDDED, Instrumentation, Settings
from hopbench.jaeger.client import addresses
from services.errors import BadInput
from services.scenario.file.validation import load_problem
from services.scenario.model import Scenario
from services.scenario.pace import Closed, Open, Pace
from services.scenario.text import units
from services.system.endpoints import endpoint

T = TypeVar("T")


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


def share(flag: str, text: str) -> float:
    """``5%`` or 0.05. Raises BadInput naming the flag."""
    number, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
    try:
        value = float(number) / (100 if percent else 1)
    except ValueError:
        raise BadInput(f"{flag}: {text!r} is no share", hint=f"{flag} 5%") from None
    if not 0 <= value < 1:
        raise BadInput(f"{flag}: {text} is not from 0% to 100%", hint=f"{flag} 5%")
    return value


def with_load(
    scenario: Scenario,
    *,
    rate: str | None,
    duration: str | None,
    warmup: str | None,
    users: int | None,
    seed: int | None,
) -> Scenario:
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
        pace=_pace(base.pace, rate_rps, users),
        duration_ns=base.duration_ns if duration_ns is None else duration_ns,
        warmup_ns=base.warmup_ns if warmup_ns is None else warmup_ns,
    )
    if (wrong := load_problem(load)) is not None:
        raise BadInput(wrong.text, hint=wrong.hint)
    return replace(scenario, seed=scenario.seed if seed is None else seed, load=load)


def _pace(base: Pace, rate_rps: float | None, users: int | None) -> Pace:
    if rate_rps is not None:
        if not isinstance(base, Open):
            hint = "a replay follows its recording, users follow their answers: leave it out"
            raise BadInput("--rate: this load has no rate", hint=hint)
        if base.ramp:
            hint = "change `rate` and `ramp` in the scenario"
            raise BadInput("--rate: the rate of this load is a ramp", hint=hint)
        base = replace(base, rate_rps=rate_rps)
    if users is not None:
        if not isinstance(base, Closed):
            raise BadInput("--users: this load is open", hint="--rate is what it takes")
        base = replace(base, users=users)
    return base


def run_settings(
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
        engine=one_of("--engine", engine, tuple(ENGINES)),
        broker=broker,
        tracing=one_of("--tracing", tracing, ("on", "off")) == "on",
        trace_ratio=trace_ratio,
        instrumentation=cast(
            Instrumentation,
            one_of("--instrumentation", instrumentation, ("lean", "official")),
        ),
        web_port=web,
        workers=workers,
        jaeger=jaeger,
        jaeger_otlp=jaeger_otlp,
        jaeger_ui=jaeger_ui,
    )
    if is_virtual(found):
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
