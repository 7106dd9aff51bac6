"""``hopbench prove``: apply what the findings propose, and say which of it held."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from hopbench.comparison.precision import check_identifiable
from hopbench.deploy.preparation import prepare
from hopbench.exits import Exit, Terminated
from hopbench.front import options, proof_ending, running
from hopbench.front.output import Output, check_target
from hopbench.front.proving import Measuring, Stopped, usual_s
from hopbench.front.settings import quantity, run_settings, share, with_load
from hopbench.proving import directory as proofdir
from hopbench.proving.course import Course, Void, least_rounds
from hopbench.proving.directory import ProofDir
from hopbench.proving.proof import prove
from hopbench.proving.stages import Asked, concluding, looking
from hopbench.runs import directory as rundir
from hopbench.runs.rounds import STOPS
from hopbench.statistics.effect import fewest_pairs
from services.errors import BadInput, CannotStart
from services.scenario.even import is_even
from services.scenario.file.parser import load
from services.scenario.text import units

DEPTH: Final = 3
REPEAT_VOID: Final = 6
DURATION_NS: Final = 5_000_000_000
WARMUP_NS: Final = 1_000_000_000
"""Rounds as long as that, where the scenario's are longer: more of them tell more than longer ones
do (docs/measurement.md, "Where the variance lies")."""
RESUMABLE: Final = {"resume", "json", "markdown", "quiet"}
"""Flags that go with ``--resume``; all others are the proof's."""


def command(
    context: typer.Context,
    scenario: Annotated[
        str | None, typer.Argument(help=options.SCENARIO_HELP, show_default=False)
    ] = None,
    *,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="DIR", help="Go on with the proof in DIR."),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            metavar="20m",
            help="The most that it may take: fewer refactors are tried, and fewer looks taken. "
            "Default: none.",
        ),
    ] = None,
    depth: Annotated[
        int,
        typer.Option("--depth", min=1, max=9, metavar="N", help="Most looks for new findings."),
    ] = DEPTH,
    level: options.Level = 0.95,
    delta: options.Delta = "5%",
    repeat_void: options.RepeatBlocks = REPEAT_VOID,
    rate: options.Rate = None,
    duration: options.Duration = None,
    warmup: options.Warmup = None,
    users: options.Users = None,
    seed: options.Seed = None,
    engine: options.Engine = "local",
    broker: options.Broker = "embedded",
    trace_ratio: options.TraceRatio = options.TRACE_RATIO,
    instrumentation: options.Instrumentation = "lean",
    workers: options.Workers = 1,
    out: options.Out = None,
    json: options.Json = None,
    markdown: options.Markdown = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
) -> Exit:
    """Find what is wrong, apply the refactors that should mend it, and measure which of them do.

    Every finding's refactor is measured by itself; those that help are confirmed by fresh rounds,
    and all that held, together, by fresh rounds against the baseline.
    """
    output = Output(json, quiet)
    check_target("--markdown", markdown)
    if resume is None:
        loaded = load(running.named(scenario))
        with_flags = with_load(
            loaded.scenario, rate=rate, duration=duration, warmup=warmup, users=users, seed=seed
        )
        if trace_ratio <= 0:
            raise BadInput("--trace-ratio 0: findings are of traces", hint="--trace-ratio 0.5")
        # In a scenario `m` would be too near to `ms`; a budget of milliseconds is none.
        minutes = budget and re.sub(r"(?<=\d)m$", "min", budget)
        budget_ns = quantity("--budget", minutes, units.duration)
        asked = Asked(
            scenario=replace(with_flags, variants={}, expectations=()),
            sha256=loaded.sha256,
            settings=run_settings(
                engine=engine,
                broker=broker,
                jaeger=None,
                trace_ratio=trace_ratio,
                tracing="on",
                instrumentation=instrumentation,
                workers=workers,
                web=None,
            ),
            depth=depth,
            level=level,
            delta=share("--delta", delta),
            repeat_void=repeat_void,
            budget_s=None if budget_ns is None else budget_ns / 1e9,
        )
        asked = _short(asked, keep_warmup=warmup is not None, keep_duration=duration is not None)
        _check(asked)
        lengths = asked.scenario.load
        output.note(_foretold(asked))
        if lengths != with_flags.load:
            output.note(
                f"rounds of {lengths.warmup_ns / 1e9:g} + {lengths.duration_ns / 1e9:g} s, not the "
                "scenario's own: --warmup and --duration set them"
            )
        if dry_run:
            return Exit.DONE
        place = ProofDir(rundir.made(f"{asked.scenario.name}-proof", datetime.now(), out))
        proofdir.begin(place, asked)
    else:
        place = ProofDir(resume)
        asked = proofdir.read(place)
        running.must_be_resumable(running.given(context), resume, "prove", RESUMABLE)
    return _prove(asked, place, markdown, output)


