"""``hopbench saturate``: at which rate a design gives out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import polars as pl
import typer

from hopbench import disk, engines
from hopbench.deploy.preparation import prepare
from hopbench.engines.port import Evidence
from hopbench.exits import Exit, Terminated
from hopbench.front import ending, options, running
from hopbench.front.output import Output
from hopbench.front.settings import quantity, run_settings, share, with_load
from hopbench.results import gate_values
from hopbench.results.gates import Gate, check, judge, parse
from hopbench.results.summary import Summary
from hopbench.runs import directory as rundir
from hopbench.runs import evidence, plan
from hopbench.runs.directory import RunDir
from hopbench.runs.plan import RunPlan
from hopbench.runs.rounds import begin
from hopbench.saturation.document import Saturation, knee, looks, sentence
from hopbench.saturation.search import Outcome, bracket, next_rate
from hopbench.saturation.shown import terminal
from hopbench.saturation.step import Predicted, Step, predicted, step
from services.codec import plain
from services.errors import BadInput
from services.scenario.file.parser import load
from services.scenario.pace import Open
from services.scenario.refactors import BASELINE
from services.scenario.text import units

AGAIN: Final = 2
"""How often a round is repeated that does not say, or in which the generator gave out: that may be
the machine's doing."""
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
    return _Search(place, at, goal, first_rps, most_rps, near, output).run()


@dataclass
class _Search:
    place: Path
    at: Callable[[float], RunPlan]
    """The plan of a round at a rate."""
    goal: Gate | None
    first_rps: float
    most_rps: float
    within: float
    output: Output
    steps: list[Step] = field(default_factory=list)
    predicted: Predicted | None = None

    def run(self) -> Exit:
        code = Exit.DONE
        try:
            while (rate_rps := self._next()) is not None and code is Exit.DONE:
                code = self._look(rate_rps)
        except KeyboardInterrupt:
            code = Exit.INTERRUPTED
        except Terminated:
            code = Exit.TERMINATED
        found = self._document(finished=code is Exit.DONE)
        disk.write_json(self.place / "saturate.json", plain(found))
        self.output.show(terminal(found))
        self.output.show(f"rounds and figures: {self.place}")
        self.output.document(plain(found))
        if code is not Exit.DONE:
            return code
        return Exit.DONE if found.knee_rps is not None else Exit.INCONCLUSIVE

    def _next(self) -> float | None:
        return next_rate(looks(self.steps), self.first_rps, self.most_rps, self.within)

    def _look(self, rate_rps: float) -> Exit:
        """One rate, and once more where its round did not say."""
        planned = self.at(rate_rps)
        run = RunDir(self.place / f"{len(self.steps) + 1:02}")
        run.trials.mkdir(parents=True)
        begin(planned, run)
        with rundir.claimed(run):
            for attempt in range(1 + AGAIN):
                self.output.note(f"at {rate_rps:.4g}/s{' once more' if attempt else ''}")
                ended = running.executed(planned, planned.order, run, self.output)
                if ended.code is not Exit.DONE:
                    return ended.code
                summary = running.analysed(planned, run, self.output)
                seen = self._seen(planned, run, summary, rate_rps)
                # What looks lost by a little may be chance: twice is none.
                if seen.sure or (attempt and seen.outcome is Outcome.SATURATED):
                    break
            ending.written(summary, run)
        self.steps.append(seen)
        return Exit.DONE

    def _seen(self, planned: RunPlan, run: RunDir, summary: Summary, rate_rps: float) -> Step:
        (account,) = summary.trials
        place = run.trial(account.round, account.variant)
        samples = pl.read_parquet(place.samples, glob=False)
        left = evidence.read(place)
        if not self.steps:
            self.predicted = _predicted(left, samples)
        missed, untold = None, None
        if self.goal is not None:
            outcome = judge(self.goal, gate_values.of_summary(planned, summary))
            # What a gate fails by is what an objective asks for.
            if outcome.passed is True:
                missed = f"{self.goal.text} ({outcome.value})"
            elif outcome.passed is None:
                # Requests that never ended are why a quantile is not known, or too few are.
                lost = account.load.failed + account.load.dropped
                missed, untold = (self.goal.text, None) if lost else (None, self.goal.text)
        window = None if left is None else (left.measured_from_ns, left.measured_to_ns)
        return step(
            account,
            samples,
            window,
            run_dir=str(run.path),
            rate_rps=rate_rps,
            missed=missed,
            untold=untold,
        )

    def _document(self, *, finished: bool) -> Saturation:
        planned = self.at(self.most_rps)
        (variant,) = planned.scenarios
        held, _ = bracket(looks(self.steps))
        return Saturation(
            scenario=planned.scenario.name,
            scenario_sha256=planned.sha256,
            variant=variant,
            run_dir=str(self.place),
            engine=planned.settings.engine,
            clock="virtual" if engines.is_virtual(planned.settings) else "wall",
            objective=None if self.goal is None else self.goal.text,
            sentence=sentence(self.steps, self.predicted, finished=finished),
            steps=tuple(self.steps),
            knee_rps=knee(self.steps) if finished else None,
            at_least_rps=held,
            within=self.within,
            predicted_rps=None if self.predicted is None else self.predicted.rps,
            predicted_bottleneck=None if self.predicted is None else self.predicted.bottleneck,
            finished=finished,
        )


def _predicted(found: Evidence | None, samples: pl.DataFrame) -> Predicted | None:
    """From CPU time per request, warm-up and drain included."""
    sent = samples.filter(pl.col("sent_ns").is_not_null()).height
    if found is None or not sent:
        return None
    each: dict[int, float] = {}
    names: dict[int, str] = {}
    for report in found.processes:
        each[report.pid] = each.get(report.pid, 0.0) + report.cpu_ns / 1e3 / sent
        names.setdefault(report.pid, f"{report.service}/{report.replica}")
    share = found.host.generator_cpu_share or 0.0
    generator_us = share * found.elapsed_ns / 1e3 / sent
    cpu_us = [(names[pid], us) for pid, us in each.items()]
    return predicted(cpu_us, generator_us, os.cpu_count() or 1)
