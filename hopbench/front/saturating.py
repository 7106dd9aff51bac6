"""The search for the highest rate that is held: a round at each."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from hopbench import disk, engines
from hopbench.engines.port import Evidence
from hopbench.exits import Exit, Terminated
from hopbench.front import ending, running
from hopbench.front.output import Output
from hopbench.results import gate_values
from hopbench.results.gates import Gate, judge
from hopbench.results.summary import Summary
from hopbench.runs import directory as rundir
from hopbench.runs import evidence
from hopbench.runs.directory import RunDir
from hopbench.runs.plan import RunPlan
from hopbench.runs.rounds import begin
from hopbench.saturation.document import Saturation, knee, looks, sentence
from hopbench.saturation.search import Outcome, bracket, next_rate
from hopbench.saturation.step import Predicted, Step, predicted, step
from services.codec import plain

AGAIN: Final = 2
"""How often a round is repeated that does not say, or in which the generator gave out: that may be
the machine's doing."""


@dataclass
class Search:
    """For the highest rate that is held, round by round; ``place`` is an empty directory."""

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

    def run(self) -> tuple[Exit, Saturation]:
        """How it ended, and what it found, also where it was stopped."""
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
        return code, found

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
