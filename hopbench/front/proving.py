"""The stages of a proof, run one after the other, or found where they have run already."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from analysis.figures import plural
from hopbench import disk
from hopbench.comparison.document import comparisons
from hopbench.comparison.judgement import judged
from hopbench.comparison.precision import check_identifiable
from hopbench.deploy.preparation import Prepared, prepare
from hopbench.exits import Exit
from hopbench.front import ending, running, verdict_ending
from hopbench.front.comparing import measure
from hopbench.front.output import Output
from hopbench.proving.course import last_rounds, least_rounds
from hopbench.proving.directory import ProofDir, spent
from hopbench.proving.stages import Asked, Compared, Factored, Looked, rounds_of
from hopbench.results.round import Account
from hopbench.results.summary import Summary
from hopbench.results.view import view
from hopbench.runs import directory as rundir
from hopbench.runs import plan
from hopbench.runs.directory import RunDir
from hopbench.runs.estimate import START_S
from hopbench.runs.plan import RunPlan
from hopbench.runs.repeats import lacking
from hopbench.runs.rounds import begin, missing
from services import codec

_KNOWN_ROUNDS = 8
"""From so many on, what a round takes is measured."""


class Stopped(Exception):
    """A stage did not come to its end."""

    def __init__(self, code: Exit) -> None:
        super().__init__(code.name)
        self.code = code


@dataclass(slots=True)
class Measuring:
    """Stages on an engine. Whoever uses it has claimed the proof's directory."""

    asked: Asked
    place: ProofDir
    output: Output

    def looked(self, stage: str, planned: RunPlan) -> Looked:
        run = self.place.stage(stage)
        planned, fresh = self._planned(run, planned)
        turns = planned.order if fresh else missing(planned, run)
        prepared = self._prepared(stage, planned, turns)
        with rundir.claimed(self._begun(run, planned, fresh)):
            self._run_of_look(stage, planned, prepared.turns, run)
            summary = running.analysed(planned, run, self.output)
            for _ in range(self.asked.repeat_void):
                void = {trial.round for trial in summary.trials if trial.void}
                if not void or not self.fits(len(void) + least_rounds(self.asked)):
                    break
                again = tuple(turn for turn in planned.order if turn.round in void)
                self.output.note(f"{stage}: {plural(len(again), 'void round')} once more")
                self._run_of_look(stage, planned, again, run)
                summary = running.analysed(planned, run, self.output)
            ending.written(summary, run)
        (row,) = summary.variants
        return Looked(str(run.path), row)

    def _run_of_look(
        self, stage: str, planned: RunPlan, turns: tuple[plan.Turn, ...], run: RunDir
    ) -> None:
        with self._timed(stage) as ran:
            ended = running.executed(planned, turns, run, self.output)
            ran.append(ended.rounds)
        if ended.code is not Exit.DONE:
            raise Stopped(ended.code)

    def compared(self, stage: str, planned: RunPlan) -> Compared:
        run, planned, summary = self._measured(stage, planned)
        with rundir.claimed(run):
            found = judged(planned, run, summary)
            verdict_ending.written(found.document, summary, run)
        edges = {each.name: each.edges for each in view(summary).variants}
        verdicts = tuple(comparisons(found.document))
        return Compared(str(run.path), len(planned.order), verdicts, edges)

    def factored(self, stage: str, planned: RunPlan) -> Factored:
        run, planned, summary = self._measured(stage, planned)
        ending.written(summary, run)
        valid = {trial.round: trial for trial in summary.trials if not trial.void}
        p50: dict[str, list[list[float]]] = {}
        for block in planned.blocks:
            if any(turn.round not in valid for turn in block):
                continue
            half = len(block) // 2
            for turns in (block[:half], block[half:]):
                in_order = sorted(turns, key=lambda turn: turn.arm)
                each = [_p50_by_entry(valid[turn.round]) for turn in in_order]
                for name in each[0]:
                    values = [of.get(name) for of in each]
                    known = [value for value in values if value is not None]
                    if len(known) == len(each):
                        p50.setdefault(name, []).append(known)
        arrays = {name: np.array(rows, np.float64) for name, rows in p50.items()}
        return Factored(str(run.path), len(planned.order), arrays)

    def begun(self, stage: str) -> bool:
        return self.place.stage(stage).plan.is_file()

    def _measured(self, stage: str, planned: RunPlan) -> tuple[RunDir, RunPlan, Summary]:
        """The rounds of a comparison, all of them."""
        run = self.place.stage(stage)
        planned, fresh = self._planned(run, planned)
        if fresh:
            planned = self.within_budget(stage, planned)
        check_identifiable(planned)
        turns = planned.order if fresh else lacking(planned, run, len(planned.blocks))
        prepared = self._prepared(stage, planned, turns)
        with rundir.claimed(self._begun(run, planned, fresh)):
            with self._timed(stage) as ran:
                done = measure(prepared, run, self.output, fresh=fresh)
                ran.append(done.rounds)
            if done.ended.code is not Exit.DONE or done.summary is None:
                raise Stopped(done.ended.code)
        return run, planned, done.summary

    def within_budget(self, stage: str, planned: RunPlan) -> RunPlan:
        """With no more repeats of void blocks than leave room for what is still to come."""
        design = planned.design
        assert design is not None
        later = 0 if stage == "final" else last_rounds(self.asked)
        if stage.endswith(("-screen", "-factors")):
            later += rounds_of(self.asked, len(design.arms) - 1)
        block = len(planned.blocks[0])
        repeats = design.repeat_void
        while repeats and not self.fits(len(planned.order) + repeats * block + later):
            repeats -= 1
        return replace(planned, design=replace(design, repeat_void=repeats))

    def fits(self, rounds: int) -> bool:
        if self.asked.budget_s is None:
            return True
        return self.seconds(rounds) <= self.asked.budget_s - spent(self.place).seconds

    def seconds(self, rounds: int) -> float:
        """What so many rounds will take: as those that ran did, or as is usual."""
        so_far = spent(self.place)
        if so_far.rounds >= _KNOWN_ROUNDS:
            return rounds * so_far.seconds / so_far.rounds
        return rounds * usual_s(self.asked)

    def note(self, text: str) -> None:
        self.output.note(text)

    def _planned(self, run: RunDir, planned: RunPlan) -> tuple[RunPlan, bool]:
        """As the stage was begun, or as it is to be; and whether it is new."""
        return (plan.read(run), False) if run.plan.is_file() else (planned, True)

    def _prepared(self, stage: str, planned: RunPlan, turns: tuple[plan.Turn, ...]) -> Prepared:
        prepared = prepare(planned, turns, os.environ)
        prepared.check(os.environ)
        if turns:
            about = f"about {self.seconds(len(turns)) / 60:.1f} minutes"
            arms = ", ".join(planned.scenarios)
            self.output.note(f"{stage}: {len(turns)} rounds, {about} ({arms})")
        return prepared

    def _begun(self, run: RunDir, planned: RunPlan, fresh: bool) -> RunDir:
        if fresh:
            run.trials.mkdir(parents=True, exist_ok=True)
            begin(planned, run)
        return run

    @contextmanager
    def _timed(self, stage: str) -> Iterator[list[int]]:
        """Enters into spent.json, however the block ends; how many rounds ran is appended."""
        began, ran, whole = time.monotonic(), list[int](), False
        try:
            yield ran
            whole = True
        finally:
            # A stage that was whole before is only read.
            if sum(ran) or not whole:
                taken = spent(self.place).more(stage, sum(ran), time.monotonic() - began)
                disk.write_json(self.place.spent, codec.plain(taken))


def _p50_by_entry(of: Account) -> dict[str, float | None]:
    return {row.entry: row.response_ms.p50 for row in of.entries}


def usual_s(asked: Asked) -> float:
    """Of one round."""
    if asked.settings.engine == "virtual":
        return 0.5
    return asked.scenario.load.length_ns / 1e9 + START_S
