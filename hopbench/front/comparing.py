"""The rounds of a comparison, run to their end: looked at, and measured once more where void."""

from __future__ import annotations

from dataclasses import dataclass, replace

from analysis.figures import plural
from hopbench.comparison.looking import Looks
from hopbench.deploy.preparation import Prepared
from hopbench.exits import Exit
from hopbench.front import running
from hopbench.front.output import Output
from hopbench.results.summary import Summary
from hopbench.runs import directory as rundir
from hopbench.runs.directory import RunDir
from hopbench.runs.plan import RunPlan
from hopbench.runs.repeats import Turns, again, lacking, repeated
from hopbench.runs.rounds import Ended


@dataclass(frozen=True, slots=True)
class Measured:
    ended: Ended
    """Of the last rounds that ran."""
    rounds: int
    """How many ran, those that were measured once more among them."""
    summary: Summary | None
    """None where parts did not come up before any round: then there is no directory any more."""


def measure(prepared: Prepared, directory: RunDir, output: Output, *, fresh: bool) -> Measured:
    """Whoever calls it has claimed the run."""
    planned, ran = prepared.plan, 0
    # What was missing before somebody else let go of the run may be there by now.
    looks = Looks(planned, directory)
    turns = prepared.turns if fresh else lacking(planned, directory, looks.needed())
    sitting = running.Sitting(looks.enough, resumes=not fresh and directory.environment.exists())
    ended = running.executed(planned, turns, directory, output, sitting)
    ran += ended.rounds
    if fresh and not ended.could_start:
        rundir.discard(directory)
        return Measured(ended, ran, None)
    with running.kept(directory, output):
        summary = running.analysed(planned, directory, output)
        while ended.code is Exit.DONE:
            # Blocks that are repeated all run: what they show may ask for further ones.
            repeats = _again(planned, directory, summary, output)
            more = repeats or lacking(planned, directory, looks.needed())
            if not more:
                break
            sitting = replace(sitting, enough=None if repeats else looks.enough)
            ended = running.executed(planned, more, directory, output, sitting)
            ran += ended.rounds
            summary = running.analysed(planned, directory, output)
    return Measured(ended, ran, summary)


def _again(planned: RunPlan, directory: RunDir, summary: Summary, output: Output) -> Turns:
    """The rounds of blocks to repeat, as many as are allowed still."""
    assert planned.design is not None
    left = planned.design.repeat_void - len(repeated(directory))
    void = {
        trial.round: [doubt.code.value for doubt in trial.doubts if doubt.voids]
        for trial in summary.trials
        if trial.void
    }
    blocks = again(planned, directory, void, left)
    if blocks:
        output.note(f"a void round in {plural(len(blocks), 'block')}: once more")
    return tuple(turn for each in blocks for turn in planned.blocks[each.block - 1])