def _prove(asked: Asked, place: ProofDir, markdown: str | None, output: Output) -> Exit:
    course, code, why = Course(), Exit.DONE, ""
    with rundir.at_work(place.plan, place.path):
        try:
            prove(asked, Measuring(asked, place, output), course)
        except Stopped as stopped:
            code = stopped.code
        except Void as void:
            code, why = Exit.VOID, str(void)
        except KeyboardInterrupt:
            code = Exit.INTERRUPTED
        except Terminated:
            code = Exit.TERMINATED
        except (BadInput, CannotStart, OSError):
            output.note(f"go on with: hopbench prove --resume {place.path}")
            raise
        found = proof_ending.written(asked, place, course)
        proof_ending.show(found, place, markdown, output)
    if why:
        output.reason(f"void: {why}")
    if code in STOPS.values() or code is Exit.BROKEN:
        output.note(f"go on with: hopbench prove --resume {place.path}")
    return code if code is not Exit.DONE else proof_ending.code(found, output)


def _short(asked: Asked, *, keep_warmup: bool, keep_duration: bool) -> Asked:
    """With rounds no longer than they need be, where nothing in the scenario goes by their
    length."""
    scenario = asked.scenario
    if not is_even(scenario):
        return asked
    own = scenario.load
    load = replace(
        own,
        warmup_ns=own.warmup_ns if keep_warmup else min(own.warmup_ns, WARMUP_NS),
        duration_ns=own.duration_ns if keep_duration else min(own.duration_ns, DURATION_NS),
    )
    short = replace(asked, scenario=replace(scenario, load=load))
    try:
        check_identifiable(concluding(short, (), fewest_pairs(asked.alpha)))
    except BadInput:
        return asked
    return short


def _check(asked: Asked) -> None:
    """Raises BadInput for what can end in no proof, before anything starts."""
    check_identifiable(concluding(asked, (), fewest_pairs(asked.alpha)))
    planned = looking(asked, (), 1)
    prepared = prepare(planned, planned.order, os.environ)
    if prepared.deployment is not None:
        raise BadInput(
            f"--engine {asked.settings.engine}: proofs run beside the bench so far",
            hint="--engine local, or virtual",
        )
    prepared.check(os.environ)
    least_s = least_rounds(asked) * usual_s(asked)
    if asked.budget_s is not None and asked.budget_s < least_s:
        raise BadInput(
            f"--budget: {asked.budget_s / 60:.3g} minutes are too few to prove one refactor by six "
            "pairs",
            hint=f"--budget {-(-least_s // 60):.0f}m",
        )


def _foretold(asked: Asked) -> str:
    most = "" if asked.budget_s is None else f", at most {asked.budget_s / 60:.3g}"
    least = least_rounds(asked) * usual_s(asked) / 60
    each = f"{usual_s(asked):.1f} s"
    return f"one refactor takes about {least:.1f} minutes to prove{most}; each round {each}"
